"""The one kind of error that is the user's to mend."""


class InputError(ValueError):
    """Bad input. The message is one line: where it is, and what was expected there.

    The command line prints it without a traceback and exits with code 2.
    """


class Diverged(RuntimeError):
    """Training left the finite numbers: the evaluation failed, and has no score."""
