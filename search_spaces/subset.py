"""Which of several inputs are active: NNI's InputChoice, with a say in how many."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from nni.mutable import CategoricalMultiple, Sample, SampleValidationError
from nni.nas.nn.pytorch import InputChoice
from numpy.random import RandomState


class SubsetOfSize(CategoricalMultiple):
    """Any subset of `values` whose size is one of `sizes`.

    NNI's own `CategoricalMultiple` knows one size, or any, the empty subset included. An
    `ExpressionConstraint` beside it would exclude sizes too, but as a further entry of the
    simplified space that is no decision: strategies would draw and throw away every sample that
    violates it, TPE and the web page could not represent it, and one-shot strategies refuse
    mutables that no layer owns. So the mutable itself has no value of another size.

    `random` draws the size uniformly, then the elements: stream counts are as likely as in
    `Architecture.random`.
    """

    def __init__(self, values: Iterable[Any], *, sizes: Sequence[int], **options: Any) -> None:
        self.sizes = tuple(sizes)
        super().__init__(values, **options)

    def check_contains(self, sample: Sample) -> SampleValidationError | None:
        error = super().check_contains(sample)
        if error is not None:
            return error
        if self.label in sample:
            size = len(sample[self.label])
        else:  # the other form that NNI takes: a boolean for each value
            size = sum(bool(sample[f"{self.label}/{i}"]) for i in range(len(self.values)))
        if size in self.sizes:
            return None
        return SampleValidationError(f"{self.label}: {size} chosen, not one of {self.sizes}")

    def random(self, memo: Sample | None = None, random_state: RandomState | None = None) -> list:
        memo = {} if memo is None else memo
        random_state = random_state or RandomState()
        if self.label not in memo:
            size = self.sizes[random_state.randint(len(self.sizes))]
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
        for size in self.sizes:
            yield from map(list, itertools.combinations(self.values, size))


class SomeInputs(InputChoice):
    """An `InputChoice` of so many of its candidates.

    Args:
        n_candidates: how many there are.
        counts: how many of them may be chosen.
        label: of the choice.
    """

    def __init__(self, n_candidates: int, *, counts: Sequence[int], label: str) -> None:
        self._counts = counts  # before the base class makes its mutable, which needs it
        super().__init__(n_candidates, n_chosen=None, reduction="concat", label=label)

    def _inner_choice(  # type: ignore[override]
        self,
        n_candidates: int,
        n_chosen: int | None,
        weights: list[float] | None,
        label: str | None,
    ) -> SubsetOfSize:
        # The hook by which InputChoice makes its mutable. NNI 3.0 has no public one.
        return SubsetOfSize(range(n_candidates), sizes=self._counts, weights=weights, label=label)
