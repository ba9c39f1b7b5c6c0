"""An architecture as the layers and modules that a clip passes, from the stem to the head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nni_evanet.architecture import Architecture, Module, Stream

POINTWISE = "conv1x1x1"
POOL = "pool"


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        kind: an op of `nni_evanet.decisions.OPS`, "pool" or "conv1x1x1".
        time: its temporal size in frames.
        searched: whether the search decides about it: about its size, or whether it is there.
        shared: whether it takes the size from another layer's decision.
        note: what distinguishes it from others of its kind.
    """

    kind: str
    time: int
    searched: bool = False
    shared: bool = False
    note: str = ""


@dataclass(frozen=True)
class Parallel:
    """A module: its streams side by side, each a sequence of layers."""

    number: int
    repeats: int
    streams: tuple[tuple[Layer, ...], ...]
    residual: bool
    alternate: bool
    """Whether convolutions have temporal size 1 in every second repeat."""

    def layers(self) -> Iterator[Layer]:
        """All layers of all repeats."""
        for repeat in range(self.repeats):
            plain = self.alternate and repeat % 2 == 1
            for stream in self.streams:
                for layer in stream:
                    time = 1 if plain and layer.kind != POOL else layer.time
                    yield Layer(layer.kind, time, layer.searched)


def backbone(architecture: Architecture) -> list[Layer | Parallel]:
    """What a clip passes, in order. Pools stand before the module that they precede."""
    if architecture.meta == "inception":
        return _inception(architecture)
    return _resnet(architecture)


def _resnet(architecture: Architecture) -> list[Layer | Parallel]:
    stem = dict(_stem_layers(architecture))
    items: list[Layer | Parallel] = [stem["conv"]]
    shared = Layer(POOL, stem["pool1"].time, shared=True)
    for number, module in enumerate(architecture.modules, 1):
        items.append(stem.get(f"pool{number}", shared))
        items.append(_parallel(number, module, True, architecture.alternate_repeats))
    return items


# I3D's pools between modules, by the number of the module that follows.
_INCEPTION_POOLS = {3: 3, 8: 2}


def _inception(architecture: Architecture) -> list[Layer | Parallel]:
    stem = dict(_stem_layers(architecture))
    items: list[Layer | Parallel] = [
        stem["conv7x7"],
        stem["pool1"],
        Layer(POINTWISE, 1),
        stem["conv3x3"],
        stem["pool2"],
    ]
    for number, module in enumerate(architecture.modules, 1):
        if number in _INCEPTION_POOLS:
            items.append(Layer(POOL, _INCEPTION_POOLS[number]))
        items.append(_parallel(number, module, False, False))
    return items


def _stem_layers(architecture: Architecture) -> Iterator[tuple[str, Layer]]:
    """The searched layers outside the modules, by name."""
    values: dict[str, dict[str, str | int]] = {}
    for decision in architecture.stem_decisions:
        name, what = decision.label.split("/")
        values.setdefault(name, {})[what] = getattr(architecture.stem, decision.field)
    for position, (name, value) in enumerate(values.items()):
        note = "7×7" if position == 0 else ""
        yield name, Layer(str(value.get("op", POOL)), int(value["time"]), True, note=note)


def _parallel(number: int, module: Module, residual: bool, alternate: bool) -> Parallel:
    streams = tuple(tuple(_stream_layers(stream)) for stream in module.streams)
    return Parallel(number, module.repeats, streams, residual, alternate)


def _stream_layers(stream: Stream) -> Iterator[Layer]:
    if stream.type == "pool":
        assert stream.time is not None
        yield Layer(POOL, stream.time, searched=True)
    yield Layer(POINTWISE, 1, searched=True)
    for op, time in ((stream.op, stream.time), (stream.op2, stream.time2)):
        if op is not None and time is not None:
            yield Layer(op, time, searched=True)
