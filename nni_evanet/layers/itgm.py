"""The inflated temporal Gaussian mixture layer, iTGM (paper, section 3.1)."""

import torch
from torch import Tensor, nn

from nni_evanet.layers.arguments import check_positive
from nni_evanet.layers.conv3d import init_weight_
from nni_evanet.layers.convolve import conv_same
from nni_evanet.layers.padding import Triple
from nni_evanet.layers.stretching import stretched


class ITGM(nn.Module):
    """A space-time convolution whose kernel is a spatial one times a mixture of Gaussians in time.

    The kernel is S x K (`kernel`): S is a spatial kernel for each pair of channels, K one temporal
    kernel for each output channel. Since K does not depend on the input channel, the layer is
    computed as a two-dimensional convolution by S followed by a depthwise temporal one by K, which
    takes L times less arithmetic than a convolution with the kernel, and equals it.

    H W C_in C_out + 2 M + M C_out parameters whatever L, none of them a bias:

    - `spatial` (C_out, C_in, h, w): S.
    - `center` (M): mu = (L - 1)(tanh(center) + 1) / 2 frames from the kernel's start. The formula
      that the paper prints leaves the kernel's support; this one, the authors' own, does not.
    - `log_variance` (M): sigma^2 = exp(log_variance), in frames squared.
    - `mixing` (C_out, M): softmax(mixing) are the weights of the Gaussians in K (equation 2).

    At L = 1 the layer is the plain spatial convolution, and has `spatial` alone.

    Maps (B, C_in, T, H, W) to (B, C_out, ceil(T / stride[0]), ceil(H / stride[1]),
    ceil(W / stride[2])), with same padding.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        time: L, the temporal size of the kernel in frames.
        spatial: its height and width in pixels.
        stride: in frames, rows and columns.
        mixtures: M.

    Raises:
        ValueError: an argument is not a positive number; it is named.
    """

    spatial: Tensor
    center: Tensor  # this and the next two are None at L = 1
    log_variance: Tensor
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
            ("log_variance", (mixtures,)),
            ("mixing", (out_channels, mixtures)),
        ):
            self.register_parameter(name, nn.Parameter(torch.empty(shape)) if time > 1 else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew."""
        init_weight_(self.spatial, fan_in=self.spatial[0].numel())
        if self.time == 1:
            return
        # Centres and mixing as in the authors' code. A deviation of one frame is about the width
        # that their kernels start with (half their height at 1.1 frames from the centre).
        nn.init.normal_(self.center, std=0.5)
        nn.init.zeros_(self.log_variance)
        nn.init.trunc_normal_(self.mixing)

    def temporal_kernel(self) -> Tensor:
        """K (C_out, L): each row is positive and sums to 1 (equations 1 and 2)."""
        if self.time == 1:
            return self.spatial.new_ones(self.spatial.shape[0], 1)
        # At least single precision, also under autocast, which would do a matrix product in half.
        center, log_variance, mixing = (
            p.to(torch.promote_types(p.dtype, torch.float32))
            for p in (self.center, self.log_variance, self.mixing)
        )
        mu = (self.time - 1) * (torch.tanh(center) + 1) / 2
        frames = torch.arange(self.time, dtype=mu.dtype, device=mu.device)
        # The softmax over l is the normalisation 1 / Z, and cannot divide by zero. The bound keeps
        # exp(-log_variance) finite: at this variance a Gaussian is one frame already.
        precision = torch.exp(-log_variance.clamp(min=-40.0))
        gaussians = torch.softmax(-0.5 * (frames - mu[:, None]) ** 2 * precision[:, None], 1)
        kernel = (torch.softmax(mixing, 1)[:, :, None] * gaussians).sum(1)
        return kernel.to(self.spatial.dtype)

    def kernel(self) -> Tensor:
        """S x K (C_out, C_in, L, h, w): the three-dimensional kernel that the layer stands for."""
        return self.spatial[:, :, None] * self.temporal_kernel()[:, None, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        spatial = self.spatial[:, :, None]
        if self.time == 1:
            return conv_same(x, spatial, self.stride)
        frames, rows, columns = self.stride
        y = conv_same(x, spatial, (1, rows, columns))
        temporal = self.temporal_kernel()[:, None, :, None, None]
        return conv_same(y, temporal, (frames, 1, 1), groups=temporal.shape[0])

    def stretch(self, time: int) -> "ITGM":
        """A copy whose kernel spans `time` frames: `nni_evanet.layers.stretching.stretched`."""
        return stretched(self, time)

    def extra_repr(self) -> str:
        out_channels, in_channels, *pixels = self.spatial.shape
        kernel = (self.time, *pixels)
        mixtures = "" if self.time == 1 else f", mixtures={len(self.center)}"
        return f"{in_channels}, {out_channels}, kernel={kernel}, stride={self.stride}{mixtures}"
