"""The memory format that networks run in."""

import torch
from torch import Tensor, nn


def to_channels_last(x: Tensor) -> Tensor:
    """The clip laid out as (B, T, H, W, C).

    On a CPU (two cores, float32, width 8, 16 x 32 x 32 to 32 x 64 x 64 clips) forward and backward
    take a quarter less time this way: max-pools are five times as fast, 1x1x1 convolutions become
    plain matrix products, and nothing needs a copy to be seen as a batch of images. CUDA's tensor
    cores want the same layout.
    """
    return x.contiguous(memory_format=torch.channels_last_3d)


def weights_to_channels_last_(network: nn.Module) -> None:
    """Lay out convolution weights in the same way.

    It spares both oneDNN (5 to 9 % of a training step of the networks above) and cuDNN a copy.
    """
    for weight in network.parameters():
        # A 1x1x1 kernel lies the same in both formats, but its gradient would have other strides.
        if weight.dim() in _FORMATS and weight[0, 0].numel() > 1:
            weight.data = weight.data.contiguous(memory_format=_FORMATS[weight.dim()])


_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
