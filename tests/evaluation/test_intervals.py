"""Confidence intervals cover what they say, and equal published numbers."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from nni_evanet.evaluation.intervals import _Ranked, bootstrap_interval, wilson_interval
from nni_evanet.evaluation.metrics import average_precisions, mean_average_precision


@pytest.mark.parametrize("right, videos", [(0, 10), (3, 10), (10, 10), (772, 1000), (1, 1)])
def test_wilsons_interval_is_scipys(right, videos):
    expected = binomtest(right, videos).proportion_ci(method="wilson")
    assert wilson_interval(right / videos, videos) == pytest.approx((expected.low, expected.high))


def sample(videos, seed):
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.rand(videos, 4, generator=generator) < 0.3).float()
    scores = 0.5 * torch.rand(videos, 4, generator=generator) + 0.2 * targets
    return scores, targets


def test_a_resample_is_measured_like_the_videos_themselves():
    scores, targets = sample(50, 0)
    targets[:, 0] = 0
    targets[targets.any(1).logical_not(), 1] = 1
    scores = (scores * 20).round() / 20  # ties
    drawn = torch.from_numpy(np.random.default_rng(0).integers(0, 50, 50))
    found = _Ranked(scores, targets).precisions(drawn.bincount(minlength=50))
    expected = average_precisions(scores[drawn], targets[drawn])
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_the_bootstrap_covers_the_true_value_and_narrows_with_more_videos():
    truth = mean_average_precision(*sample(20000, 0))
    covered, widths = 0, {}
    for videos in (60, 240):
        intervals = [bootstrap_interval(*sample(videos, s), resamples=100) for s in range(1, 41)]
        covered += sum(low <= truth <= high for low, high in intervals)
        widths[videos] = np.mean([high - low for low, high in intervals])
    assert covered >= 0.85 * 80
    assert widths[60] == pytest.approx(2 * widths[240], rel=0.25)
    assert bootstrap_interval(*sample(60, 1)) == bootstrap_interval(*sample(60, 1))
