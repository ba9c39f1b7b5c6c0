"""NNI's model spaces as spaces to evolve: the paper's own, and any other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from random import Random
from typing import Any, Protocol

import torch
from nni.mutable import Categorical, CategoricalMultiple, LabeledMutable, Mutable, MutableSymbol
from nni.nas.space import ExecutableModelSpace, RawFormatModelSpace, SimplifiedModelSpace
from numpy.random import RandomState

from nni_evanet.architecture import Architecture, ArchitectureError
from nni_evanet.compat import logger
from nni_evanet.search_spaces.samples import sample_of
from nni_evanet.search_spaces.subset import SubsetOfSize
from nni_evanet.space import SearchSpace
from nni_evanet.strategies.spaces import ArchitectureSpace, Space

TRIES = 500  # as many as NNI's own strategies make to meet a space's constraints


class SampleSpace(Space, Protocol):
    """A space to evolve whose architectures NNI can freeze a model space with."""

    def sample(self, architecture: Any) -> dict[str, Any]:
        """The complete sample, with a fixed value for each inactive decision."""


class PaperSpace(ArchitectureSpace):
    """One of the paper's spaces or a part of one, mutated by the paper's operators."""

    def sample(self, architecture: Architecture) -> dict[str, Any]:
        return sample_of(architecture, self.space)


def sample_space(model_space: ExecutableModelSpace) -> SampleSpace:
    """The paper's space, or the part of it, that has these decisions, else a generic one."""
    mutables = model_space.simplify()
    choices = {str(label): _choices(mutable) for label, mutable in mutables.items()}
    try:
        return PaperSpace(SearchSpace.from_choices(choices))
    except ArchitectureError:
        pass
    logger.info("not a space of the paper: a mutation draws one active decision anew")
    return DecisionSpace(model_space)


def _choices(mutable: LabeledMutable) -> list[Any]:
    """The open values as a flat space has them; none for what a flat space has not."""
    if isinstance(mutable, SubsetOfSize):
        return list(mutable.sizes)  # the flat space counts active slots
    return mutable.values if isinstance(mutable, Categorical) else []


class DecisionSpace:
    """Any NNI space: an architecture is `{label: value}` of its active decisions.

    A mutation draws one active decision anew. The decisions that it switches on are drawn at
    random; what it switches off is forgotten, so that two architectures are equal when they
    differ in inactive decisions only.

    Args:
        model_space: as a strategy gets it from NNI.

    Raises:
        ValueError: the space has no decision.
    """

    def __init__(self, model_space: ExecutableModelSpace) -> None:
        self._model_space = model_space
        self._mutables = {
            str(label): mutable
            for label, mutable in model_space.simplify().items()
            # What is not a symbol is a constraint, for which a sample has no value.
            if isinstance(mutable, MutableSymbol)
        }
        if not self._mutables:
            raise ValueError("the model space has no decision to search")
        self._tree = _decision_tree(model_space)

    def random(self, rng: Random) -> dict[str, Any]:
        """Draw every decision from its prior.

        Raises:
            ValueError: no sample meets the space's constraints.
        """
        for _ in range(TRIES):
            architecture = self._activate(self._draw(rng))
            if architecture is not None:
                return architecture
        raise ValueError(f"no valid sample of the model space in {TRIES} tries")

    def mutate(self, architecture: dict[str, Any], rng: Random) -> tuple[str, dict[str, Any]]:
        """Draw one active decision anew: "resample" with its label, and the child.

        Raises:
            ValueError: no decision has another value that meets the space's constraints.
        """
        for _ in range(TRIES):
            label = rng.choice(list(architecture))
            drawn = self._draw(rng)
            child = self._activate({**drawn, **architecture, label: drawn[label]})
            if child is not None and child[label] != architecture[label]:
                return f"resample {label}", child
        raise ValueError(f"no valid mutation of {architecture} in {TRIES} tries")

    def sample(self, architecture: Mapping[str, Any]) -> dict[str, Any]:
        defaults = {label: m.default({}) for label, m in self._mutables.items()}
        return {**defaults, **architecture}

    def fingerprint(self, architecture: Mapping[str, Any]) -> str:
        canonical = json.dumps(self.dump(architecture), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def dump(self, architecture: Mapping[str, Any]) -> dict[str, Any]:
        return {label: _plain(value) for label, value in architecture.items()}

    def load(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The architecture that `dump` wrote.

        Raises:
            ValueError: it is of another space; the message names the label.
        """
        for label in data:
            if label not in self._mutables:
                raise ValueError(f"{label}: no such decision in the model space")
        return {label: _restore(self._mutables[label], value) for label, value in data.items()}

    def _draw(self, rng: Random) -> dict[str, Any]:
        numpy_rng = RandomState(rng.getrandbits(32))
        return {label: m.random({}, numpy_rng) for label, m in self._mutables.items()}

    def _activate(self, sample: dict[str, Any]) -> dict[str, Any] | None:
        """The active part of a sample; None where that part is invalid."""
        reads = _Reads(sample)
        if self._tree.check_contains(reads) is not None:
            return None
        active = {label: sample[label] for label in self._mutables if label in reads.labels}
        # The inactive decisions are about to get other values: a constraint may be on them.
        return active if self._model_space.contains(self.sample(active)) else None


class _Reads(dict[str, Any]):
    """A sample that remembers which of its labels a validation looked at."""

    def __init__(self, sample: Mapping[str, Any]) -> None:
        super().__init__(sample)
        self.labels: set[str] = set()

    def __contains__(self, label: object) -> bool:
        self.labels.add(str(label))
        return super().__contains__(label)


def _decision_tree(model_space: ExecutableModelSpace) -> Mutable:
    """What validates, and hence reads, only the active decisions of a sample.

    NNI's layer choices validate the chosen candidate alone, and its repeats the chosen depth.
    But the simplified format has flattened them to a list, so they are declared once more.
    """
    if not isinstance(model_space, SimplifiedModelSpace):
        return model_space
    declaration = model_space.model.trace_copy()
    try:
        with torch.device("meta"):
            tree = declaration.get(traceable=False)
    except (RuntimeError, NotImplementedError):
        # Some layers compute with their initial values.
        tree = declaration.get(traceable=False)
    return RawFormatModelSpace(tree, model_space.evaluator)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=repr))


def _restore(mutable: LabeledMutable, data: Any) -> Any:
    """The mutable's own value, which JSON may have turned into another: a tuple into a list."""
    if isinstance(mutable, CategoricalMultiple):
        return [_match(mutable, item) for item in data]
    return _match(mutable, data) if isinstance(mutable, Categorical) else data


def _match(mutable: Categorical | CategoricalMultiple, data: Any) -> Any:
    for value in mutable.values:
        if _plain(value) == data:
            return value
    raise ValueError(f"{mutable.label}: {data!r} is not one of {mutable.values}")
