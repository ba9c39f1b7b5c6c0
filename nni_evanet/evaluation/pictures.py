"""A picture of which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

# Up to which number of classes shares are written into the cells, and names along the axes.
_CELLS, _NAMES = 15, 60
# Pairs of classes that are listed beside the matrix of more classes than that.
_LISTED = 30


def confusion_matrix(scores: Tensor, labels: Tensor) -> Tensor:
    """How often class i was taken for class j, (classes, classes) int64.

    Args:
        scores: (N, classes).
        labels: (N,).
    """
    classes = scores.shape[1]
    pairs = labels * classes + scores.argmax(1)
    return pairs.bincount(minlength=classes**2).view(classes, classes)


def most_confused(matrix: Tensor, count: int) -> list[tuple[int, int, float]]:
    """The pairs (i, j) of classes most often confused, with the share of i's videos."""
    shares = _shares(matrix).fill_diagonal_(0)
    values, places = shares.flatten().topk(min(count, shares.numel()))
    return [
        (*divmod(place, len(matrix)), value)
        for place, value in zip(places.tolist(), values.tolist(), strict=True)
        if value > 0
    ]


def draw_confusion(
    scores: Tensor, labels: Tensor, classes: Sequence[str], path: Path, *, title: str
) -> None:
    """Draw each class's share of answers as a matrix.

    Few classes are named along the axes; of many, the most frequent confusions are listed beside.
    """
    matrix = confusion_matrix(scores, labels)
    named = len(classes) <= _NAMES
    side = max(5.0, 0.22 * len(classes) + 2) if named else 8.0
    figure = Figure(figsize=(side if named else side + 5, side), layout="constrained")
    grid = figure.add_gridspec(1, 2, width_ratios=(7, 6)) if not named else None
    _draw_matrix(figure.add_subplot(grid[0] if grid else 111), matrix, classes, title)
    if grid:
        _list_confused(figure.add_subplot(grid[1]), matrix, classes)
    figure.savefig(path, dpi=150)


def _draw_matrix(axes: Axes, matrix: Tensor, classes: Sequence[str], title: str) -> None:
    shares = _shares(matrix)
    # Small shares must show in a matrix of hundreds of classes too.
    shown = shares.sqrt() if len(classes) > _CELLS else shares
    axes.imshow(shown.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="answer", ylabel="class", title=title)
    if len(classes) <= _NAMES:
        axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=8, parse_math=False)
        axes.set_yticks(range(len(classes)), classes, fontsize=8, parse_math=False)
    if len(classes) <= _CELLS:
        axes.set_title(f"{title}: % of each class")
        for i, j in torch.nonzero(matrix).tolist():
            colour = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, f"{shares[i, j]:.0%}".rstrip("%"), color=colour, fontsize=8,
                      ha="center", va="center")  # fmt: skip


def _list_confused(axes: Axes, matrix: Tensor, classes: Sequence[str]) -> None:
    axes.set_axis_off()
    axes.set_title("most often confused", loc="left")
    for line, (i, j, share) in enumerate(most_confused(matrix, _LISTED)):
        text = f"{share:4.0%}  {_short(classes[i])} as {_short(classes[j])}"
        axes.text(0, 1 - (line + 1) / (_LISTED + 1), text, fontsize=8, parse_math=False)


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:27]}…"


def _shares(matrix: Tensor) -> Tensor:
    return matrix / matrix.sum(1, keepdim=True).clamp(min=1)
