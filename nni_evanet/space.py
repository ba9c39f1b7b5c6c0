"""A search space as data: a meta-architecture, and which of its choices are open.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from nni_evanet.architecture import (
    STEMS,
    Architecture,
    ArchitectureError,
    Module,
    Stream,
    check_value,
)
from nni_evanet.decisions import (
    METAS,
    OPS,
    REPEATS,
    STREAM_COUNTS,
    STREAM_DECISIONS,
    STREAM_TYPES,
    TIMES,
    Decision,
)

_WIDEST: dict[str, tuple[Any, ...]] = {
    "ops": OPS,
    "times": TIMES,
    "stream_types": STREAM_TYPES,
    "stream_counts": STREAM_COUNTS,
    "repeats": REPEATS,
}


@dataclass(frozen=True)
class SearchSpace:
    """The paper's space of one meta-architecture, or a part of it.

    Args:
        meta: "resnet" or "inception".
        ops: of space-time convolutions.
        times: temporal sizes of convolutions and pools.
        stream_types: of the modules' streams.
        stream_counts: how many streams a module may have.
        repeats: how often a module may be repeated; of no meaning for "inception".
        modules: how many modules; the meta-architecture's number if not given.

    Raises:
        ArchitectureError: a choice is not of the paper's space; the message names it.
    """

    meta: str
    ops: tuple[str, ...] = OPS
    times: tuple[int, ...] = TIMES
    stream_types: tuple[str, ...] = STREAM_TYPES
    stream_counts: tuple[int, ...] = STREAM_COUNTS
    repeats: tuple[int, ...] = REPEATS
    modules: int | None = None

    def __post_init__(self) -> None:
        check_value("meta", self.meta, tuple(METAS))
        for name, widest in _WIDEST.items():
            given = getattr(self, name)
            if not given:
                raise ArchitectureError(f"{name}: none given; choose from {_listed(widest)}")
            for choice in given:
                check_value(name, choice, widest)
            # In the paper's order, each once: two spaces with the same choices are equal.
            object.__setattr__(self, name, tuple(c for c in widest if c in given))
        counts = range(1, METAS[self.meta].modules + 1)
        if self.modules is None:
            object.__setattr__(self, "modules", counts[-1])
        check_value("modules", self.modules, counts)

    @property
    def stem_decisions(self) -> tuple[Decision, ...]:
        """What is searched outside the modules."""
        return METAS[self.meta].stem_decisions(self.module_count)

    @property
    def module_count(self) -> int:
        """How many modules an architecture of this space has."""
        assert self.modules is not None
        return self.modules

    def random(self, rng: Random) -> Architecture:
        """Draw stream counts, repeats, types, ops and temporal sizes, each uniformly."""
        stem = {d.field: rng.choice(self.choices_of(d)) for d in self.stem_decisions}
        modules = tuple(self._random_module(rng) for _ in range(self.module_count))
        return Architecture(self.meta, STEMS[self.meta](**stem), modules)

    def random_stream(self, rng: Random) -> Stream:
        """A stream of uniformly drawn type with uniformly drawn content."""
        kind = rng.choice(self.stream_types)
        content = {d.field: rng.choice(self.choices_of(d)) for d in STREAM_DECISIONS[kind]}
        return Stream(kind, **content)

    def choices_of(self, decision: Decision) -> tuple[Any, ...]:
        """The open values of a decision about an op or a temporal size."""
        return self.ops if decision.is_op else self.times

    def choices(self) -> dict[str, tuple[Any, ...]]:
        """Every label of the flat space with its choices, those of all slots included."""
        labels = {f"stem/{d.label}": self.choices_of(d) for d in self.stem_decisions}
        for m in range(1, self.module_count + 1):
            if METAS[self.meta].repeated:
                labels[f"module{m}/repeats"] = self.repeats
            labels[f"module{m}/streams"] = self.stream_counts
            for s in range(1, self.stream_counts[-1] + 1):
                slot = f"module{m}/stream{s}"
                labels[f"{slot}/type"] = self.stream_types
                decisions = dict.fromkeys(
                    d for kind in ("conv_conv", "conv", "pool") for d in self._decisions(kind)
                )
                labels |= {f"{slot}/{d.label}": self.choices_of(d) for d in decisions}
        return labels

    @classmethod
    def from_choices(cls, choices: Mapping[str, Sequence[Any]]) -> SearchSpace:
        """The space whose `choices` these are: what an NNI search-space file holds.

        Raises:
            ArchitectureError: there is none; the message names the first label that differs from
                the space nearest to these choices.
        """
        meta = next((m for m in METAS if f"stem/{METAS[m].stem[0][0].label}" in choices), "resnet")

        def union(suffix: str) -> tuple[Any, ...]:
            return tuple(c for label in choices if label.endswith(suffix) for c in choices[label])

        given = {
            "ops": union("/op"),
            "times": union("/time"),
            "stream_types": union("/type"),
            "stream_counts": union("/streams"),
            "repeats": union("/repeats"),
        }
        count = sum(label.endswith("/streams") for label in choices)
        space = cls(meta, **{k: v for k, v in given.items() if v}, modules=count or None)
        space._check_equal(choices)
        return space

    def check(self, architecture: Architecture) -> None:
        """Raise an ArchitectureError, naming the label, unless an architecture is of this space."""
        check_value("meta", architecture.meta, (self.meta,))
        check_value("modules", len(architecture.modules), (self.module_count,))
        choices = self.choices()
        for label, value in architecture.to_sample().items():
            if label != "alternate_repeats":
                check_value(label, value, choices.get(label, ()))

    def _decisions(self, kind: str) -> tuple[Decision, ...]:
        return STREAM_DECISIONS[kind] if kind in self.stream_types else ()

    def _random_module(self, rng: Random) -> Module:
        repeats = rng.choice(self.repeats) if METAS[self.meta].repeated else 1
        count = rng.choice(self.stream_counts)
        return Module(repeats, tuple(self.random_stream(rng) for _ in range(count)))

    def _check_equal(self, choices: Mapping[str, Sequence[Any]]) -> None:
        expected = self.choices()
        for label in (*expected, *choices):
            wanted, given = expected.get(label), choices.get(label)
            if wanted is None:
                raise ArchitectureError(f"{label}: no such decision in the {self.meta} space")
            if given is None:
                raise ArchitectureError(f"{label}: missing; expected {_listed(wanted)}")
            if set(given) != set(wanted):
                raise ArchitectureError(f"{label}: {_listed(given)} given, not {_listed(wanted)}")


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))
