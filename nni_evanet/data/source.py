"""Where a clip's frames come from: a file, a folder of pictures or the cache, all asked alike."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

import numpy as np

DECODERS = ("auto", "pyav", "torchcodec")
"""How an encoded file is decoded; see `nni_evanet.data.opening.open_video`."""


class UnreadableVideo(Exception):
    """Frames that cannot be read; the message is one line that says why, without the path."""


class FrameSource(Protocol):
    """The frames of one video at any constant rate.

    A context manager. Frame k at ``fps`` is the stored frame nearest to k / fps seconds, the
    earlier one of two equally near; at the video's own constant rate these are its frames, one by
    one. All methods raise `UnreadableVideo`.

    Attributes:
        start: where its first frame lies in the video, in seconds: not 0 where a part was cached.
    """

    start: Fraction

    def count(self, fps: Fraction) -> int:
        """How many frames the whole video has at ``fps``; at least 1."""

    def scaled(self, short_side: int) -> tuple[int, int]:
        """Height and width of the frames when their shorter side is scaled to ``short_side``."""

    def read(self, first: int, count: int, fps: Fraction, short_side: int) -> np.ndarray:
        """Frames ``first`` to ``first + count - 1`` at ``fps``.

        Returns:
            (count, H, W, C) uint8, scaled to ``short_side``: C = 3 is RGB; C = 2 is optical flow
            in x and y, where 0 to 255 stand for -20 to 20 pixels.
        """

    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> FrameSource: ...

    def __exit__(self, *_: object) -> None: ...


def frame_rate(fps: float) -> Fraction:
    """Frames a second as a fraction: 29.97 is 2997/100, and 29.97002997 is 30000/1001."""
    return Fraction(fps).limit_denominator(1001)
