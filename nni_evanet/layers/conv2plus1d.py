"""The (2+1)D convolution (paper, section 3)."""

from torch import Tensor, nn

from nni_evanet.layers.batch_norm import BatchNorm
from nni_evanet.layers.conv3d import Conv3d
from nni_evanet.layers.padding import Triple


class Conv2Plus1d(nn.Module):
    """A spatial convolution C_in to C_out, batch norm, ReLU, then a temporal one C_out to C_out.

    Its convolutions have H W C_in C_out + L C_out C_out parameters. At L = 1 the temporal one
    stays, as a 1x1x1 convolution. Shapes and arguments are those of `nni_evanet.layers.Conv3d`.
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
        frames, *pixels = stride
        self.spatial = Conv3d(
            in_channels, out_channels, 1, spatial=spatial, stride=(1, pixels[0], pixels[1])
        )
        self.norm = BatchNorm(out_channels)
        self.temporal = Conv3d(out_channels, out_channels, time, spatial=1, stride=(frames, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.temporal(self.norm(self.spatial(x)).relu_())
