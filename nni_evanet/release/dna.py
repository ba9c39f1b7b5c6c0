"""Architectures as the authors write them: a "DNA", a protobuf message in base64."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nni_evanet.architecture import Architecture, ArchitectureError
from nni_evanet.decisions import METAS, STREAM_DECISIONS
from nni_evanet.errors import InputError
from nni_evanet.release.protobuf import read_fields

DNAS = {
    "rgb1": (
        "CAMQARgCIAEoATAJOhQIAhAAGggIARAAGAEgARoECAMYBzomCAQQABoECAMYAxoCCAAaCAgBEAAYASABGgIIABoI"
        "CAEQABgFIAE6HggFEAAaBAgDGAcaAggAGggIARABGAsgARoECAMYCzoeCAMQABoECAMYCxoICAEQABgBIAEaCAgB"
        "EAEYAyAB"
    ),
    "rgb2": (
        "CAMQARgCIAEoAzAJOioIAhAAGgQIAxgBGgQIAxgDGg4IAhABGAEgASgJMAE4AhoECAMYARoCCAA6RAgDEAAaBAgD"
        "GAEaBAgDGAcaDggCEAIYBSABKAEwATgAGg4IAhABGAEgASgLMAE4AhoCCAAaDggCEAIYCyABKAEwATgAOhQIBRAA"
        "GgQIAxgFGgIIABoECAMYCToUCAQQABoICAEQAhgBIAEaBAgDGAU="
    ),
}
"""The released networks. Each was trained on RGB and on optical flow."""

_OPS = ("conv3d", "itgm", "conv2plus1d")
_STREAM_TYPES = ("conv1x1x1", "conv", "conv_conv", "pool")
# No DNA, which has six numbers and four modules, is as short as a mistyped name.
_SHORTEST_DNA = 32


@dataclass(frozen=True)
class _Message:
    """One kind of message: fields by number, which of them are messages, which are required."""

    fields: Mapping[int, str]
    required: tuple[str, ...]
    nested: str | None = None


_DNA = _Message(
    dict(enumerate(("time1", "dilation", "convop1", "pool1", "pool3", "pool4", "blocks"), 1)),
    required=("time1", "pool1", "pool3", "pool4"),
    nested="blocks",
)
_BLOCK = _Message({1: "repeats", 2: "use_nl", 3: "layers"}, required=("repeats",), nested="layers")
_LAYER = _Message(
    dict(enumerate(("type", "op", "time", "dilation", "time2", "dilation2", "op2"), 1)),
    required=("type",),
)


def architecture(name_or_dna: str) -> Architecture:
    """A released architecture by its name, `rgb1` or `rgb2`, or the one that a DNA stands for.

    Raises:
        InputError: it is neither; the message says why.
    """
    return decode(find_dna(name_or_dna))


def find_dna(name_or_dna: str) -> str:
    """The DNA of a released network, or the argument itself if it can be one.

    Raises:
        InputError: it is neither.
    """
    if isinstance(name_or_dna, str):
        if name_or_dna in DNAS:
            return DNAS[name_or_dna]
        if len(name_or_dna) >= _SHORTEST_DNA:
            return name_or_dna
    raise InputError(f"network: {name_or_dna!r} is neither {', '.join(DNAS)} nor a DNA in base64")


def decode(dna: str) -> Architecture:
    """The architecture that a DNA stands for.

    Numbers that its kind of layer does not use are ignored, and an absent op means conv3d.

    Args:
        dna: base64, as in `DNAS`.

    Raises:
        InputError: it is not base64, not the message, truncated, has an unknown field, a dilation
            other than 1 or non-local layers, or lies outside the search space.
    """
    try:
        content = base64.b64decode("".join(dna.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"DNA: not base64: {error}") from None
    fields = _read(content, "", _DNA)
    blocks = fields["blocks"]
    if len(blocks) != METAS["resnet"].modules:
        raise InputError(f"DNA: {len(blocks)} blocks, expected {METAS['resnet'].modules}")
    data = {"meta": "resnet", "stem": _stem(fields), "modules": [_module(*b) for b in blocks]}
    try:
        return Architecture.from_json(data)
    except ArchitectureError as error:
        raise InputError(f"DNA: {error}") from None


def _stem(fields: Mapping[str, Any]) -> dict[str, Any]:
    _check_dilation(fields, "", "dilation")
    pools = {f"{pool}_time": fields[pool] for pool in ("pool1", "pool3", "pool4")}
    op = _choose(_OPS, fields.get("convop1", 0), "convop1")
    return {"conv_op": op, "conv_time": fields["time1"], **pools}


def _module(place: str, content: bytes) -> dict[str, Any]:
    fields = _read(content, place, _BLOCK)
    if fields.get("use_nl", 0) != 0:
        raise InputError(f"DNA: {place}use_nl: non-local layers are not supported")
    streams = [_stream(*layer) for layer in fields["layers"]]
    return {"repeats": fields["repeats"], "streams": streams}


def _stream(place: str, content: bytes) -> dict[str, Any]:
    fields = _read(content, place, _LAYER)
    for field in ("dilation", "dilation2"):
        _check_dilation(fields, place, field)
    kind = _choose(_STREAM_TYPES, fields["type"], f"{place}type")
    stream: dict[str, Any] = {"type": kind}
    for decision in STREAM_DECISIONS[kind]:
        field = decision.field
        if decision.is_op:
            stream[field] = _choose(_OPS, fields.get(field, 0), place + field)
        elif field in fields:
            stream[field] = fields[field]
        else:
            raise InputError(f"DNA: {place}{field}: missing")
    return stream


def _read(content: bytes, place: str, message: _Message) -> dict[str, Any]:
    """Fields by name; nested messages as a list, each with its place in front of its content."""
    fields: dict[str, Any] = {message.nested: []} if message.nested else {}
    try:
        for number, value in read_fields(content):
            name = message.fields.get(number)
            if name is None:
                raise InputError(f"field {number} is unknown")
            if isinstance(value, bytes) != (name == message.nested):
                raise InputError(f"field {number}, {name}, has the wrong wire type")
            if name == message.nested:
                fields[name].append((f"{place}{name}[{len(fields[name])}].", value))
            else:
                fields[name] = value
    except InputError as error:
        raise InputError(f"DNA: {place.rstrip('.')}{': ' if place else ''}{error}") from None
    for name in message.required:
        if name not in fields:
            raise InputError(f"DNA: {place}{name}: missing")
    return fields


def _check_dilation(fields: Mapping[str, Any], place: str, field: str) -> None:
    if fields.get(field, 1) != 1:
        raise InputError(f"DNA: {place}{field}: {fields[field]} is not supported, only 1 is")


def _choose(names: Sequence[str], value: int, place: str) -> str:
    if not 0 <= value < len(names):
        allowed = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
        raise InputError(f"DNA: {place}: {value} is not one of {allowed}")
    return names[value]
