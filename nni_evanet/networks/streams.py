"""The four types of streams and what runs them in parallel (paper, section 4.1, figure 5)."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from nni_evanet.architecture import Module, Stream
from nni_evanet.layers import BatchNorm, Conv3d, MaxPool3d, space_time_conv


class ConvNorm(nn.Module):
    """A convolution, its batch norm and, if `relu`, a ReLU."""

    def __init__(self, conv: nn.Module, channels: int, *, relu: bool) -> None:
        super().__init__()
        self.conv = conv
        self.norm = BatchNorm(channels)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return y.relu_() if self.relu else y


class ParallelStreams(nn.Module):
    """A module's streams side by side, their outputs concatenated.

    Maps (B, `in_channels`, T, H, W) to (B, `out_channels`, T, H, W). The filters are divided evenly
    and rounded down: n streams give n (`filters` // n) channels, `out_channels`.

    Args:
        module: which streams.
        in_channels: of the input.
        filters: what the streams share.
        temporal: whether convolutions have their temporal sizes; else time 1. Pools always do.

    Raises:
        ValueError: there are fewer filters than streams.
    """

    def __init__(self, module: Module, in_channels: int, filters: int, *, temporal: bool) -> None:
        super().__init__()
        count = len(module.streams)
        if filters < count:
            raise ValueError(f"width: too small, it leaves {filters} filters to {count} streams")
        self.out_channels = filters // count * count
        self.streams = nn.ModuleList(
            _build_stream(stream, in_channels, filters // count, temporal)
            for stream in module.streams
        )

    def forward(self, x: Tensor) -> Tensor:
        outputs = [stream(x) for stream in self.streams]
        return torch.cat(outputs, 1) if len(outputs) > 1 else outputs[0]


def pointwise(in_channels: int, out_channels: int, *, relu: bool = False) -> ConvNorm:
    """A 1x1x1 convolution with batch norm."""
    return ConvNorm(Conv3d(in_channels, out_channels, 1, spatial=1), out_channels, relu=relu)


def _build_stream(stream: Stream, in_channels: int, filters: int, temporal: bool) -> nn.Sequential:
    """One stream from `in_channels` to `filters`. It ends in a batch norm, without ReLU."""
    layers: dict[str, nn.Module] = {}
    if stream.type == "conv1x1x1":
        layers["project"] = pointwise(in_channels, filters)
    elif stream.type == "pool":
        assert stream.time is not None
        layers["pool"] = MaxPool3d((stream.time, 3, 3))
        layers["project"] = pointwise(in_channels, filters)
    else:
        layers = _build_convs(stream, in_channels, filters, temporal)
    return nn.Sequential(OrderedDict(layers))


def _build_convs(
    stream: Stream, in_channels: int, filters: int, temporal: bool
) -> dict[str, nn.Module]:
    pairs = ((stream.op, stream.time), (stream.op2, stream.time2))
    convs = [(op, time) for op, time in pairs if op is not None and time is not None]
    # The last convolution has all the filters, and what comes before each has half as many.
    channels = [max(1, filters >> halvings) for halvings in range(len(convs), -1, -1)]
    layers: dict[str, nn.Module] = {"reduce": pointwise(in_channels, channels[0], relu=True)}
    for i, (op, time) in enumerate(convs, 1):
        conv = space_time_conv(op, channels[i - 1], channels[i], time if temporal else 1)
        layers[f"conv{i}"] = ConvNorm(conv, channels[i], relu=i < len(convs))
    return layers
