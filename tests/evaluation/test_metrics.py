"""Metrics against scikit-learn and statements of what they mean."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from nni_evanet.errors import InputError
from nni_evanet.evaluation.metrics import (
    average_precisions,
    class_accuracies,
    mean_average_precision,
    top_k_accuracy,
)


@pytest.fixture
def multi_label():
    """Scores with ties, and targets of which some videos have none and one class has none."""
    rng = np.random.default_rng(0)
    targets = rng.random((60, 5)) < 0.3
    targets[:, 3] = False
    targets[7:9] = False
    scores = (rng.random((60, 5)) + 0.3 * targets).round(1) / 2
    return torch.tensor(scores, dtype=torch.float32), torch.tensor(targets, dtype=torch.float32)


def test_average_precisions_are_scikit_learns_of_the_videos_with_a_label(multi_label):
    scores, targets = multi_label
    found = average_precisions(scores, targets)
    labeled = targets.any(1)
    for label in (0, 1, 2, 4):
        expected = average_precision_score(targets[labeled, label], scores[labeled, label])
        assert found[label].item() == pytest.approx(expected)
    assert found[3].isnan()
    assert mean_average_precision(scores, targets) == pytest.approx(found.nanmean().item())
    with pytest.raises(InputError, match="no video has a label"):
        mean_average_precision(scores, torch.zeros_like(targets))


def test_accuracies():
    scores = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    labels = torch.tensor([0, 0, 1, 0])
    assert top_k_accuracy(scores, labels) == 0.5
    assert top_k_accuracy(scores, labels, 2) == 0.5
    assert top_k_accuracy(scores, labels, 5) == 1
    accuracies = class_accuracies(scores, labels)
    torch.testing.assert_close(accuracies[:2], torch.tensor([1 / 3, 1.0]))
    assert accuracies[2].isnan()
