"""Baselines of a given cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch

from nni_evanet.networks.baselines import build_baseline
from nni_evanet.networks.cost import count_macs

ABOVE = 1.1
"""How many times the wanted cost the nearest width may have, to be taken."""


def width_of_cost(name: str, gmacs: float, clip: Sequence[int], *, num_classes: int) -> int:
    """The width at which a baseline costs as nearly as possible what is wanted.

    Of the two widths on both sides it is the nearer one, but the wider one only if it costs no more
    than `ABOVE` times what is wanted. It is 1 where even that costs more.

    Args:
        name: one of `BASELINES` whose width is free (all but `s3d`).
        gmacs: wanted multiply-adds of a clip, in billions.
        clip: (C, T, H, W).
        num_classes: the number of logits.
    """

    @cache
    def cost(width: int) -> float:
        with torch.device("meta"):
            network = build_baseline(
                name, num_classes=num_classes, in_channels=clip[0], width=width
            )
        return count_macs(network, clip) / 1e9

    low, high = 1, 2
    while cost(high) <= gmacs:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= gmacs else (low, middle)
    nearer = cost(high) - gmacs < gmacs - cost(low)
    return high if nearer and cost(high) <= ABOVE * gmacs else low
