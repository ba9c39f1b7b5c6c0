"""Which of several inputs are active: NNI's InputChoice without its empty choice."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from nni.mutable import CategoricalMultiple, Sample, SampleValidationError
from nni.nas.nn.pytorch import InputChoice
from numpy.random import RandomState


class NonemptySubset(CategoricalMultiple):
    """Any subset of `values` with at least one element.

    NNI's own `CategoricalMultiple(n_chosen=None)` includes the empty subset. An
    `ExpressionConstraint` beside it would exclude that one too, but as a further entry of the
    simplified space that is no decision: strategies would draw and throw away every sample that
    violates it, TPE and the web page could not represent it, and one-shot strategies refuse
    mutables that no layer owns. So the mutable itself has no empty value.

    `random` draws the size uniformly, then the elements: stream counts are as likely as in
    `Architecture.random`.
    """

    def check_contains(self, sample: Sample) -> SampleValidationError | None:
        error = super().check_contains(sample)
        if error is not None:
            return error
        if self.label in sample:
            empty = not sample[self.label]
        else:  # the other form that NNI takes: a boolean for each value
            empty = not any(sample[f"{self.label}/{i}"] for i in range(len(self.values)))
        return SampleValidationError(f"{self.label}: nothing is chosen") if empty else None

    def random(self, memo: Sample | None = None, random_state: RandomState | None = None) -> list:
        memo = {} if memo is None else memo
        random_state = random_state or RandomState()
        if self.label not in memo:
            size = random_state.randint(1, len(self.values) + 1)
            chosen = random_state.choice(len(self.values), size, replace=False)
            memo[self.label] = [self.values[i] for i in sorted(chosen)]
        return self.freeze(memo)

    def grid(self, memo: Sample | None = None, granularity: int | None = None) -> Iterable[list]:
        memo = {} if memo is None else memo
        if self.label in memo:
            yield self.freeze(memo)
            return
        for subset in self._subsets():
            memo[self.label] = subset
            yield self.freeze(memo)
        memo.pop(self.label)

    def as_legacy_dict(self) -> dict[str, Any]:
        """As one choice among all subsets, for NNI's HPO tuners and its web page."""
        return {"_type": "choice", "_value": list(self._subsets())}

    def _subsets(self) -> Iterable[list[Any]]:
        for size in range(1, len(self.values) + 1):
            yield from map(list, itertools.combinations(self.values, size))


class SomeInputs(InputChoice):
    """An `InputChoice` of one or more of its candidates."""

    @staticmethod
    def _inner_choice(
        n_candidates: int, n_chosen: int | None, weights: list[float] | None, label: str | None
    ) -> NonemptySubset:
        # The hook by which InputChoice makes its mutable. NNI 3.0 has no public one.
        return NonemptySubset(range(n_candidates), n_chosen=n_chosen, weights=weights, label=label)
