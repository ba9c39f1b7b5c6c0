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
    every resample is a mean over the classes that have a positive in it.

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
    low, high = means.quantile(torch.tensor((0.025, 0.975), dtype=means.dtype)).tolist()
    return low, high


class _Ranked:
    """Videos in the order of each class's scores: sorted once, counted for every resample."""

    def __init__(self, scores: Tensor, targets: Tensor) -> None:
        self._order = scores.argsort(0, descending=True, stable=True)
        self._positive = targets.gather(0, self._order).double()

    def precisions(self, counts: Tensor) -> Tensor:
        """Average precisions, (classes,), where video n is there ``counts[n]`` times.

        Different videos of equal scores, which probabilities hardly are, count one by one.
        """
        drawn = counts.double()[self._order]
        hits = drawn * self._positive
        precision = hits.cumsum(0) / drawn.cumsum(0).clamp_(min=1)
        return (precision * hits).sum(0) / hits.sum(0)
