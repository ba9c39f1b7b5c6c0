"""TensorFlow's "SAME" padding, the one that the authors' networks use everywhere.

Along an axis of `size` an operation with a `kernel` and a `stride` gives `ceil(size / stride)`
outputs. What that needs beyond the input is split in two halves, and an odd remainder goes after
the input. The amount depends on the size of the input, so it is computed at every call.
"""

from collections.abc import Sequence
from typing import NamedTuple

Triple = tuple[int, int, int]


class Fit(NamedTuple):
    """How a kernel meets one axis: padding on both sides, and the taps [first, end) to apply."""

    before: int
    after: int
    first: int
    end: int


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after one axis."""
    total = max(_last_start(size, stride) + kernel - size, 0)
    return total // 2, total - total // 2


def fit(size: int, kernel: int, stride: int) -> Fit:
    """Same padding, less the taps that meet nothing but padding whatever the output.

    A temporal kernel may be longer than the clip (of 11 taps on 4 frames, 7 ever meet a frame), and
    of a 3x3 kernel on a 1x1 map only the centre does: leaving the others out changes no result.
    """
    before, after = same_padding(size, kernel, stride)
    last = _last_start(size, stride)
    unused_first, unused_last = max(before - last, 0), max(after - last, 0)
    return Fit(before - unused_first, after - unused_last, unused_first, kernel - unused_last)


def fit_axes(sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> list[Fit]:
    """`fit` for each axis."""
    return [fit(*axis) for axis in zip(sizes, kernel, stride, strict=True)]


def explicit_padding(fits: Sequence[Fit]) -> list[int]:
    """What `torch.nn.functional.pad` takes: both sides of each axis, from the last axis on."""
    return [side for f in reversed(fits) for side in (f.before, f.after)]


def _last_start(size: int, stride: int) -> int:
    """Where the last output's window starts, counted from where the first one's does."""
    return ((size + stride - 1) // stride - 1) * stride
