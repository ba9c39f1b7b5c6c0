"""Tournament evolution with annealed mutation: algorithm 1 of the paper, asked and told.

Asynchronous, since trials are: any number of proposals may be in flight, and results may come
in any order. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from nni_evanet.space import SearchSpace
from nni_evanet.strategies.schedules import Annealed, Schedule, check_positive
from nni_evanet.strategies.spaces import ArchitectureSpace, Space

REMOVALS = ("least_fit", "oldest")
FURTHER_MUTATIONS = 100


@dataclass(frozen=True, eq=False)
class Proposal:
    """An architecture to evaluate.

    Attributes:
        architecture: an `Architecture`, or what the space's own `random` returns.
        parent: its parent's fingerprint; None in the initial population.
        mutations: the names of the operators applied to the parent, in order.
    """

    architecture: Any
    parent: str | None = None
    mutations: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Evaluation(Proposal):
    """A proposal with its result.

    Attributes:
        fitness: higher is better; None where the evaluation failed.
        metrics: whatever else was measured.
    """

    fitness: float | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)


Selection = Callable[[Sequence[Evaluation], int, Random], Evaluation]


def tournament(population: Sequence[Evaluation], sample_size: int, rng: Random) -> Evaluation:
    """The fittest of some individuals drawn without replacement; the latest of equals."""
    drawn = rng.sample(range(len(population)), min(sample_size, len(population)))
    return population[max(drawn, key=lambda arrival: (population[arrival].fitness, arrival))]


class Evolution:
    """Ask it for architectures, tell it their fitness.

    Args:
        space: the name of a meta-architecture, a part of its space, or any `Space`.
        population_size: P, the individuals kept and the random ones to start from.
        sample_size: S, the individuals among which a parent is chosen.
        schedule: the mutations of a child, by the number of children evaluated.
        removal: who leaves a full population: "least_fit" or "oldest".
        seed: of the private random generator. The same seed and the same order of asks and
            tells give the same search.
        selection: chooses a parent from (population, sample_size, generator).
        revisit: whether a child that was already evaluated may be evaluated again. By default
            it is mutated further.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    def __init__(
        self,
        space: str | SearchSpace | Space,
        *,
        population_size: int,
        sample_size: int = 25,
        schedule: Schedule = Annealed(max_mutations=7, rounds=100),  # noqa: B008 (immutable)
        removal: str = "least_fit",
        seed: int = 0,
        selection: Selection = tournament,
        revisit: bool = False,
    ) -> None:
        check_positive("population_size", population_size)
        check_positive("sample_size", sample_size)
        if removal not in REMOVALS:
            raise ValueError(f"removal: {removal!r} is not one of {', '.join(REMOVALS)}")
        if type(seed) is not int:
            raise ValueError(f"seed: {seed!r} is not an integer")
        named = isinstance(space, str | SearchSpace)
        self.space: Space = ArchitectureSpace(space) if named else space
        self.population_size = population_size
        self.sample_size = sample_size
        self.schedule = schedule
        self.removal = removal
        self.selection = selection
        self.revisit = revisit
        self.population: list[Evaluation] = []
        """The living individuals in the order of their arrival."""
        self.history: list[Evaluation] = []
        """Every evaluation told, failures included, in the order of their arrival."""
        self.in_flight: list[Proposal] = []
        """Asked and not yet told."""
        self._rng = Random(seed)
        self._evaluated: set[str] = set()

    @property
    def round(self) -> int:
        """i of algorithm 1: the children evaluated with success."""
        return sum(e.parent is not None and e.fitness is not None for e in self.history)

    def ask(self) -> Proposal:
        """Propose an architecture to evaluate."""
        if self._wants_random():
            proposal = Proposal(self._random())
        else:
            proposal = self._child(self.selection(self.population, self.sample_size, self._rng))
        self.in_flight.append(proposal)
        return proposal

    def tell(
        self,
        proposal: Any,
        fitness: float | None,
        metrics: Mapping[str, Any] | None = None,
    ) -> Evaluation:
        """Give the result of a proposal, or of any architecture of the space.

        A result without a finite fitness is a failure: it is remembered, so that the architecture
        is not proposed again, and does not enter the population.

        Raises:
            ValueError: the proposal was told before, or is not of this evolution.
        """
        if not isinstance(proposal, Proposal):
            proposal = self._find(self.space.fingerprint(proposal)) or Proposal(proposal)
        elif proposal not in self.in_flight:
            raise ValueError("the proposal is not in flight: told already, or never asked here")
        evaluation = Evaluation(
            proposal.architecture,
            proposal.parent,
            proposal.mutations,
            float(fitness) if fitness is not None and math.isfinite(fitness) else None,
            dict(metrics or {}),
        )
        if proposal in self.in_flight:
            self.in_flight.remove(proposal)
        self._record(evaluation)
        return evaluation

    def was_evaluated(self, architecture: Any) -> bool:
        """Whether a result, a failure included, of this architecture was told."""
        return self.space.fingerprint(architecture) in self._evaluated

    def best(self, k: int) -> list[Evaluation]:
        """The k fittest evaluations of different architectures, the fittest first."""
        best: dict[str, Evaluation] = {}
        successes = [e for e in self.history if e.fitness is not None]
        for evaluation in sorted(successes, key=_fitness, reverse=True):
            best.setdefault(self.space.fingerprint(evaluation.architecture), evaluation)
        return list(best.values())[:k]

    def state_dict(self) -> dict[str, Any]:
        """Everything the search has learnt, in types that JSON knows."""
        return {
            "history": [self.dump(evaluation) for evaluation in self.history],
            **self.pending_state(),
        }

    def pending_state(self) -> dict[str, Any]:
        """What `state_dict` holds beside the history: proposals in flight and the generator."""
        version, internal, gauss = self._rng.getstate()
        return {
            "in_flight": [self.dump(proposal) for proposal in self.in_flight],
            "rng": [version, list(internal), gauss],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue a search from its `state_dict`. The evolution must be a fresh one."""
        self.replay(state["history"])
        self.load_pending_state(state)

    def replay(self, history: Iterable[Mapping[str, Any]]) -> None:
        """Take in evaluations as `dump` wrote them, in their order."""
        for record in history:
            fitness, metrics = record["fitness"], record.get("metrics", {})
            self._record(Evaluation(*self._load(record), fitness, metrics))

    def load_pending_state(self, state: Mapping[str, Any]) -> None:
        """Take in what `pending_state` wrote; proposals that were told since are left out."""
        proposals = [Proposal(*self._load(record)) for record in state["in_flight"]]
        self.in_flight = [p for p in proposals if not self.was_evaluated(p.architecture)]
        version, internal, gauss = state["rng"]
        self._rng.setstate((version, tuple(internal), gauss))

    def dump(self, proposal: Proposal) -> dict[str, Any]:
        """A proposal or an evaluation in types that JSON knows."""
        record: dict[str, Any] = {
            "architecture": self.space.dump(proposal.architecture),
            "fingerprint": self.space.fingerprint(proposal.architecture),
            "parent": proposal.parent,
            "mutations": list(proposal.mutations),
        }
        if isinstance(proposal, Evaluation):
            record |= {"fitness": proposal.fitness, "metrics": dict(proposal.metrics)}
        return record

    def _load(self, record: Mapping[str, Any]) -> tuple[Any, str | None, tuple[str, ...]]:
        architecture = self.space.load(record["architecture"])
        return architecture, record["parent"], tuple(record["mutations"])

    def _wants_random(self) -> bool:
        # A failed member of the initial population counts in neither sum: it is drawn anew.
        initial = sum(e.parent is None and e.fitness is not None for e in self.history)
        initial += sum(p.parent is None for p in self.in_flight)
        return initial < self.population_size or not self.population

    def _random(self) -> Any:
        architecture = self.space.random(self._rng)
        seen = self._seen()
        for _ in range(FURTHER_MUTATIONS):
            if self.revisit or self.space.fingerprint(architecture) not in seen:
                break
            architecture = self.space.random(self._rng)
        return architecture

    def _child(self, parent: Evaluation) -> Proposal:
        parent_fingerprint = self.space.fingerprint(parent.architecture)
        seen = {parent_fingerprint} if self.revisit else self._seen()
        child, mutations = parent.architecture, []
        count = self.schedule(self.round)
        for applied in range(count + FURTHER_MUTATIONS):
            if applied >= count and self.space.fingerprint(child) not in seen:
                break
            name, child = self.space.mutate(child, self._rng)
            mutations.append(name)
        if self.space.fingerprint(child) == parent_fingerprint:
            # Possible only where nearly everything was seen. One mutation never leads back.
            name, child = self.space.mutate(child, self._rng)
            mutations.append(name)
        return Proposal(child, parent_fingerprint, tuple(mutations))

    def _seen(self) -> set[str]:
        flying = {self.space.fingerprint(proposal.architecture) for proposal in self.in_flight}
        return self._evaluated | flying

    def _find(self, fingerprint: str) -> Proposal | None:
        for proposal in self.in_flight:
            if self.space.fingerprint(proposal.architecture) == fingerprint:
                return proposal
        return None

    def _record(self, evaluation: Evaluation) -> None:
        self.history.append(evaluation)
        self._evaluated.add(self.space.fingerprint(evaluation.architecture))
        if evaluation.fitness is None:
            return
        self.population.append(evaluation)
        if len(self.population) > self.population_size:
            oldest = self.removal == "oldest"
            # min returns the first, hence the oldest, of equals.
            leaver = self.population[0] if oldest else min(self.population, key=_fitness)
            self.population.remove(leaver)


def _fitness(evaluation: Evaluation) -> float:
    assert evaluation.fitness is not None
    return evaluation.fitness
