"""95 % confidence intervals of metrics over a sample of videos."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_Z = 1.959963984540054
_RESAMPLES = 1000


def wilson_interval(accuracy: float, videos: int) -> tuple[float, float]:
    """Wilson's score interval of a share of ``videos``.

    Unlike the normal approximation it stays within [0, 1], and is none too short at the ends.
    """
    centre = accuracy + _Z**2 / (2 * videos)
    half = _Z * math.sqrt(accuracy * (1 - accuracy) / videos + _Z**2 / (4 * videos**2))
    scale = 1 + _Z**2 / videos
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def bootstrap_interval(
    scores: Tensor, targets: Tensor, *, seed: int = 0, resamples: int = _RESAMPLES
) -> tuple[float, float]:
    """The bootstrap's percentile interval of the mean average precision.

    Videos are drawn with replacement; those without a label are left out, as in the metric, and
    every resample is a mean over the classes that have a positive in it. A video that is drawn
    twice has neighbouring ranks, which raises the precision: the mean rise is taken off.

    Args:
        scores, targets: (N, classes), as in `average_precisions`.
        seed: of the draws.
        resamples: how many.
    """
    labeled = targets.any(1)
    ranked = _Ranked(scores[labeled], targets[labeled])
    videos = int(labeled.sum())
    generator = torch.Generator().manual_seed(seed)
    means = torch.stack(
        [
            ranked.precisions(
                torch.randint(videos, (videos,), generator=generator).bincount(minlength=videos)
            ).nanmean()
            for _ in range(resamples)
        ]
    )
    estimate = ranked.precisions(torch.ones(videos)).nanmean()
    low, high = means.quantile(torch.tensor((0.025, 0.975), dtype=means.dtype))
    bias = means.mean() - estimate
    return max(0.0, (low - bias).item()), min(1.0, (high - bias).item())


class _Ranked:
    """Videos in the order of each class's scores: sorted once, counted for every resample."""

    def __init__(self, scores: Tensor, targets: Tensor) -> None:
        ranked, self._order = scores.sort(0, descending=True)
        self._positive = targets.gather(0, self._order).double()
        # Of equal scores all are taken or none: precision is that at the last of them.
        places = torch.arange(len(ranked))[:, None].expand_as(ranked)
        last = torch.ones_like(ranked, dtype=torch.bool)
        last[:-1] = ranked[:-1] != ranked[1:]
        ends = torch.where(last, places, len(ranked))
        self._ends = ends.flip(0).cummin(0).values.flip(0)

    def precisions(self, counts: Tensor) -> Tensor:
        """Average precisions, (classes,), where video n is there ``counts[n]`` times."""
        drawn = counts.double()[self._order]
        hits = drawn * self._positive
        precision = hits.cumsum(0) / drawn.cumsum(0).clamp_(min=1)
        return (precision.gather(0, self._ends) * hits).sum(0) / hits.sum(0)
