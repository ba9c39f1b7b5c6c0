"""Views of a clip (B, C, T, H, W) as a batch of images.

In channels-last memory, where a clip lies as (B, T, H, W, C), none of them copies anything. They go
through that order rather than reshape (B, C, T, H, W) directly, because a direct reshape leaves an
odd batch stride when B is 1, which makes oneDNN take the result for channels-first and reorder it.
"""

import torch
from torch import Tensor


def is_channels_last(x: Tensor) -> bool:
    """Whether the clip lies as (B, T, H, W, C)."""
    return x.is_contiguous(memory_format=torch.channels_last_3d)


def frames_as_batch(x: Tensor) -> Tensor:
    """(B, C, T, H, W) to (B T, C, H, W)."""
    return x.permute(0, 2, 3, 4, 1).flatten(0, 1).permute(0, 3, 1, 2)


def batch_as_frames(x: Tensor, frames: int) -> Tensor:
    """(B T, C, H, W) to (B, C, T, H, W)."""
    return x.permute(0, 2, 3, 1).unflatten(0, (-1, frames)).permute(0, 4, 1, 2, 3)


def pixels_as_columns(x: Tensor) -> Tensor:
    """(B, C, T, H, W) to (B, C, T, H W)."""
    if not is_channels_last(x):
        return x.flatten(3)
    return x.permute(0, 2, 3, 4, 1).flatten(2, 3).permute(0, 3, 1, 2)


def columns_as_pixels(x: Tensor, height: int, width: int) -> Tensor:
    """(B, C, T, H W) to (B, C, T, H, W)."""
    return x.permute(0, 2, 3, 1).unflatten(2, (height, width)).permute(0, 4, 1, 2, 3)
