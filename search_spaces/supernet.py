"""The paper's search spaces as supernets, for NNI's one-shot strategies.

A one-shot strategy trains all candidates at once, so a layer's width cannot depend on how many
streams are active, and NNI's have no choice among subsets. A supernet therefore differs from
`nni_evanet.search_spaces.model_space` in three ways:

- a module has a fixed number of slots, and a stream filters // slots filters, whichever others are
  active;
- every slot but the first has a candidate "none", which gives zeros; so no module is ever empty;
- a convolution's op and time are one choice, such as "itgm_3".

Its samples, here called paths, stand for architectures all the same: `architecture_of_path`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import nni
import torch
from nni.mutable import label_scope
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, Repeat
from torch import Tensor, nn

from nni_evanet.architecture import Architecture, ArchitectureError
from nni_evanet.layers import MaxPool3d, space_time_conv
from nni_evanet.layers.arguments import check_positive
from nni_evanet.layers.padding import Triple
from nni_evanet.networks.head import Head
from nni_evanet.networks.inception import FILTERS, POOLS, STEM_FILTERS, scaled
from nni_evanet.networks.memory import to_channels_last, weights_to_channels_last_
from nni_evanet.networks.resnet import WIDTHS, check_clips
from nni_evanet.networks.streams import ConvNorm, pointwise
from nni_evanet.search_spaces.samples import architecture_of, sample_of
from nni_evanet.space import SearchSpace

NONE = "none"
"""The candidate of a slot that has no stream."""


class PaperSuperSpace(ModelSpace):
    """A search space of the paper, or a part of one, for NNI's DARTS, RandomOneShot and their like.

    Once a one-shot strategy has it, it maps clips (B, `in_channels`, T, H, W) to logits
    (B, `num_classes`), for T >= 1 and H, W >= 16. `freeze` of a sample gives the part of it on that
    path, with its weights; the network proper, in which the active streams share all filters, is
    `build_network(space.architecture_of(sample), ...)`.

    Every candidate of every slot and repeat is built, and DARTS runs them all: narrow the space.

    Labels: `stem/conv`, `stem/pool1`, `module1/repeats`, `module1/stream1/type`,
    `module1/stream1/conv1`, `module1/stream1/conv2`, `module1/stream1/pool` and so on.

    Args:
        num_classes: logits of the network.
        in_channels: channels of a clip.
        width: filters of the stem; the modules' are in proportion.
        dropout: probability before the classifier.
        slots: of each module; an architecture has so many streams a module at most.
        choices: what narrows the space: the other arguments of `nni_evanet.space.SearchSpace`, such
            as `ops=("conv3d", "itgm")`. `slots` takes the place of its `stream_counts`.

    Raises:
        ArchitectureError: a choice is not of the paper's space; the message names it.
        ValueError: a number is not positive, or the width leaves fewer filters in a module than it
            has slots.
    """

    meta: ClassVar[str]

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        width: int = 64,
        dropout: float = 0.5,
        slots: int = 6,
        **choices: Any,
    ) -> None:
        super().__init__()
        check_positive(num_classes=num_classes, in_channels=in_channels, width=width, slots=slots)
        counts = tuple(range(1, slots + 1))
        self.search_space = SearchSpace(self.meta, stream_counts=counts, **choices)
        self.in_channels = in_channels
        self.body, channels = _BODIES[self.meta](self.search_space, in_channels, width)
        self.head = Head(channels, num_classes, dropout)
        weights_to_channels_last_(self)

    def forward(self, clips: Tensor) -> Tensor:
        check_clips(clips, self.in_channels)
        return self.head(self.body(to_channels_last(clips)))

    def architecture_of(self, path: Mapping[str, Any]) -> Architecture:
        """See `architecture_of_path`."""
        return architecture_of_path(path, self.search_space)

    def path_of(self, architecture: Architecture) -> dict[str, Any]:
        """See `path_of`."""
        return path_of(architecture, self.search_space)


class ResNetSuperSpace(PaperSuperSpace):
    """The ResNet-like meta-architecture. See `PaperSuperSpace`.

    A module's repeats share their choices. The convolutions of every second repeat have temporal
    size 1, as in the networks of architectures, so candidates differ there in their op alone.
    """

    meta = "resnet"


class InceptionSuperSpace(PaperSuperSpace):
    """The Inception-like meta-architecture. See `PaperSuperSpace`."""

    meta = "inception"


def architecture_of_path(path: Mapping[str, Any], space: SearchSpace) -> Architecture:
    """The architecture that a supernet's sample stands for.

    A slot whose type is "none" is dropped, and the streams of the others keep their order. There
    is always one: the first slot cannot be "none". What a stream's type does not use is ignored,
    and so is what is not of the space, such as an evaluator's choices.

    Args:
        path: as NNI gives it.
        space: the supernet's `search_space`.

    Raises:
        ArchitectureError: a decision is missing or outside the space, or a module is empty; the
            message names the label of the architecture's sample.
    """
    path = {str(label): value for label, value in path.items()}
    sample: dict[str, Any] = {}
    for label, choices in space.choices().items():
        layer, _, decision = label.rpartition("/")
        if decision == "streams":
            # A missing type counts as a stream, so that it is reported.
            types = [path.get(f"{layer}/stream{slot}/type") for slot in choices]
            sample[label] = [slot for slot, kind in enumerate(types) if kind != NONE]
        elif decision in ("type", "repeats"):
            sample |= {label: path[label]} if label in path else {}
        elif layer in path:
            sample[label] = _split(path[layer])[decision]
    architecture = architecture_of(sample, space)
    space.check(architecture)
    return architecture


def path_of(architecture: Architecture, space: SearchSpace) -> dict[str, Any]:
    """A complete sample of a supernet that stands for an architecture.

    Its streams are in the first slots, the other slots are "none", and inactive decisions have
    their first value. With it a trained supernet gives the architecture a fitness without training.

    Raises:
        ArchitectureError: the architecture is not of the space; the message names the decision.
    """
    space.check(architecture)
    if not architecture.alternate_repeats:
        raise ArchitectureError("alternate_repeats: False is not in the space of supernets")
    sample = sample_of(architecture, space)
    path: dict[str, Any] = {}
    for label, value in sample.items():
        layer, _, decision = label.rpartition("/")
        if decision == "streams":
            empty = space.stream_counts[len(value) :]
            path |= {f"{layer}/stream{slot}/type": NONE for slot in empty}
        elif decision == "time":
            path[layer] = _fused(sample.get(f"{layer}/op", "pool"), value)
        elif decision != "op":
            path.setdefault(label, value)
    return path


def _fused(op: str, time: int) -> str:
    return f"{op}_{time}"


def _split(candidate: str) -> dict[str, Any]:
    op, fused, time = str(candidate).rpartition("_")
    # What is no candidate stays as it is, for the message that says so.
    return {
        "op": op if fused else candidate,
        "time": int(time) if time.isdecimal() else candidate,
    }


class SuperStreams(nn.Module):
    """The slots of a module, always all of them, their outputs concatenated.

    Maps (B, C, T, H, W) to (B, `out_channels`, T, H, W).
    """

    def __init__(
        self, space: SearchSpace, in_channels: int, filters: int, *, temporal: bool
    ) -> None:
        super().__init__()
        count = len(space.stream_counts)
        if filters < count:
            raise ValueError(f"width: too small, it leaves {filters} filters to {count} slots")
        each = filters // count
        self.out_channels = each * count
        self.slots = nn.ModuleList(
            _slot(space, number, in_channels, each, temporal) for number in space.stream_counts
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([slot(x) for slot in self.slots], 1)


class SuperBlock(nn.Module):
    """One repeat of a ResNet-like module: its slots, plus a shortcut, then ReLU."""

    def __init__(self, space: SearchSpace, in_channels: int, filters: int, repeat: int) -> None:
        super().__init__()
        self.body = SuperStreams(space, in_channels, filters, temporal=repeat % 2 == 0)
        channels = self.body.out_channels
        self.shortcut = pointwise(in_channels, channels) if repeat == 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.shortcut(x)).relu_()


class NoStream(nn.Module):
    """The candidate "none": (B, C, T, H, W) to zeros (B, `filters`, T, H, W)."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.filters = filters

    def forward(self, x: Tensor) -> Tensor:
        return to_channels_last(x.new_zeros(x.shape[0], self.filters, *x.shape[2:]))


def _resnet_body(space: SearchSpace, in_channels: int, width: int) -> tuple[nn.Sequential, int]:
    """What comes before the head, and its channels."""
    with label_scope("stem"):
        body = nn.Sequential(
            _conv(space, "conv", in_channels, width, relu=True, spatial=7, stride=(2, 2, 2)),
            _pool(space, "pool1", 3, (2, 2, 2)),
        )
    channels = width
    for number in range(1, space.module_count + 1):
        if number > 1:
            # The second pool shares the decision of the first.
            with label_scope("stem"):
                body.append(_pool(space, f"pool{number if number > 2 else 1}", 2, (1, 2, 2)))
        with label_scope(f"module{number}"):
            repeat, channels = _repeat(space, channels, width * WIDTHS[number - 1])
        body.append(repeat)
    return body, channels


def _repeat(space: SearchSpace, in_channels: int, filters: int) -> tuple[Repeat, int]:
    """A module, repeated, and its output's channels."""
    count = len(space.stream_counts)
    out_channels = filters // count * count

    def block(repeat: int) -> SuperBlock:
        return SuperBlock(space, in_channels if repeat == 0 else out_channels, filters, repeat)

    return Repeat(block, nni.choice("repeats", list(space.repeats))), out_channels


def _inception_body(space: SearchSpace, in_channels: int, width: int) -> tuple[nn.Sequential, int]:
    """What comes before the head, and its channels."""
    channels = scaled(STEM_FILTERS, width)
    with label_scope("stem"):
        body = nn.Sequential(
            _conv(space, "conv7x7", in_channels, width, relu=True, spatial=7, stride=(2, 2, 2)),
            _pool(space, "pool1", 3, (1, 2, 2)),
            pointwise(width, width, relu=True),
            _conv(space, "conv3x3", width, channels, relu=True),
            _pool(space, "pool2", 3, (1, 2, 2)),
        )
    for number in range(space.module_count):
        if number in POOLS:
            body.append(MaxPool3d(*POOLS[number]))
        with label_scope(f"module{number + 1}"):
            filters = scaled(FILTERS[number], width)
            streams = SuperStreams(space, channels, filters, temporal=True)
        body.append(nn.Sequential(streams, nn.ReLU(inplace=True)))
        channels = streams.out_channels
    return body, channels


_BODIES: dict[str, Callable[[SearchSpace, int, int], tuple[nn.Sequential, int]]] = {
    "resnet": _resnet_body,
    "inception": _inception_body,
}


def _slot(
    space: SearchSpace, number: int, in_channels: int, filters: int, temporal: bool
) -> LayerChoice:
    """A slot of a module: one of the stream types of figure 5, or none."""
    with label_scope(f"stream{number}"):
        candidates: dict[str, nn.Module] = {
            kind: _stream(space, kind, in_channels, filters, temporal)
            for kind in space.stream_types
        }
        if number > 1:
            candidates[NONE] = NoStream(filters)
        return LayerChoice(candidates, label="type")


def _stream(
    space: SearchSpace, kind: str, in_channels: int, filters: int, temporal: bool
) -> nn.Module:
    if kind == "conv1x1x1":
        return pointwise(in_channels, filters)
    if kind == "pool":
        return nn.Sequential(_pool(space, "pool", 3), pointwise(in_channels, filters))
    names = ["conv1"] if kind == "conv" else ["conv1", "conv2"]
    # As in `nni_evanet.networks.streams`: what comes before each convolution has half as many.
    channels = [max(1, filters >> halvings) for halvings in range(len(names), -1, -1)]
    layers: list[nn.Module] = [pointwise(in_channels, channels[0], relu=True)]
    for i, name in enumerate(names):
        last = name == names[-1]
        layers.append(
            _conv(space, name, channels[i], channels[i + 1], relu=not last, temporal=temporal)
        )
    return nn.Sequential(*layers)


def _conv(
    space: SearchSpace,
    label: str,
    in_channels: int,
    out_channels: int,
    *,
    relu: bool,
    temporal: bool = True,
    spatial: int = 3,
    stride: Triple = (1, 1, 1),
) -> LayerChoice:
    """A convolution of any op and time, each with a batch norm of its own."""

    def candidate(op: str, time: int) -> ConvNorm:
        time = time if temporal else 1
        conv = space_time_conv(op, in_channels, out_channels, time, spatial=spatial, stride=stride)
        return ConvNorm(conv, out_channels, relu=relu)

    candidates: dict[str, nn.Module] = {
        _fused(op, time): candidate(op, time) for op in space.ops for time in space.times
    }
    return LayerChoice(candidates, label=label)


def _pool(space: SearchSpace, label: str, spatial: int, stride: Triple = (1, 1, 1)) -> LayerChoice:
    candidates: dict[str, nn.Module] = {
        _fused("pool", time): MaxPool3d((time, spatial, spatial), stride) for time in space.times
    }
    return LayerChoice(candidates, label=label)
