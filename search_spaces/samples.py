"""Architectures as complete samples of an NNI ModelSpace, and back.

An NNI space wants a value for each of its decisions, those included that the others switch off.
Imports neither torch nor NNI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nni_evanet.architecture import Architecture
from nni_evanet.space import SearchSpace


def architecture_of(sample: Mapping[str, Any], space: str | SearchSpace = "resnet") -> Architecture:
    """The architecture that a space's sample stands for.

    Labels that are not of the space are ignored: a sample may also hold an evaluator's choices.

    Args:
        sample: as NNI gives it.
        space: the space, or the name of a meta-architecture for the whole of it.

    Raises:
        ArchitectureError: a decision is missing or outside the space; the message names it.
    """
    space = SearchSpace(space) if isinstance(space, str) else space
    known = space.choices().keys() | {"alternate_repeats"}
    return Architecture.from_sample({k: v for k, v in sample.items() if k in known}, space.meta)


def sample_of(architecture: Architecture, space: SearchSpace | None = None) -> dict[str, Any]:
    """A complete sample: each decision of the space has a value, the inactive ones their first.

    `moduleN/streams` is a list of active slots counted from 0, as NNI's `InputChoice` wants it;
    an architecture's streams are in its first slots.

    Args:
        architecture: of the space.
        space: the whole space of the architecture's meta-architecture if not given.
    """
    space = space or SearchSpace(architecture.meta, modules=len(architecture.modules))
    active = architecture.to_sample()
    first = {label: choices[0] for label, choices in space.choices().items()}
    slots = {
        label: list(range(count)) for label, count in active.items() if label.endswith("/streams")
    }
    return {**first, **active, **slots}
