"""How many mutations a child gets, as a function of the round (section 4.2, appendix C)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Schedule = Callable[[int], int]
"""The number of mutations of a child made after `round` children have been evaluated."""


@dataclass(frozen=True)
class Annealed:
    """max(ceil(d - round / r), 1): many mutations early, to explore; one late, to refine.

    Args:
        max_mutations: d, the mutations of the first children.
        rounds: r, after how many rounds the number falls by one.
    """

    max_mutations: int = 7
    rounds: int = 100

    def __post_init__(self) -> None:
        check_positive("max_mutations", self.max_mutations)
        check_positive("rounds", self.rounds)

    def __call__(self, round: int) -> int:
        return max(self.max_mutations - round // self.rounds, 1)


@dataclass(frozen=True)
class Constant:
    """The same number of mutations in every round: what appendix C compares with."""

    mutations: int

    def __post_init__(self) -> None:
        check_positive("mutations", self.mutations)

    def __call__(self, round: int) -> int:
        return self.mutations


def check_positive(name: str, value: object) -> None:
    """Raise a ValueError that names the argument unless the value is an integer of 1 or more."""
    if type(value) is not int or value < 1:
        raise ValueError(f"{name}: {value!r} is not an integer of 1 or more")
