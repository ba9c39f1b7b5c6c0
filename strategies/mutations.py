"""The paper's four mutation operators (section 4.1), each a function of an architecture.

An operator returns a child, in the same space, that computes something else than its argument, or
None where it cannot apply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from nni_evanet.architecture import Architecture
from nni_evanet.decisions import canonical_op
from nni_evanet.space import SearchSpace

Operator = Callable[[Architecture, SearchSpace, Random], Architecture | None]
Sample = dict[str, Any]


def change_op(architecture: Architecture, space: SearchSpace, rng: Random) -> Architecture | None:
    """(i) Give one space-time convolution, the stem's included, another type."""

    def alternatives(label: str, sample: Sample) -> list[str]:
        time = sample[label.removesuffix("op") + "time"]
        current = canonical_op(sample[label], time)
        return [op for op in space.ops if canonical_op(op, time) != current]

    return _change_one(architecture, rng, "/op", alternatives)


def change_time(architecture: Architecture, space: SearchSpace, rng: Random) -> Architecture | None:
    """(ii) Give one space-time convolution or pooling another temporal size."""

    def alternatives(label: str, sample: Sample) -> list[int]:
        return [time for time in space.times if time != sample[label]]

    return _change_one(architecture, rng, "/time", alternatives)


def change_streams(
    architecture: Architecture, space: SearchSpace, rng: Random
) -> Architecture | None:
    """(iii) Add a stream of random content to one module, or remove one; 1 to 6 remain."""
    changes = [
        (m, step)
        for m, module in enumerate(architecture.modules)
        for step in (+1, -1)
        if len(module.streams) + step in space.stream_counts
    ]
    if not changes:
        return None
    # First the module, then what to do with it: one that can only grow is as likely as others.
    m = rng.choice(sorted({m for m, _ in changes}))
    streams = list(architecture.modules[m].streams)
    if rng.choice([step for changed, step in changes if changed == m]) > 0:
        streams.append(space.random_stream(rng))
    else:
        del streams[rng.randrange(len(streams))]
    modules = list(architecture.modules)
    modules[m] = replace(modules[m], streams=tuple(streams))
    return replace(architecture, modules=tuple(modules))


def change_repeats(
    architecture: Architecture, space: SearchSpace, rng: Random
) -> Architecture | None:
    """(iv) Repeat one module another number of times."""

    def alternatives(label: str, sample: Sample) -> list[int]:
        return [repeats for repeats in space.repeats if repeats != sample[label]]

    return _change_one(architecture, rng, "/repeats", alternatives)


OPERATORS: tuple[Operator, ...] = (change_op, change_time, change_streams, change_repeats)


def mutate(
    architecture: Architecture,
    space: SearchSpace,
    rng: Random,
    operators: Sequence[Operator] = OPERATORS,
) -> tuple[str, Architecture]:
    """Apply one operator, drawn uniformly from those that can: its name and the child.

    Raises:
        ValueError: no operator can apply.
    """
    for operator in rng.sample(operators, len(operators)):
        child = operator(architecture, space, rng)
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
    options = {label: alternatives(label, sample) for label in sample if label.endswith(suffix)}
    labels = [label for label, values in options.items() if values]
    if not labels:
        return None
    label = rng.choice(labels)
    sample[label] = rng.choice(options[label])
    return Architecture.from_sample(sample, architecture.meta)
