"""How a search went, result by result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from nni_evanet.report.diversity import Diversity
from nni_evanet.strategies.evolution import Evolution

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """The population right after one successful evaluation.

    Attributes:
        mean: its mean fitness.
        diversity: its mean pairwise distance (`nni_evanet.report.diversity`); None for one alone.
    """

    mean: float
    diversity: float | None


@dataclass(frozen=True)
class MutationEffect:
    """The children that a mutation had a part in, against their parents.

    Attributes:
        name: the operator, or the number of mutations.
        gains: fitness of the child minus that of its parent, one a child.
    """

    name: str
    gains: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the gains."""
        return median(self.gains)

    @property
    def better(self) -> float:
        """The share of the children that are fitter than their parents."""
        return fmean(gain > 0 for gain in self.gains)


def successes_of(records: Iterable[Record]) -> list[Record]:
    """Those with a fitness, in their order."""
    return [record for record in records if record["fitness"] is not None]


def is_child(record: Record) -> bool:
    """Whether it is no member of the initial population."""
    return record["parent"] is not None


def replay(records: Iterable[Record], *, population_size: int, removal: str) -> Iterator[Step]:
    """The population after every success, as the search had it.

    Args:
        records: of the journal, in its order.
        population_size: P.
        removal: who left the full population, "least_fit" or "oldest".
    """
    evolution: Evolution | None = None
    diversity = Diversity()
    for record in successes_of(records):
        if evolution is None:
            meta = record["architecture"]["meta"]
            evolution = Evolution(meta, population_size=population_size, removal=removal)
        before = evolution.population.copy()
        evolution.replay([record])
        arrival = evolution.history[-1]
        diversity.add(id(arrival), arrival.architecture)
        living = set(map(id, evolution.population))
        for individual in (*before, arrival):
            if id(individual) not in living:
                diversity.remove(id(individual))
        fitnesses = [e.fitness for e in evolution.population if e.fitness is not None]
        yield Step(fmean(fitnesses), diversity.mean)


def effects_by_operator(records: Sequence[Record]) -> list[MutationEffect]:
    """One for every operator: a child counts once for each operator that was applied to it."""
    return _effects(records, lambda record: sorted(set(record["mutations"])))


def effects_by_count(records: Sequence[Record]) -> list[MutationEffect]:
    """One for every number of mutations that children had."""
    return _effects(records, lambda record: [len(record["mutations"])])


def _effects(records: Sequence[Record], keys_of: Any) -> list[MutationEffect]:
    gains: dict[Any, list[float]] = {}
    fitness: dict[str, float] = {}
    for record in successes_of(records):
        if is_child(record) and record["parent"] in fitness:
            gain = record["fitness"] - fitness[record["parent"]]
            for key in keys_of(record):
                gains.setdefault(key, []).append(gain)
        fitness[record["fingerprint"]] = record["fitness"]
    return [MutationEffect(str(key), tuple(gains[key])) for key in sorted(gains)]
