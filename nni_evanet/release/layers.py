"""The layers in which the authors' code differs from the paper.

They take the arguments of `nni_evanet.layers.Conv3d` and map the same shapes.
"""

import math

import torch
from torch import Tensor, nn

from nni_evanet import layers
from nni_evanet.layers.arguments import check_positive
from nni_evanet.layers.convolve import conv_same
from nni_evanet.layers.padding import Triple
from nni_evanet.layers.stretching import stretched
from nni_evanet.release.batch_norm import FixedBatchNorm


class Conv3d(layers.Conv3d):
    """`nni_evanet.layers.Conv3d` with the initial values of the authors' code."""

    def reset_parameters(self) -> None:
        """Draw the weight anew."""
        init_weight_(self.weight, fan_in=self.weight[0].numel())


class TemporalFirstConv2Plus1d(nn.Module):
    """A temporal convolution C_in to C_out // 2, batch norm, ReLU, then a spatial one to C_out.

    The batch norm in between is a `FixedBatchNorm`, as in the authors' code, where it is told at
    no time that it is training. At L = 1 the temporal convolution stays, as a 1x1x1 one.

    Raises:
        ValueError: there are fewer than two output channels.
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
        half = out_channels // 2
        frames, rows, columns = stride
        self.temporal = Conv3d(in_channels, half, time, spatial=1, stride=(frames, 1, 1))
        self.norm = FixedBatchNorm(half)
        self.spatial = Conv3d(half, out_channels, 1, spatial=spatial, stride=(1, rows, columns))

    def forward(self, x: Tensor) -> Tensor:
        return self.spatial(self.norm(self.temporal(x)).relu_())


class CauchyITGM(nn.Module):
    """An iTGM layer of Cauchy-shaped bells, mixed anew for every pair of channels.

    Its kernel (`kernel`) is a spatial one for each pair of channels times a temporal one for each
    pair. As the latter depends on both channels, no two convolutions replace it: this layer costs
    what a 3D convolution costs.

    Parameters, none of them a bias:

    - `spatial` (C_out, C_in, h, w).
    - `center` (M): mu = (L - 1)(tanh(center) + 1) / 2 frames from the kernel's start.
    - `gamma` (M): g = exp(1.5 - 2 |tanh(gamma)|), from 0.6 to 4.5. A larger g makes the bell
      narrower: its half-width at half its height is sqrt(g / pi).
    - `mixing` (C_in C_out, M): softmax(mixing) are the weights of the bells, the row of input
      channel i and output channel o being i C_out + o.

    At L = 1 the layer is the plain spatial convolution, and has `spatial` alone.

    Raises:
        ValueError: an argument is not a positive number; it is named.
    """

    spatial: Tensor
    center: Tensor  # this and the next two are None at L = 1
    gamma: Tensor
    mixing: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        time: int,
        *,
        spatial: int = 3,
        stride: Triple = (1, 1, 1),
        mixtures: int = 4,
    ) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, out_channels=out_channels, time=time)
        check_positive(spatial=spatial, stride=stride, mixtures=mixtures)
        self.time = time
        self.stride = stride
        self.spatial = nn.Parameter(torch.empty(out_channels, in_channels, spatial, spatial))
        for name, shape in (
            ("center", (mixtures,)),
            ("gamma", (mixtures,)),
            ("mixing", (in_channels * out_channels, mixtures)),
        ):
            self.register_parameter(name, nn.Parameter(torch.empty(shape)) if time > 1 else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew. The fan-in of the spatial kernel leaves L out."""
        init_weight_(self.spatial, fan_in=self.spatial[0].numel())
        if self.time > 1:
            nn.init.normal_(self.center, std=0.5)
            nn.init.normal_(self.gamma, std=0.1)
            nn.init.trunc_normal_(self.mixing)

    def stretch(self, time: int) -> "CauchyITGM":
        """A copy whose kernel spans `time` frames: `nni_evanet.layers.stretching.stretched`."""
        return stretched(self, time)

    def bells(self) -> Tensor:
        """The M bells (M, L), each summing to 1 but for the 1e-6 that guards the division."""
        # At least single precision, also under autocast.
        center, gamma = (p.to(_at_least_single(p)) for p in (self.center, self.gamma))
        mu = (self.time - 1) * (torch.tanh(center) + 1) / 2
        g = torch.exp(1.5 - 2 * torch.tanh(gamma).abs())[:, None]
        frames = torch.arange(self.time, dtype=mu.dtype, device=mu.device)
        heights = 1 / (1 + math.pi * g * ((frames - mu[:, None]) / g) ** 2)
        return heights / (heights.sum(1, keepdim=True) + 1e-6)

    def temporal_kernel(self) -> Tensor:
        """(C_out, C_in, L)."""
        out_channels, in_channels = self.spatial.shape[:2]
        if self.time == 1:
            return self.spatial.new_ones(out_channels, in_channels, 1)
        weights = torch.softmax(self.mixing.to(_at_least_single(self.mixing)), 1)
        # A matrix product, but written so that autocast does not do it in half precision.
        pairs = zip(weights.unbind(1), self.bells(), strict=True)
        mixed = torch.stack([weight[:, None] * bell for weight, bell in pairs]).sum(0)
        kernel = mixed.unflatten(0, (in_channels, out_channels)).transpose(0, 1)
        return kernel.to(self.spatial.dtype)

    def kernel(self) -> Tensor:
        """(C_out, C_in, L, h, w)."""
        return self.spatial[:, :, None] * self.temporal_kernel()[..., None, None]

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.spatial[:, :, None] if self.time == 1 else self.kernel()
        return conv_same(x, kernel, self.stride)

    def extra_repr(self) -> str:
        out_channels, in_channels, *pixels = self.spatial.shape
        kernel = (self.time, *pixels)
        mixtures = "" if self.time == 1 else f", mixtures={len(self.center)}"
        return f"{in_channels}, {out_channels}, kernel={kernel}, stride={self.stride}{mixtures}"


def init_weight_(weight: Tensor, fan_in: int) -> None:
    """The authors' initial values: a truncated normal whose deviation is sqrt(2 / fan_in).

    Cutting a normal at two deviations takes 12 % of the deviation away. TensorFlow-Slim, which they
    used, makes up for it by the factor 1.3 under the root.
    """
    std = math.sqrt(1.3 * 2.0 / fan_in)
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def _at_least_single(parameter: Tensor) -> torch.dtype:
    return torch.promote_types(parameter.dtype, torch.float32)
