"""The network that the authors' code makes of an architecture."""

from collections import OrderedDict
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_evanet.architecture import Architecture, Module, ResNetStem, Stream
from nni_evanet.errors import InputError
from nni_evanet.networks.memory import to_channels_last, weights_to_channels_last_
from nni_evanet.networks.resnet import WIDTHS, check_clips
from nni_evanet.networks.streams import ConvNorm
from nni_evanet.release.batch_norm import BatchNorm
from nni_evanet.release.dna import architecture as find_architecture
from nni_evanet.release.layers import CauchyITGM, Conv3d, TemporalFirstConv2Plus1d, init_weight_
from nni_evanet.release.max_pool import MaxPool3d

_OPS: dict[str, Callable[..., nn.Module]] = {
    "conv3d": Conv3d,
    "conv2plus1d": TemporalFirstConv2Plus1d,
    "itgm": CauchyITGM,
}


def build(
    name_or_dna: str,
    *,
    num_classes: int,
    width: int = 64,
    in_channels: int = 3,
    dropout: float = 0.5,
) -> "ReleaseNetwork":
    """A released network with initial values: clips (B, C, T, H, W) to logits (B, num_classes).

    Args:
        name_or_dna: `rgb1`, `rgb2`, or a DNA in base64.
        num_classes: the number of logits.
        width: filters of the stem. The modules have 4, 8, 16 and 32 times as many; 64 are the
            authors'.
        in_channels: C, 3 for RGB and 2 for optical flow.
        dropout: probability in front of the classifier.

    Raises:
        InputError: an argument is out of its range, or the width leaves a convolution without
            filters.
    """
    architecture = find_architecture(name_or_dna)
    sizes = {"num_classes": num_classes, "width": width, "in_channels": in_channels}
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name}: {value!r} is not a positive whole number")
    if not 0 <= dropout < 1:
        raise InputError(f"dropout: {dropout!r} is not in [0, 1)")
    return ReleaseNetwork(architecture, dropout=dropout, **sizes)


class ReleaseNetwork(nn.Module):
    """The authors' network of an architecture.

    Maps clips (B, `in_channels`, T, H, W) to logits (B, `num_classes`), for H >= W and any T. It
    halves T twice, H and W five times, rounding up. Its parts are named as those of
    `nni_evanet.networks.ResNet`: `stem`, `pools` (before each module but the first), `stages` (a
    module's repeats each), `head`.

    Raises:
        InputError: the last feature maps of clips are wider than high, or, on construction, the
            width leaves a convolution without filters.
        ValueError: clips of another shape.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        num_classes: int,
        width: int,
        in_channels: int,
        dropout: float,
    ) -> None:
        super().__init__()
        stem = architecture.stem
        assert isinstance(stem, ResNetStem)
        self.architecture = architecture
        self.in_channels = in_channels
        self.stem = _build_stem(stem, in_channels, width)
        # The second pool has no size of its own, it shares that of the stem's.
        times = [time or 1 for time in (stem.pool1_time, stem.pool3_time, stem.pool4_time)]
        self.pools = nn.ModuleList(MaxPool3d((time, 2, 2), (1, 2, 2)) for time in times)
        self.stages = nn.ModuleList()
        channels = width
        for module, multiple in zip(architecture.modules, WIDTHS, strict=True):
            blocks = _build_blocks(module, channels, width * multiple)
            self.stages.append(nn.Sequential(*blocks))
            channels = blocks[-1].out_channels
        self.head = Head(channels, num_classes, dropout)
        weights_to_channels_last_(self)

    def forward(self, clips: Tensor) -> Tensor:
        check_clips(clips, self.in_channels)
        x = to_channels_last(clips)
        for _, step in self._steps():
            x = step(x)
        return x

    def endpoints(self, clips: Tensor) -> dict[str, Tensor]:
        """The output of each step under the name that the authors' code gives it.

        They are `Conv2d_1a_7x7`, `maxpool1` to `maxpool4`, `res_block_2` to `res_block_5`, each
        (B, C, T, H, W), and `Logits` (B, `num_classes`).
        """
        check_clips(clips, self.in_channels)
        x = to_channels_last(clips)
        outputs = {}
        for name, step in self._steps():
            x = outputs[name] = step(x)
        return outputs

    def _steps(self) -> Iterator[tuple[str, nn.Module]]:
        yield "Conv2d_1a_7x7", self.stem.get_submodule("conv")
        yield "maxpool1", self.stem.get_submodule("pool")
        yield "res_block_2", self.stages[0]
        for i, pool in enumerate(self.pools, 1):
            yield f"maxpool{i + 1}", pool
            yield f"res_block_{i + 2}", self.stages[i]
        yield "Logits", self.head


class Block(nn.Module):
    """One repeat of a module: `streams` side by side, plus a `shortcut`, then ReLU.

    Maps (B, `in_channels`, T, H, W) to (B, `out_channels`, T, H, W), where n streams share the
    filters: n (`filters` // n) channels. The shortcut is a 1x1x1 convolution with batch norm in the
    first repeat, and nothing after it.
    """

    def __init__(self, module: Module, in_channels: int, filters: int, repeat: int) -> None:
        super().__init__()
        count = len(module.streams)
        self.out_channels = filters // count * count
        # In every second repeat the convolutions have no extent in time. Pools always have theirs.
        temporal = repeat % 2 == 0
        self.streams = nn.ModuleList(
            _build_stream(stream, in_channels, filters // count, temporal)
            for stream in module.streams
        )
        first = repeat == 0
        self.shortcut = _pointwise(in_channels, self.out_channels) if first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([stream(x) for stream in self.streams], 1)
        return (y + self.shortcut(x)).relu_()


class Head(nn.Module):
    """Average over windows, dropout, 1x1x1 convolution with bias, mean over what windows there are.

    Maps (B, `in_channels`, T, H, W) to logits (B, `num_classes`). A window is (min(T, 2), W, W): a
    square even if the clip is none. It moves by one and is not padded.

    Raises:
        InputError: H < W, where the window does not fit.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv3d(in_channels, num_classes, 1)
        init_weight_(self.classifier.weight, fan_in=in_channels)
        assert self.classifier.bias is not None
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        frames, height, width = x.shape[2:]
        if height < width:
            raise InputError(
                f"clips: too wide, their last feature maps are {height} high and {width} wide; the "
                f"released networks average over squares of that width"
            )
        x = F.avg_pool3d(x, (min(frames, 2), width, width), stride=1)
        return self.classifier(self.dropout(x)).mean((2, 3, 4))


def _build_stem(stem: ResNetStem, in_channels: int, width: int) -> nn.Sequential:
    conv = _conv_norm(
        stem.conv_op, in_channels, width, stem.conv_time, relu=True, spatial=7, stride=(2, 2, 2)
    )
    pool = MaxPool3d((stem.pool1_time, 3, 3), (2, 2, 2))
    return nn.Sequential(OrderedDict(conv=conv, pool=pool))


def _build_blocks(module: Module, in_channels: int, filters: int) -> list[Block]:
    blocks: list[Block] = []
    for repeat in range(module.repeats):
        channels = blocks[-1].out_channels if blocks else in_channels
        blocks.append(Block(module, channels, filters, repeat))
    return blocks


def _build_stream(stream: Stream, in_channels: int, filters: int, temporal: bool) -> nn.Sequential:
    """One stream from `in_channels` to `filters`. It ends in a batch norm, without ReLU."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    convs = [
        (op, time) for op, time in ((stream.op, stream.time), (stream.op2, stream.time2)) if op
    ]
    if convs:
        # The last convolution has all the filters, and what comes before each has half as many.
        channels = [filters // 2**halvings for halvings in range(len(convs), -1, -1)]
        layers["reduce"] = _pointwise(in_channels, channels[0], relu=True)
        for i, (op, time) in enumerate(convs, 1):
            length = time if temporal and time else 1
            relu = i < len(convs)
            layers[f"conv{i}"] = _conv_norm(op, channels[i - 1], channels[i], length, relu=relu)
        return nn.Sequential(layers)
    if stream.time is not None:
        layers["pool"] = MaxPool3d((stream.time, 3, 3))
    layers["project"] = _pointwise(in_channels, filters)
    return nn.Sequential(layers)


def _pointwise(in_channels: int, out_channels: int, *, relu: bool = False) -> ConvNorm:
    return _conv_norm("conv3d", in_channels, out_channels, 1, relu=relu, spatial=1)


def _conv_norm(
    op: str, in_channels: int, out_channels: int, time: int, *, relu: bool, **options
) -> ConvNorm:
    fewest = 2 if op == "conv2plus1d" else 1
    if out_channels < fewest:
        raise InputError(f"width: too small, it leaves a {op} convolution without filters")
    conv = _OPS[op](in_channels, out_channels, time, **options)
    layer = ConvNorm(conv, out_channels, relu=relu)
    layer.norm = BatchNorm(out_channels)
    return layer
