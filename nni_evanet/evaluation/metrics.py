"""Metrics of scores: top-k accuracy, and the mean average precision of Charades' protocol."""

from __future__ import annotations

import torch
from torch import Tensor

from nni_evanet.errors import InputError


def top_k_accuracy(scores: Tensor, labels: Tensor, k: int = 1) -> float:
    """Share of videos whose class is among the k highest of (N, classes) scores; labels (N,)."""
    best = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(1).float().mean().item()


def class_accuracies(scores: Tensor, labels: Tensor) -> Tensor:
    """Share of each class's videos with the right answer, (classes,); NaN for one without any."""
    classes = scores.shape[1]
    right = labels[scores.argmax(1) == labels].bincount(minlength=classes)
    return right / labels.bincount(minlength=classes)


def average_precisions(scores: Tensor, targets: Tensor) -> Tensor:
    """Average precision of each class, (classes,) float64; NaN for a class without a positive.

    As in Charades' own evaluation, videos without any label are left out.

    Args:
        scores: (N, classes), any that grow with the probability.
        targets: (N, classes), 0 and 1.
    """
    # Where all is single-label, torchmetrics is not needed: it takes 2 s to import.
    from torchmetrics.functional.classification import multilabel_average_precision

    labeled = targets.any(1)
    scores, targets = scores[labeled].double(), targets[labeled].long()
    known = targets.any(0)
    precisions = torch.full((scores.shape[1],), torch.nan, dtype=torch.float64)
    if known.any():
        # torchmetrics applies a sigmoid to scores beyond [0, 1]; in float64 none of ours saturate.
        found = multilabel_average_precision(
            scores[:, known], targets[:, known], num_labels=int(known.sum()), average="none"
        )
        precisions[known.cpu()] = found.double().cpu()
    return precisions


def mean_average_precision(scores: Tensor, targets: Tensor) -> float:
    """Mean of `average_precisions` over the classes that have a positive.

    Raises:
        InputError: none has.
    """
    precisions = average_precisions(scores, targets)
    if precisions.isnan().all():
        raise InputError("no video has a label: the mean average precision is undefined")
    return precisions.nanmean().item()


def main_metric(scores: Tensor, targets: Tensor) -> float:
    """What a search maximises: accuracy for targets (N,), mAP for targets (N, classes)."""
    if targets.dim() == 1:
        return top_k_accuracy(scores, targets)
    return mean_average_precision(scores, targets)
