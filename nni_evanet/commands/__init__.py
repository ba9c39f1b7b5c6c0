"""The commands of `nni-evanet`, by subject. Each imports what it needs only when it runs."""
