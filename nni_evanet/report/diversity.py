"""How different the architectures of a population are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator

from nni_evanet.architecture import Architecture
from nni_evanet.decisions import canonical_op

Parts = frozenset[Hashable]


def parts_of(architecture: Architecture) -> Parts:
    """What an architecture consists of, whatever the order of its streams.

    Its parts are every decision of the stem, every module's number of repeats, and every stream of
    every module with all that it holds; equal streams of a module are numbered. An iTGM of
    temporal size 1 is a plain convolution, as in the fingerprint.
    """
    return frozenset(_parts(architecture))


def distance(a: Parts, b: Parts) -> float:
    """The share of the parts of either architecture that the other does not have.

    0 for the same, 1 for two that have nothing in common: Jaccard's distance.
    """
    return 1 - len(a & b) / len(a | b)


class Diversity:
    """The mean distance of all pairs of a population, kept up to date as it changes.

    An arrival or a departure costs one comparison with each of the others.
    """

    def __init__(self) -> None:
        self._population: dict[Hashable, Parts] = {}
        self._sum = 0.0

    def add(self, key: Hashable, architecture: Architecture) -> None:
        """An individual arrives."""
        parts = parts_of(architecture)
        self._sum += self._to_others(parts)
        self._population[key] = parts

    def remove(self, key: Hashable) -> None:
        """An individual leaves."""
        self._sum -= self._to_others(self._population.pop(key))

    @property
    def mean(self) -> float | None:
        """The diversity, 0 to 1; None where there is no pair."""
        count = len(self._population)
        pairs = count * (count - 1) / 2
        return max(self._sum, 0.0) / pairs if pairs else None

    def _to_others(self, parts: Parts) -> float:
        return sum(distance(parts, other) for other in self._population.values())


def _parts(architecture: Architecture) -> Iterator[Hashable]:
    stem = architecture.stem
    values = {d.label: getattr(stem, d.field) for d in architecture.stem_decisions}
    for label, value in values.items():
        time = values.get(label.removesuffix("op") + "time")
        yield label, canonical_op(value, time) if label.endswith("/op") else value
    for number, module in enumerate(architecture.modules):
        yield number, "repeats", module.repeats
        streams = (
            (s.type, canonical_op(s.op, s.time), s.time, canonical_op(s.op2, s.time2), s.time2)
            for s in module.streams
        )
        for stream in _numbered(streams):
            yield number, "stream", stream


def _numbered(items: Iterable[Hashable]) -> Iterator[tuple[Hashable, int]]:
    """Each with the number of its equals before it, so that a set holds them all."""
    seen: Counter[Hashable] = Counter()
    for item in items:
        yield item, seen[item]
        seen[item] += 1
