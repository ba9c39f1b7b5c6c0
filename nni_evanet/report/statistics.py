"""An architecture in numbers: its layers by type (table 9), and what its network costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import torch

from nni_evanet.architecture import Architecture
from nni_evanet.decisions import OPS
from nni_evanet.errors import InputError
from nni_evanet.networks import build_network
from nni_evanet.networks.cost import count_macs, count_parameters
from nni_evanet.report.backbone import POINTWISE, POOL, Layer, Parallel, backbone
from nni_evanet.report.memory import parameter_bytes, peak_activation_bytes
from nni_evanet.report.receptive_field import temporal_receptive_field

NAMES = {
    "conv3d": "3D",
    "conv2plus1d": "(2+1)D",
    "itgm": "iTGM",
    POOL: "pool",
    POINTWISE: "1×1×1",
}
"""What the paper calls the types of layers."""


@dataclass(frozen=True)
class LayerCount:
    """How many layers of one type there are, and their average temporal size in frames.

    The average is None where there are none.
    """

    layers: int
    mean_time: float | None


@dataclass(frozen=True)
class Cost:
    """What a network takes.

    Attributes:
        parameters: trainable ones.
        macs: multiply-adds of one clip (`nni_evanet.networks.cost.count_macs`).
        receptive_field: in frames (`nni_evanet.report.receptive_field`).
        parameter_bytes: memory of the parameters.
        activation_bytes: most memory of feature maps at a time, for one clip in inference
            (`nni_evanet.report.memory`).
    """

    parameters: int
    macs: int
    receptive_field: int
    parameter_bytes: int
    activation_bytes: int


def count_layers(architecture: Architecture, *, with_repeats: bool) -> dict[str, LayerCount]:
    """Layers by type, in the manner of table 9: "conv3d", "conv2plus1d", "itgm", "pool".

    Without repeats each searched layer counts once, with the temporal size that the search chose,
    those of the stem included. With repeats, each of these sizes counts as often as the network has
    a layer of it: in every repeat of its module (in every second one convolutions have size 1,
    unless `alternate_repeats` is off), and again in the pool in front of the second module of a
    ResNet-like architecture, which shares the size of the one in front of the first. What is fixed
    does not count (I3D's pools between modules and the 1x1x1 of its stem), nor do the 1x1x1
    convolutions inside of streams; those are counted as "conv1x1x1", one a stream.
    """
    layers = list(_layers(architecture, with_repeats))
    return {kind: _count(kind, layers) for kind in (*OPS, POOL, POINTWISE)}


def measure_cost(
    architecture: Architecture,
    *,
    frames: int,
    size: int,
    num_classes: int,
    in_channels: int = 3,
    width: int = 64,
) -> Cost:
    """The cost of an architecture's network for clips of `frames` frames of `size` x `size` pixels.

    Nothing is allocated or computed for it.

    Raises:
        InputError: an argument is out of its range.
    """
    for name, value, least in (("frames", frames, 1), ("size", size, 16)):
        if value < least:
            raise InputError(f"{name}: {value} given, at least {least} is needed")
    try:
        with torch.device("meta"):
            network = build_network(
                architecture, num_classes=num_classes, in_channels=in_channels, width=width
            )
    except ValueError as error:
        raise InputError(str(error)) from None
    clip = (in_channels, frames, size, size)
    return Cost(
        parameters=count_parameters(network),
        macs=count_macs(network, clip),
        receptive_field=temporal_receptive_field(network, in_channels=in_channels),
        parameter_bytes=parameter_bytes(network),
        activation_bytes=peak_activation_bytes(network, clip),
    )


def describe(
    architecture: Architecture,
    *,
    frames: int,
    size: int,
    num_classes: int,
    in_channels: int = 3,
    width: int = 64,
) -> str:
    """Several lines of text: `count_layers` both ways as a table, then `measure_cost`.

    Raises:
        InputError: an argument is out of its range.
    """
    cost = measure_cost(
        architecture,
        frames=frames,
        size=size,
        num_classes=num_classes,
        in_channels=in_channels,
        width=width,
    )
    clip = f"{in_channels} × {frames} × {size} × {size}"
    span = f"{'more than' if cost.receptive_field > frames else 'of'} the clip's {frames}"
    facts = {
        "parameters": f"{cost.parameters / 1e6:.2f} M  ({num_classes} classes, width {width})",
        "arithmetic": f"{cost.macs / 1e9:.4g} GMACs  (a clip of {clip})",
        "receptive field": f"{cost.receptive_field} frames  (before the head; {span})",
        "memory": f"{_mebibytes(cost.parameter_bytes)} parameters + "
        f"{_mebibytes(cost.activation_bytes)} feature maps  (peak, one such clip, inference)",
    }
    title = f"{architecture.meta}  {architecture.fingerprint}"
    return "\n".join(
        [title, "", *_table(architecture), "", *(f"{k:<17}{v}" for k, v in facts.items())]
    )


def _layers(architecture: Architecture, with_repeats: bool) -> Iterator[Layer]:
    for item in backbone(architecture):
        if isinstance(item, Layer):
            if item.searched or (item.shared and with_repeats):
                yield item
        elif with_repeats:
            yield from item.layers()
        else:
            yield from _once(item)


def _once(module: Parallel) -> Iterator[Layer]:
    for stream in module.streams:
        yield from stream


def _count(kind: str, layers: list[Layer]) -> LayerCount:
    times = [layer.time for layer in layers if layer.kind == kind]
    return LayerCount(len(times), fmean(times) if times else None)


def _table(architecture: Architecture) -> list[str]:
    once = count_layers(architecture, with_repeats=False)
    repeated = count_layers(architecture, with_repeats=True)
    lines = [
        f"{'':<10}{'searched, each once':>22}{'with repeats':>24}",
        f"{'layer':<10}{'number':>10}{'mean time':>12}{'number':>12}{'mean time':>12}",
    ]
    for kind, name in NAMES.items():
        lines.append(
            f"{name:<10}{once[kind].layers:>10}{_time(once[kind]):>12}"
            f"{repeated[kind].layers:>12}{_time(repeated[kind]):>12}"
        )
    return lines


def _time(count: LayerCount) -> str:
    return "-" if count.mean_time is None else f"{count.mean_time:.2f}"


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
