"""The Inception-like meta-architecture (paper, section 4.1 and appendix A, figure 9)."""

from collections import OrderedDict

from torch import Tensor, nn

from nni_evanet.architecture import Architecture, InceptionStem
from nni_evanet.layers import MaxPool3d, space_time_conv
from nni_evanet.networks.head import Head
from nni_evanet.networks.memory import to_channels_last, weights_to_channels_last_
from nni_evanet.networks.resnet import check_clips
from nni_evanet.networks.streams import ConvNorm, ParallelStreams, pointwise

FILTERS = (256, 480, 512, 512, 512, 528, 832, 832, 1024)
"""I3D's filters of each module, at width 64."""
STEM_FILTERS = 192
"""Filters of the stem's 3x3 convolution, at width 64."""
POOLS = {2: ((3, 3, 3), (2, 2, 2)), 7: ((2, 2, 2), (2, 2, 2))}
"""The fixed max-pools between modules: kernel and stride, by how many modules come before."""


class Inception(nn.Module):
    """The network of an Inception-like architecture.

    Maps clips (B, `in_channels`, T, H, W) to logits (B, `num_classes`), for T >= 1 and H, W >= 16.
    It halves T three times, H and W five times, rounding up. Its parts: `stem` (I3D's five
    layers), `stages` (modules, each with a ReLU after the concatenation, and the pools between
    them), `head`.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        num_classes: int,
        in_channels: int,
        width: int,
        dropout: float,
    ) -> None:
        super().__init__()
        assert isinstance(architecture.stem, InceptionStem)
        self.in_channels = in_channels
        channels = scaled(STEM_FILTERS, width)
        self.stem = _build_stem(architecture.stem, in_channels, width, channels)
        self.stages = nn.Sequential()
        for number, module in enumerate(architecture.modules):
            if number in POOLS:
                self.stages.append(MaxPool3d(*POOLS[number]))
            filters = scaled(FILTERS[number], width)
            streams = ParallelStreams(module, channels, filters, temporal=True)
            self.stages.append(nn.Sequential(streams, nn.ReLU(inplace=True)))
            channels = streams.out_channels
        self.head = Head(channels, num_classes, dropout)
        weights_to_channels_last_(self)

    def forward(self, clips: Tensor) -> Tensor:
        check_clips(clips, self.in_channels)
        return self.head(self.stages(self.stem(to_channels_last(clips))))


def scaled(filters: int, width: int) -> int:
    """A number of filters that is given for width 64, at another width; at least one."""
    return max(1, filters * width // 64)


def _build_stem(
    stem: InceptionStem, in_channels: int, width: int, out_channels: int
) -> nn.Sequential:
    conv7x7 = space_time_conv(
        stem.conv7x7_op, in_channels, width, stem.conv7x7_time, spatial=7, stride=(2, 2, 2)
    )
    conv3x3 = space_time_conv(stem.conv3x3_op, width, out_channels, stem.conv3x3_time)
    layers = {
        "conv7x7": ConvNorm(conv7x7, width, relu=True),
        "pool1": MaxPool3d((stem.pool1_time, 3, 3), (1, 2, 2)),
        "conv1x1x1": pointwise(width, width, relu=True),
        "conv3x3": ConvNorm(conv3x3, out_channels, relu=True),
        "pool2": MaxPool3d((stem.pool2_time, 3, 3), (1, 2, 2)),
    }
    return nn.Sequential(OrderedDict(layers))
