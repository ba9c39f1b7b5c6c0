"""What the evolution needs of a search space, and the paper's space in these terms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any, Protocol

from nni_evanet.architecture import Architecture
from nni_evanet.space import SearchSpace
from nni_evanet.strategies.mutations import OPERATORS, Operator, mutate


class Space(Protocol):
    """A set of architectures to evolve; `Any` stands for the space's own architecture type."""

    def random(self, rng: Random) -> Any:
        """Draw an architecture."""

    def mutate(self, architecture: Any, rng: Random) -> tuple[str, Any]:
        """Apply one mutation: its name and a child of another fingerprint."""

    def fingerprint(self, architecture: Any) -> str:
        """One string for all architectures that compute the same function."""

    def dump(self, architecture: Any) -> Any:
        """The architecture as a JSON value."""

    def load(self, data: Any) -> Any:
        """The architecture that a JSON value stands for."""


class ArchitectureSpace:
    """A search space of the paper, or a part of one, with the paper's mutations.

    Args:
        space: the space, or the name of a meta-architecture for the whole of it.
        operators: the mutation operators to draw from.

    Raises:
        ArchitectureError: no meta-architecture of that name.
    """

    def __init__(self, space: str | SearchSpace, operators: Sequence[Operator] = OPERATORS) -> None:
        self.space = SearchSpace(space) if isinstance(space, str) else space
        self.operators = operators

    def random(self, rng: Random) -> Architecture:
        return self.space.random(rng)

    def mutate(self, architecture: Architecture, rng: Random) -> tuple[str, Architecture]:
        return mutate(architecture, self.space, rng, self.operators)

    def fingerprint(self, architecture: Architecture) -> str:
        return architecture.fingerprint

    def dump(self, architecture: Architecture) -> Any:
        return json.loads(architecture.to_json())

    def load(self, data: Any) -> Architecture:
        return Architecture.from_json(data)
