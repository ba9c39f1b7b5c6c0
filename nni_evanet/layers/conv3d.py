"""The 3D convolution (paper, section 3)."""

import math

import torch
from torch import Tensor, nn

from nni_evanet.layers.arguments import check_positive
from nni_evanet.layers.convolve import conv_same
from nni_evanet.layers.padding import Triple


class Conv3d(nn.Module):
    """A bias-free 3D convolution with same padding: L H W C_in C_out parameters.

    Maps (B, C_in, T, H, W) to (B, C_out, ceil(T / stride[0]), ceil(H / stride[1]),
    ceil(W / stride[2])). The one parameter, `weight`, is (C_out, C_in, L, H, W).

    Args:
        in_channels: C_in.
        out_channels: C_out.
        time: L, the temporal size of the kernel in frames.
        spatial: its height and width in pixels.
        stride: in frames, rows and columns.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        time: int,
        *,
        spatial: int = 3,
        stride: Triple = (1, 1, 1),
    ) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, out_channels=out_channels, time=time)
        check_positive(spatial=spatial, stride=stride)
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, time, spatial, spatial))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight anew."""
        init_weight_(self.weight, fan_in=self.weight[0].numel())

    def forward(self, x: Tensor) -> Tensor:
        return conv_same(x, self.weight, self.stride)

    def extra_repr(self) -> str:
        out_channels, in_channels, *kernel = self.weight.shape
        return f"{in_channels}, {out_channels}, kernel={tuple(kernel)}, stride={self.stride}"


def init_weight_(weight: Tensor, fan_in: int) -> None:
    """The authors' initial values: a normal of deviation sqrt(2 / fan_in), cut at two of them."""
    std = math.sqrt(2.0 / fan_in)
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
