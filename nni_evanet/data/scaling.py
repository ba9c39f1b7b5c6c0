"""The one way in which frames are scaled, whoever decoded them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from torch.nn import functional


def scaled_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width after scaling the shorter of them to ``short_side``."""
    scale = Fraction(short_side, min(height, width))
    return round(height * scale), round(width * scale)


def scale(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale a frame (H, W, C) uint8, bilinear and antialiased; the same where it has that size.

    Not the decoder's own scaling: that takes three times as long, and is another one in each
    decoder.
    """
    if frame.shape[:2] == size:
        return frame
    image = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None]
    image = functional.interpolate(image, size=size, mode="bilinear", antialias=True)
    return image[0].permute(1, 2, 0).numpy()
