"""The space-time layers of the search space: (B, C, T, H, W) in, (B, C_out, T', H', W') out."""

from torch import nn

from nni_evanet.layers.batch_norm import BatchNorm
from nni_evanet.layers.conv2plus1d import Conv2Plus1d
from nni_evanet.layers.conv3d import Conv3d
from nni_evanet.layers.itgm import ITGM
from nni_evanet.layers.max_pool import MaxPool3d
from nni_evanet.layers.padding import Triple

__all__ = ["ITGM", "BatchNorm", "Conv2Plus1d", "Conv3d", "MaxPool3d", "space_time_conv"]

_OPS: dict[str, type[Conv3d] | type[Conv2Plus1d] | type[ITGM]] = {
    "conv3d": Conv3d,
    "conv2plus1d": Conv2Plus1d,
    "itgm": ITGM,
}


def space_time_conv(
    op: str,
    in_channels: int,
    out_channels: int,
    time: int,
    *,
    spatial: int = 3,
    stride: Triple = (1, 1, 1),
) -> nn.Module:
    """The space-time convolution that an architecture calls `op`.

    Raises:
        ValueError: there is none of that name.
    """
    if op not in _OPS:
        raise ValueError(f"op: {op!r} is not one of {', '.join(_OPS)}")
    return _OPS[op](in_channels, out_channels, time, spatial=spatial, stride=stride)
