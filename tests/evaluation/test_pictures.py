"""The picture of confusions, for few and for many classes."""

import cv2
import pytest
import torch

from nni_evanet.evaluation.pictures import confusion_matrix, draw_confusion, most_confused


def answers():
    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    scores = torch.nn.functional.one_hot(torch.tensor([0, 1, 1, 1, 0, 2]), 3).float()
    return scores, labels


def test_the_matrix_counts_answers():
    matrix = confusion_matrix(*answers())
    assert matrix.tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 1]]
    assert most_confused(matrix, 5) == [(0, 1, pytest.approx(2 / 3)), (2, 0, 0.5)]


@pytest.mark.parametrize("classes", [3, 51, 400])
def test_the_picture_fits_on_a_page(classes, tmp_path):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (2000,), generator=generator)
    scores = torch.rand(2000, classes, generator=generator)
    scores[torch.arange(1500), labels[:1500]] += 1
    names = [f"a $class_{k} with a rather long name, {k}" for k in range(classes)]
    draw_confusion(scores, labels, names, tmp_path / "c.png", title="ensemble")
    height, width, _ = cv2.imread(str(tmp_path / "c.png")).shape
    assert 500 < height <= 2500 and 500 < width <= 2500
