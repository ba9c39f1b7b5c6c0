"""The networks that the paper compares with (section 5.1; tables 1, 3, 7, 10 and 12)."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nni_evanet.errors import InputError
from nni_evanet.layers import MaxPool3d, space_time_conv
from nni_evanet.layers.arguments import check_positive
from nni_evanet.networks.head import Head
from nni_evanet.networks.inception import POOLS, STEM_FILTERS, scaled
from nni_evanet.networks.memory import to_channels_last, weights_to_channels_last_
from nni_evanet.networks.resnet import check_clips
from nni_evanet.networks.streams import ConvNorm, pointwise

_INCEPTION_OPS = {
    "inception-conv3d": "conv3d",
    "inception-conv2plus1d": "conv2plus1d",
    "inception-itgm": "itgm",
}
_RESNET_DEPTHS = {"resnet50-conv2plus1d": 50, "resnet101-conv2plus1d": 101}

BASELINES = ("i3d", *_INCEPTION_OPS, *_RESNET_DEPTHS, "s3d")
"""The names that `build_baseline` knows."""


def build_baseline(
    name: str,
    *,
    num_classes: int,
    in_channels: int = 3,
    width: int = 64,
    dropout: float = 0.5,
    time: int | None = None,
) -> nn.Module:
    """A network of the paper's tables: clips (B, C, T, H, W) to logits (B, num_classes).

    Takes any T >= 1 and H, W >= 16. The names:

    - `i3d`: Inception-v1 inflated, temporal size 7 in the first layer and 3 in all others.
    - `inception-conv3d`, `inception-conv2plus1d`, `inception-itgm`: the same network with one op
      and one temporal size everywhere ("3D Conv", "(2+1)D Conv" and "iTGM Conv" in the tables).
      Pools and 1x1x1 convolutions are I3D's.
    - `resnet50-conv2plus1d`, `resnet101-conv2plus1d`: "ResNet-50 (2+1)D", by pytorchvideo.
    - `s3d`: torchvision's; its `width` is 64.

    Args:
        name: one of `BASELINES`.
        num_classes: the number of logits.
        in_channels: C, 3 for RGB and 2 for optical flow.
        width: filters of the first layer. All others are in proportion; at 64 they are those of
            the published networks.
        dropout: probability in front of the classifier.
        time: the temporal size of the three `inception-...`, 3 by default; the others have theirs.

    Raises:
        InputError: an unknown name, or an argument that the network does not have.
        ValueError: an argument is out of its range.
    """
    if name not in BASELINES:
        raise InputError(f"baseline: {name!r} is not one of {', '.join(BASELINES)}")
    if time is not None and name not in _INCEPTION_OPS:
        raise InputError(f"time: {name} has temporal sizes of its own")
    time = 3 if time is None else time
    check_positive(num_classes=num_classes, in_channels=in_channels, width=width, time=time)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: {dropout!r} is not in [0, 1)")
    if name in _RESNET_DEPTHS:
        return _build_resnet(_RESNET_DEPTHS[name], num_classes, in_channels, width, dropout)
    if name == "s3d":
        return _build_s3d(num_classes, in_channels, width, dropout)
    return InflatedInception(
        _INCEPTION_OPS.get(name, "conv3d"),
        first_time=7 if name == "i3d" else time,
        time=time,
        num_classes=num_classes,
        in_channels=in_channels,
        width=width,
        dropout=dropout,
    )


class _Filters(NamedTuple):
    """Filters of a module's four branches, those of a 1x1x1 reduction in front of a 3x3 included.

    Named as in table 1 of "Going deeper with convolutions".
    """

    conv1: int
    reduce3: int
    conv3: int
    reduce5: int
    conv5: int
    pool: int

    @property
    def total(self) -> int:
        return self.conv1 + self.conv3 + self.conv5 + self.pool


_MODULES = (
    _Filters(64, 96, 128, 16, 32, 32),
    _Filters(128, 128, 192, 32, 96, 64),
    _Filters(192, 96, 208, 16, 48, 64),
    _Filters(160, 112, 224, 24, 64, 64),
    _Filters(128, 128, 256, 24, 64, 64),
    _Filters(112, 144, 288, 32, 64, 64),
    _Filters(256, 160, 320, 32, 128, 128),
    _Filters(256, 160, 320, 32, 128, 128),
    _Filters(384, 192, 384, 48, 128, 128),
)


class InflatedInception(nn.Module):
    """Inception-v1 with every 7x7 and 3x3 convolution inflated in time, as I3D has it.

    Maps clips (B, `in_channels`, T, H, W) to logits (B, `num_classes`) for T, H, W >= 1. It halves
    T three times and H and W five times, rounding up. Batch norm and ReLU follow every convolution.
    Its parts: `stem`, `stages` (modules of four branches, and the pools between them), `head`.

    Args:
        op: of every convolution that is not 1x1x1.
        first_time: temporal size of the first, in frames.
        time: that of the others.
    """

    def __init__(
        self,
        op: str,
        *,
        first_time: int,
        time: int,
        num_classes: int,
        in_channels: int,
        width: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        channels = scaled(STEM_FILTERS, width)
        self.stem = nn.Sequential(
            OrderedDict(
                conv7x7=_conv(op, in_channels, width, first_time, spatial=7, stride=(2, 2, 2)),
                pool1=MaxPool3d((1, 3, 3), (1, 2, 2)),
                conv1x1=pointwise(width, width, relu=True),
                conv3x3=_conv(op, width, channels, time),
                pool2=MaxPool3d((1, 3, 3), (1, 2, 2)),
            )
        )
        self.stages = nn.Sequential()
        for index, published in enumerate(_MODULES):
            if index in POOLS:
                self.stages.append(MaxPool3d(*POOLS[index]))
            filters = _Filters(*(scaled(count, width) for count in published))
            self.stages.append(_Branches(op, channels, filters, time))
            channels = filters.total
        self.head = Head(channels, num_classes, dropout)
        weights_to_channels_last_(self)

    def forward(self, clips: Tensor) -> Tensor:
        check_clips(clips, self.in_channels)
        return self.head(self.stages(self.stem(to_channels_last(clips))))


class _Branches(nn.Module):
    """The four branches of an Inception-v1 module, concatenated to (B, `filters.total`, T, H, W).

    What was a 5x5 convolution is 3x3, as in I3D.
    """

    def __init__(self, op: str, in_channels: int, filters: _Filters, time: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            (
                pointwise(in_channels, filters.conv1, relu=True),
                nn.Sequential(
                    pointwise(in_channels, filters.reduce3, relu=True),
                    _conv(op, filters.reduce3, filters.conv3, time),
                ),
                nn.Sequential(
                    pointwise(in_channels, filters.reduce5, relu=True),
                    _conv(op, filters.reduce5, filters.conv5, time),
                ),
                nn.Sequential(
                    MaxPool3d((3, 3, 3)), pointwise(in_channels, filters.pool, relu=True)
                ),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def _conv(
    op: str,
    in_channels: int,
    out_channels: int,
    time: int,
    *,
    spatial: int = 3,
    stride: tuple[int, int, int] = (1, 1, 1),
) -> ConvNorm:
    conv = space_time_conv(op, in_channels, out_channels, time, spatial=spatial, stride=stride)
    return ConvNorm(conv, out_channels, relu=True)


def _build_resnet(
    depth: int, num_classes: int, in_channels: int, width: int, dropout: float
) -> nn.Module:
    from pytorchvideo.models.r2plus1d import create_r2plus1d

    return create_r2plus1d(
        input_channel=in_channels,
        model_depth=depth,
        model_num_class=num_classes,
        dropout_rate=dropout,
        stem_dim_out=width,
        # By default the head's window is that of one clip size, and its output a softmax.
        head_pool=nn.AdaptiveAvgPool3d,
        head_activation=None,
    )


def _build_s3d(num_classes: int, in_channels: int, width: int, dropout: float) -> nn.Module:
    if width != 64:
        raise InputError(f"width: {width} given, but torchvision's S3D has 64")
    from torchvision.models.video import S3D

    network = S3D(num_classes=num_classes, dropout=dropout)
    if in_channels != 3:
        network.features[0][0][0] = nn.Conv3d(
            in_channels, 64, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False
        )
    # Two parts do not take short or small clips. In their places, the same for those that they do:
    network.features[13] = MaxPool3d((2, 2, 2), (2, 2, 2))
    network.avgpool = _HeadWindow()
    return network


class _HeadWindow(nn.Module):
    """Averages over (min(T, 2), H, W), moving by a frame: (B, C, max(T - 1, 1), 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        time, height, width = x.shape[2:]
        return nn.functional.avg_pool3d(x, (min(time, 2), height, width), stride=1)
