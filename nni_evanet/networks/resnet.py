"""The ResNet-like meta-architecture (paper, section 4.1, figure 4)."""

from collections import OrderedDict

from torch import Tensor, nn

from nni_evanet.architecture import Architecture, Module, ResNetStem
from nni_evanet.layers import MaxPool3d, space_time_conv
from nni_evanet.networks.head import Head
from nni_evanet.networks.memory import to_channels_last, weights_to_channels_last_
from nni_evanet.networks.streams import ConvNorm, ParallelStreams, pointwise

WIDTHS = (4, 8, 16, 32)
"""Filters of each module, in multiples of the stem's."""


class ResNet(nn.Module):
    """The network of a ResNet-like architecture.

    Maps clips (B, `in_channels`, T, H, W) to logits (B, `num_classes`), for T >= 1 and H, W >= 16.
    It halves T twice, H and W five times, rounding up. Its parts: `stem`, `pools` (before each
    module but the first), `stages` (a module's repeats each, `ResidualBlock`), `head`.

    Raises:
        ValueError: clips of another shape, or, in training, so few and small ones that batch norm
            is left with one value a channel.
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
        self.in_channels = in_channels
        stem = architecture.stem
        assert isinstance(stem, ResNetStem)
        self.stem = _build_stem(stem, in_channels, width)
        # The first of these pools has no size of its own, it shares that of the stem's. Where
        # there are fewer modules, the last ones have none.
        times = (stem.pool1_time, stem.pool3_time, stem.pool4_time)[: len(architecture.modules) - 1]
        self.pools = nn.ModuleList(
            MaxPool3d((time, 2, 2), (1, 2, 2)) for time in times if time is not None
        )
        self.stages = nn.ModuleList()
        channels = width
        alternate = architecture.alternate_repeats
        for module, multiple in zip(architecture.modules, WIDTHS, strict=False):
            blocks = build_blocks(module, channels, width * multiple, alternate)
            self.stages.append(nn.Sequential(*blocks))
            channels = blocks[-1].out_channels
        self.head = Head(channels, num_classes, dropout)
        weights_to_channels_last_(self)

    def forward(self, clips: Tensor) -> Tensor:
        check_clips(clips, self.in_channels)
        x = self.stem(to_channels_last(clips))
        for i, blocks in enumerate(self.stages):
            if i > 0:
                x = self.pools[i - 1](x)
            x = blocks(x)
        return self.head(x)


class ResidualBlock(nn.Module):
    """One repeat of a module: its streams, plus a shortcut, then ReLU.

    The shortcut is a 1x1x1 convolution with batch norm in a module's first repeat, and nothing
    after it.
    """

    def __init__(
        self, module: Module, in_channels: int, filters: int, *, first: bool, temporal: bool
    ) -> None:
        super().__init__()
        self.body = ParallelStreams(module, in_channels, filters, temporal=temporal)
        self.out_channels = self.body.out_channels
        self.shortcut = pointwise(in_channels, self.out_channels) if first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.shortcut(x)).relu_()


def build_blocks(
    module: Module, in_channels: int, filters: int, alternate: bool
) -> list[ResidualBlock]:
    """A module's repeats. If `alternate`, every second has convolutions of temporal size 1."""
    blocks: list[ResidualBlock] = []
    for repeat in range(module.repeats):
        temporal = not (alternate and repeat % 2 == 1)
        channels = blocks[-1].out_channels if blocks else in_channels
        blocks.append(
            ResidualBlock(module, channels, filters, first=repeat == 0, temporal=temporal)
        )
    return blocks


def check_clips(clips: Tensor, in_channels: int) -> None:
    """Raise a ValueError unless clips are (B, `in_channels`, T, H, W)."""
    if clips.dim() != 5 or clips.shape[1] != in_channels:
        raise ValueError(
            f"expected clips of shape (B, {in_channels}, T, H, W), got {tuple(clips.shape)}"
        )


def _build_stem(stem: ResNetStem, in_channels: int, width: int) -> nn.Sequential:
    conv = space_time_conv(
        stem.conv_op, in_channels, width, stem.conv_time, spatial=7, stride=(2, 2, 2)
    )
    layers = {
        "conv": ConvNorm(conv, width, relu=True),
        "pool": MaxPool3d((stem.pool1_time, 3, 3), (2, 2, 2)),
    }
    return nn.Sequential(OrderedDict(layers))
