"""What is searched: every decision of the two meta-architectures, with its choices and labels.

Paper, section 4.1 and appendix A. Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

OPS = ("conv3d", "conv2plus1d", "itgm")
TIMES = (1, 3, 5, 7, 9, 11)
STREAM_TYPES = ("conv1x1x1", "conv", "conv_conv", "pool")
REPEATS = (1, 2, 3, 4, 5, 6)
STREAM_COUNTS = (1, 2, 3, 4, 5, 6)


class Decision(NamedTuple):
    """One searched choice: its field in the JSON and its label in an NNI sample."""

    field: str
    label: str

    @property
    def is_op(self) -> bool:
        """Whether it chooses an op; else it chooses a temporal size."""
        return self.label.endswith("/op")


@dataclass(frozen=True)
class Meta:
    """A "fill-in-the-blanks" meta-architecture: what is fixed, and what is searched around it.

    Attributes:
        stem: the decisions outside the modules, each with the fewest modules that need it.
        modules: how many there are at most, and by default.
        repeated: whether modules are repeated.
    """

    stem: tuple[tuple[Decision, int], ...]
    modules: int
    repeated: bool

    def stem_decisions(self, modules: int) -> tuple[Decision, ...]:
        """The decisions outside the modules of an architecture with so many modules."""
        return tuple(decision for decision, needed_from in self.stem if modules >= needed_from)


def _layer(name: str) -> tuple[Decision, Decision]:
    return Decision(f"{name}_op", f"{name}/op"), Decision(f"{name}_time", f"{name}/time")


def _pool(name: str) -> Decision:
    return Decision(f"{name}_time", f"{name}/time")


METAS = {
    # The pools before the second, third and fourth module; that before the second shares the
    # temporal size of the one before the first, as in the authors' release.
    "resnet": Meta(
        stem=(
            *((decision, 1) for decision in _layer("conv")),
            (_pool("pool1"), 1),
            (_pool("pool3"), 3),
            (_pool("pool4"), 4),
        ),
        modules=4,
        repeated=True,
    ),
    # I3D's stem: 7x7, pool, 1x1x1 (fixed), 3x3, pool. The pools between modules are fixed.
    "inception": Meta(
        stem=tuple(
            (decision, 1)
            for decision in (
                *_layer("conv7x7"),
                _pool("pool1"),
                *_layer("conv3x3"),
                _pool("pool2"),
            )
        ),
        modules=9,
        repeated=False,
    ),
}

_FIRST_CONV = (Decision("op", "conv1/op"), Decision("time", "conv1/time"))
_SECOND_CONV = (Decision("op2", "conv2/op"), Decision("time2", "conv2/time"))
STREAM_DECISIONS: dict[str, tuple[Decision, ...]] = {
    "conv1x1x1": (),
    "conv": _FIRST_CONV,
    "conv_conv": _FIRST_CONV + _SECOND_CONV,
    "pool": (Decision("time", "pool/time"),),
}


def canonical_op(op: str | None, time: int | None) -> str | None:
    """The op's name, but conv3d for an iTGM of temporal size 1, which computes the same."""
    return "conv3d" if op == "itgm" and time == 1 else op


def is_one_of(value: object, choices: Sequence[Any]) -> bool:
    """Whether a value is a choice, its type included: True == 1 and 3.0 == 3, yet are no size."""
    return any(type(value) is type(choice) and value == choice for choice in choices)
