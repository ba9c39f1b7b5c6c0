"""Space-time max-pooling."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from nni_evanet.layers.padding import Triple, explicit_padding, fit_axes


class MaxPool3d(nn.Module):
    """Max-pooling with same padding by minus infinity.

    Maps (B, C, T, H, W) to (B, C, ceil(T / stride[0]), ceil(H / stride[1]), ceil(W / stride[2])).

    Args:
        kernel: in frames, rows and columns.
        stride: likewise.
    """

    def __init__(self, kernel: Triple, stride: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        # A maximum over space, then one over time: h w + L comparisons in place of h w L. In this
        # order ties are resolved, and so gradients sent, as by one operation over all three axes.
        if self.kernel[0] == 1 or x.shape[2] == 1:
            return max_pool_same(x, self.kernel, self.stride)
        x = max_pool_same(x, (1, *self.kernel[1:]), (1, *self.stride[1:]))
        return max_pool_same(x, (self.kernel[0], 1, 1), (self.stride[0], 1, 1))

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, stride={self.stride}"


def max_pool_same(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """`torch.nn.functional.max_pool3d` of x (B, C, T, H, W), same-padded with minus infinity."""
    fits = fit_axes(x.shape[2:], kernel, stride)
    padding = [f.before for f in fits]
    if any(f.after > f.before and step == 1 for f, step in zip(fits, stride, strict=True)):
        x = F.pad(x, explicit_padding(fits), value=float("-inf"))
        padding = [0, 0, 0]
    size = [f.end - f.first for f in fits]
    # With ceil_mode the last window may hang over the end by less than a stride, which is all that
    # uneven padding needs: nothing is copied.
    return F.max_pool3d(x, size, list(stride), padding, ceil_mode=True)
