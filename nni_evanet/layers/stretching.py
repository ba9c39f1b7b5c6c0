"""Temporal mixtures do not depend on the kernel's size (paper, section 5.3)."""

import copy
from typing import TypeVar

from torch import nn

from nni_evanet.layers.arguments import check_positive

Mixture = TypeVar("Mixture", bound=nn.Module)


def stretched(layer: Mixture, time: int) -> Mixture:
    """A copy of a layer whose kernel spans `time` frames; every parameter keeps its value.

    Centres are relative to the kernel's ends, so they spread with it; widths stay as many frames
    as they were.

    Args:
        layer: with its temporal size in `time`, and parameters that do not depend on it.
        time: the copy's temporal size in frames.

    Raises:
        ValueError: one of the two sizes is 1 and the other is not: a kernel of one frame has no
            mixture, so there is nothing that could be kept.
    """
    check_positive(time=time)
    if time != layer.time and 1 in (time, layer.time):
        raise ValueError(
            f"time: cannot stretch from {layer.time} to {time}, "
            "a kernel of one frame has no mixture parameters"
        )
    copied = copy.deepcopy(layer)
    copied.time = time  # type: ignore[assignment]
    return copied
