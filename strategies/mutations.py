"""The paper's four mutation operators (section 4.1), each a function of an architecture.

An operator returns a child that computes something else than its argument, or None where it
cannot apply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from nni_evanet.architecture import (
    OPS,
    REPEATS,
    STREAM_COUNTS,
    TIMES,
    Architecture,
    canonical_op,
    random_stream,
)

Operator = Callable[[Architecture, Random], Architecture | None]
Sample = dict[str, Any]


def change_op(architecture: Architecture, rng: Random) -> Architecture | None:
    """(i) Give one space-time convolution, the stem's included, another type."""

    def alternatives(label: str, sample: Sample) -> list[str]:
        time = sample[label.removesuffix("op") + "time"]
        current = canonical_op(sample[label], time)
        return [op for op in OPS if canonical_op(op, time) != current]

    return _change_one(architecture, rng, "/op", alternatives)


def change_time(architecture: Architecture, rng: Random) -> Architecture | None:
    """(ii) Give one space-time convolution or pooling another temporal size."""
    return _change_one(
        architecture, rng, "/time", lambda label, sample: [t for t in TIMES if t != sample[label]]
    )


def change_streams(architecture: Architecture, rng: Random) -> Architecture | None:
    """(iii) Add a stream of random content to one module, or remove one; 1 to 6 remain."""
    m = rng.randrange(len(architecture.modules))
    streams = list(architecture.modules[m].streams)
    step = rng.choice([step for step in (+1, -1) if len(streams) + step in STREAM_COUNTS])
    if step > 0:
        streams.append(random_stream(rng))
    else:
        del streams[rng.randrange(len(streams))]
    modules = list(architecture.modules)
    modules[m] = replace(modules[m], streams=tuple(streams))
    return replace(architecture, modules=tuple(modules))


def change_repeats(architecture: Architecture, rng: Random) -> Architecture | None:
    """(iv) Repeat one module another number of times."""
    return _change_one(
        architecture,
        rng,
        "/repeats",
        lambda label, sample: [r for r in REPEATS if r != sample[label]],
    )


OPERATORS: tuple[Operator, ...] = (change_op, change_time, change_streams, change_repeats)


def mutate(
    architecture: Architecture, rng: Random, operators: Sequence[Operator] = OPERATORS
) -> tuple[str, Architecture]:
    """Apply one operator, drawn uniformly from those that can: its name and the child.

    Raises:
        ValueError: no operator can apply.
    """
    for operator in rng.sample(operators, len(operators)):
        child = operator(architecture, rng)
        if child is not None:
            return operator.__name__, child
    raise ValueError("no mutation operator can apply to this architecture")


def _change_one(
    architecture: Architecture,
    rng: Random,
    suffix: str,
    alternatives: Callable[[str, Sample], list[Any]],
) -> Architecture | None:
    """Give one active decision, drawn from those whose label ends so, one of its alternatives."""
    sample = architecture.to_sample()
    labels = [label for label in sample if label.endswith(suffix)]
    if not labels:
        return None
    label = rng.choice(labels)
    sample[label] = rng.choice(alternatives(label, sample))
    return Architecture.from_sample(sample, architecture.meta)
