"""Ensembles: scores of the same videos, averaged (paper, section 4: the outputs of the softmax)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nni_evanet.errors import InputError
from nni_evanet.evaluation.scores import Scores

# What must be the same for scores to be compared, and its name in a message.
_SHARED = {
    "dataset": "dataset",
    "subset": "subset",
    "split": "split",
    "multi_label": "kind of labels",
    "clips": "clips of a video",
    "crops": "crops of a clip",
}


def align(scores: Sequence[Scores]) -> list[Scores]:
    """The same scores of the videos that all have, in the order of the first.

    A video that one network could not read is left out for all.

    Raises:
        InputError: other data or views, other classes, other videos or other labels.
    """
    first = scores[0]
    left_out: dict[str, str] = {}
    for other in scores:
        _check_comparable(first, other)
        left_out |= other.left_out
    videos = [name for name in first.videos if name not in left_out]
    if not videos:
        raise InputError("no video has scores of all networks")
    aligned = [each.only(videos, left_out) for each in scores]
    for other in aligned:
        if not torch.equal(aligned[0].targets, other.targets):
            raise _different(first, other, "labels")
    return aligned


def average(scores: Sequence[Scores], weights: Sequence[float] | None = None) -> Tensor:
    """The mean of aligned scores, (N, classes); all count the same if no weights are given.

    Raises:
        InputError: not one weight for each, a negative one, or none above 0.
    """
    if weights is None:
        weights = [1.0] * len(scores)
    if len(weights) != len(scores):
        raise InputError(f"{len(weights)} weights for {len(scores)} networks")
    if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
        raise InputError(f"weights {', '.join(map(str, weights))}: expected positive numbers")
    shares = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    stacked = torch.stack([each.values.double() for each in scores])
    # Of probabilities, whose mean rounding must not lift above 1.
    return torch.einsum("k,knc->nc", shares, stacked).clamp_(0, 1).float()


def check_classes(expected: Sequence[str], found: Sequence[str], *, where: str, of: str) -> None:
    """Compare lists of class names.

    Args:
        expected, found: the names.
        where: has ``found``, in a message.
        of: has ``expected``, in a message.

    Raises:
        InputError: they differ; the message has the counts, or the first class that differs.
    """
    if len(expected) != len(found):
        raise InputError(f"{where}: {len(found)} classes, but {of} has {len(expected)}")
    for number, (wanted, name) in enumerate(zip(expected, found, strict=True)):
        if wanted != name:
            raise InputError(f"{where}: class {number} is {name!r}, in {of} it is {wanted!r}")


def _check_comparable(first: Scores, other: Scores) -> None:
    one, two = first.origin, other.origin
    for field, meaning in _SHARED.items():
        if getattr(one, field) != getattr(two, field):
            raise _different(first, other, f"{meaning} ({getattr(two, field)}, "
                             f"{getattr(one, field)})")  # fmt: skip
    check_classes(one.classes, two.classes, where=f"scores of {two.network}", of=one.network)
    listed, others = _listed(first), _listed(other)
    if listed != others:
        example = min(listed ^ others)
        raise _different(first, other, f"videos: {example} is in one of them only")


def _listed(scores: Scores) -> set[str]:
    return set(scores.videos) | set(scores.left_out)


def _different(first: Scores, other: Scores, what: str) -> InputError:
    return InputError(
        f"scores of {other.origin.network} and of {first.origin.network}: different {what}"
    )
