"""A video architecture as plain data: what a search mutates, a trial builds, a file stores.

Standard library only, so that the evolution runs where torch is not installed and starts at once.
The space is the ResNet-like "fill-in-the-blanks" meta-architecture of the paper, section 4.1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from random import Random
from typing import Any, NamedTuple

from nni_evanet.errors import InputError

OPS = ("conv3d", "conv2plus1d", "itgm")
TIMES = (1, 3, 5, 7, 9, 11)
STREAM_TYPES = ("conv1x1x1", "conv", "conv_conv", "pool")
REPEATS = (1, 2, 3, 4, 5, 6)
STREAM_COUNTS = (1, 2, 3, 4, 5, 6)
MODULE_COUNT = {"resnet": 4}


class ArchitectureError(InputError):
    """Data that is no architecture; the message names the place and what is allowed there."""


class Decision(NamedTuple):
    """One searched choice: its field in the JSON, its label in an NNI sample, its choices."""

    field: str
    label: str
    choices: tuple[Any, ...]


STEM_DECISIONS = (
    Decision("conv_op", "conv/op", OPS),
    Decision("conv_time", "conv/time", TIMES),
    Decision("pool1_time", "pool1/time", TIMES),
    Decision("pool3_time", "pool3/time", TIMES),
    Decision("pool4_time", "pool4/time", TIMES),
)
_FIRST_CONV = (Decision("op", "conv1/op", OPS), Decision("time", "conv1/time", TIMES))
_SECOND_CONV = (Decision("op2", "conv2/op", OPS), Decision("time2", "conv2/time", TIMES))
STREAM_DECISIONS: dict[str, tuple[Decision, ...]] = {
    "conv1x1x1": (),
    "conv": _FIRST_CONV,
    "conv_conv": _FIRST_CONV + _SECOND_CONV,
    "pool": (Decision("time", "pool/time", TIMES),),
}


@dataclass(frozen=True, slots=True)
class Stem:
    """The searched layers outside the modules. The second pool shares the size of the first."""

    conv_op: str
    conv_time: int
    pool1_time: int
    pool3_time: int
    pool4_time: int


@dataclass(frozen=True, slots=True)
class Stream:
    """One of a module's parallel streams (figure 5): only the fields that its type uses are set."""

    type: str
    op: str | None = None
    time: int | None = None
    op2: str | None = None
    time2: int | None = None

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What is searched in a stream of this type."""
        return STREAM_DECISIONS[self.type]


@dataclass(frozen=True, slots=True)
class Module:
    """Parallel streams with a residual connection around them, repeated."""

    repeats: int
    streams: tuple[Stream, ...]


@dataclass(frozen=True)
class Architecture:
    """Every decision of the search space, checked on construction.

    Two architectures are equal when their data are, and have one `fingerprint` when they compute
    the same function.

    Raises:
        ArchitectureError: a value is outside the space.
    """

    meta: str
    stem: Stem
    modules: tuple[Module, ...]
    alternate_repeats: bool = True
    """Whether the convolutions of every second repeat have temporal size 1, as in the release."""

    def __post_init__(self) -> None:
        _check_architecture(self)

    @classmethod
    def random(cls, meta: str, rng: Random) -> Architecture:
        """Draw stream counts, repeats, types, ops and temporal sizes, each uniformly."""
        _check("meta", meta, tuple(MODULE_COUNT))
        stem = Stem(**{d.field: rng.choice(d.choices) for d in STEM_DECISIONS})
        modules = tuple(_random_module(rng) for _ in range(MODULE_COUNT[meta]))
        return cls(meta, stem, modules)

    @classmethod
    def from_json(cls, data: str | Mapping[str, Any]) -> Architecture:
        """Read the text that `to_json` wrote, or the mapping that it stands for.

        Raises:
            ArchitectureError: naming the field and what is allowed there.
        """
        if isinstance(data, str):
            try:
                data = json.loads(data)
            except json.JSONDecodeError as error:
                raise ArchitectureError(f"not JSON: {error}") from None
        return _parse_architecture(data)

    def to_json(self) -> str:
        """One line of JSON, its keys and its streams in the architecture's own order."""
        return json.dumps(self._as_dict())

    @classmethod
    def from_sample(cls, sample: Mapping[str, Any], meta: str = "resnet") -> Architecture:
        """Read NNI's flat `{label: value}`.

        `moduleN/streams` is a count (the first so many slots are active) or a list of active
        slots counted from 0, as an `InputChoice` gives it. Labels of what is not active are
        ignored.

        Raises:
            ArchitectureError: naming the label and what is allowed there, or a label that is
                not of this space.
        """
        return _parse_sample({str(label): value for label, value in sample.items()}, meta)

    def to_sample(self) -> dict[str, Any]:
        """NNI's flat `{label: value}` of the active decisions, streams in the first slots."""
        sample: dict[str, Any] = {}
        for decision in STEM_DECISIONS:
            sample[f"stem/{decision.label}"] = getattr(self.stem, decision.field)
        for m, module in enumerate(self.modules, 1):
            sample[f"module{m}/repeats"] = module.repeats
            sample[f"module{m}/streams"] = len(module.streams)
            for s, stream in enumerate(module.streams, 1):
                sample[f"module{m}/stream{s}/type"] = stream.type
                for decision in stream.decisions:
                    label = f"module{m}/stream{s}/{decision.label}"
                    sample[label] = getattr(stream, decision.field)
        if not self.alternate_repeats:
            sample["alternate_repeats"] = False
        return sample

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits, the same for architectures that compute the same function.

        Streams are sorted; an iTGM of temporal size 1 is a plain convolution, like a conv3d of
        that size; alternation matters only where a repeat has a temporal convolution to drop.
        """
        canonical = {
            "meta": self.meta,
            "stem": [
                canonical_op(self.stem.conv_op, self.stem.conv_time),
                *(getattr(self.stem, d.field) for d in STEM_DECISIONS[1:]),
            ],
            "modules": [
                [module.repeats, sorted(_canonical_stream(s) for s in module.streams)]
                for module in self.modules
            ],
            "alternate_repeats": self.alternate_repeats or not self._has_times_to_drop(),
        }
        return hashlib.sha256(json.dumps(canonical).encode()).hexdigest()[:16]

    def _has_times_to_drop(self) -> bool:
        return any(
            module.repeats > 1 and stream.type in ("conv", "conv_conv") and time != 1
            for module in self.modules
            for stream in module.streams
            for time in (stream.time, stream.time2)
            if time is not None
        )

    def _as_dict(self) -> dict[str, Any]:
        return {
            "meta": self.meta,
            "alternate_repeats": self.alternate_repeats,
            "stem": {d.field: getattr(self.stem, d.field) for d in STEM_DECISIONS},
            "modules": [
                {
                    "repeats": module.repeats,
                    "streams": [
                        {"type": s.type} | {d.field: getattr(s, d.field) for d in s.decisions}
                        for s in module.streams
                    ],
                }
                for module in self.modules
            ],
        }


def sample_choices(meta: str) -> dict[str, tuple[Any, ...]]:
    """Every label of a meta-architecture's flat space with its choices, all slots included."""
    _check("meta", meta, tuple(MODULE_COUNT))
    choices = {f"stem/{d.label}": d.choices for d in STEM_DECISIONS}
    for m in range(1, MODULE_COUNT[meta] + 1):
        choices[f"module{m}/repeats"] = REPEATS
        choices[f"module{m}/streams"] = STREAM_COUNTS
        for s in range(1, STREAM_COUNTS[-1] + 1):
            slot = f"module{m}/stream{s}"
            choices[f"{slot}/type"] = STREAM_TYPES
            for decision in (*STREAM_DECISIONS["conv_conv"], *STREAM_DECISIONS["pool"]):
                choices[f"{slot}/{decision.label}"] = decision.choices
    return choices


def random_stream(rng: Random) -> Stream:
    """A stream of uniformly drawn type with uniformly drawn content."""
    kind = rng.choice(STREAM_TYPES)
    return Stream(kind, **{d.field: rng.choice(d.choices) for d in STREAM_DECISIONS[kind]})


def _random_module(rng: Random) -> Module:
    repeats = rng.choice(REPEATS)
    return Module(repeats, tuple(random_stream(rng) for _ in range(rng.choice(STREAM_COUNTS))))


def canonical_op(op: str | None, time: int | None) -> str | None:
    """The op's name, but conv3d for an iTGM of temporal size 1, which computes the same."""
    return "conv3d" if op == "itgm" and time == 1 else op


def _canonical_stream(stream: Stream) -> list[str]:
    parts = (
        stream.type,
        canonical_op(stream.op, stream.time),
        stream.time,
        canonical_op(stream.op2, stream.time2),
        stream.time2,
    )
    return [str(part) for part in parts]


def _check(place: str, value: object, choices: Sequence[Any]) -> None:
    # Types are compared too: True == 1 and 3.0 == 3, yet neither is a temporal size.
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        allowed = ", ".join(str(choice) for choice in choices)
        raise ArchitectureError(f"{place}: {value!r} is not one of {allowed}")


def _check_architecture(architecture: Architecture) -> None:
    _check("meta", architecture.meta, tuple(MODULE_COUNT))
    _check("alternate_repeats", architecture.alternate_repeats, (True, False))
    for decision in STEM_DECISIONS:
        value = getattr(architecture.stem, decision.field)
        _check(f"stem.{decision.field}", value, decision.choices)
    expected = MODULE_COUNT[architecture.meta]
    if len(architecture.modules) != expected:
        raise ArchitectureError(
            f"modules: {len(architecture.modules)} given, "
            f"a {architecture.meta} architecture has {expected}"
        )
    for m, module in enumerate(architecture.modules):
        _check(f"modules[{m}].repeats", module.repeats, REPEATS)
        _check(f"modules[{m}].streams: length", len(module.streams), STREAM_COUNTS)
        for s, stream in enumerate(module.streams):
            _check_stream(f"modules[{m}].streams[{s}]", stream)


def _check_stream(place: str, stream: Stream) -> None:
    _check(f"{place}.type", stream.type, STREAM_TYPES)
    choices = {d.field: d.choices for d in stream.decisions}
    for field in fields(Stream)[1:]:
        value = getattr(stream, field.name)
        if field.name in choices:
            _check(f"{place}.{field.name}", value, choices[field.name])
        elif value is not None:
            raise ArchitectureError(
                f"{place}.{field.name}: {value!r} given, but a {stream.type} stream has none"
            )


def _parse_architecture(data: object) -> Architecture:
    entry = _parse_object("", data, ("meta", "stem", "modules"), ("alternate_repeats",))
    stem_fields = tuple(d.field for d in STEM_DECISIONS)
    stem = Stem(**_parse_object("stem", entry["stem"], stem_fields))
    modules = tuple(
        _parse_module(f"modules[{m}]", module)
        for m, module in enumerate(_parse_list("modules", entry["modules"]))
    )
    return Architecture(entry["meta"], stem, modules, entry.get("alternate_repeats", True))


def _parse_module(place: str, data: object) -> Module:
    entry = _parse_object(place, data, ("repeats", "streams"))
    streams = _parse_list(f"{place}.streams", entry["streams"])
    return Module(
        entry["repeats"],
        tuple(_parse_stream(f"{place}.streams[{s}]", stream) for s, stream in enumerate(streams)),
    )


def _parse_stream(place: str, data: object) -> Stream:
    optional = tuple(field.name for field in fields(Stream)[1:])
    entry = _parse_object(place, data, ("type",), optional)
    _check(f"{place}.type", entry["type"], STREAM_TYPES)
    required = tuple(d.field for d in STREAM_DECISIONS[entry["type"]])
    return Stream(**_parse_object(place, entry, ("type", *required), optional))


def _parse_object(
    place: str, data: object, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise ArchitectureError(f"{place or 'architecture'}: {data!r} is not an object")
    prefix = f"{place}." if place else ""
    for key in required:
        if key not in data:
            raise ArchitectureError(f"{prefix}{key}: missing")
    for key in data:
        if key not in required and key not in optional:
            allowed = ", ".join((*required, *optional))
            raise ArchitectureError(f"{prefix}{key}: no such field; the fields are {allowed}")
    return dict(data)


def _parse_list(place: str, data: object) -> list[Any]:
    if not isinstance(data, list | tuple):
        raise ArchitectureError(f"{place}: {data!r} is not a list")
    return list(data)


def _parse_sample(sample: dict[str, Any], meta: str) -> Architecture:
    choices = sample_choices(meta)
    for label in sample:
        if label not in choices and label != "alternate_repeats":
            raise ArchitectureError(f"{label}: no such decision in the {meta} space")

    def read(label: str) -> Any:
        if label not in sample:
            raise ArchitectureError(f"{label}: missing")
        _check(label, sample[label], choices[label])
        return sample[label]

    stem = Stem(**{d.field: read(f"stem/{d.label}") for d in STEM_DECISIONS})
    modules = []
    for m in range(1, MODULE_COUNT[meta] + 1):
        streams = []
        for slot in _active_slots(f"module{m}/streams", sample):
            prefix = f"module{m}/stream{slot + 1}"
            kind = read(f"{prefix}/type")
            content = {d.field: read(f"{prefix}/{d.label}") for d in STREAM_DECISIONS[kind]}
            streams.append(Stream(kind, **content))
        modules.append(Module(read(f"module{m}/repeats"), tuple(streams)))
    return Architecture(meta, stem, tuple(modules), sample.get("alternate_repeats", True))


def _active_slots(label: str, sample: Mapping[str, Any]) -> Sequence[int]:
    if label not in sample:
        raise ArchitectureError(f"{label}: missing")
    value = sample[label]
    if not isinstance(value, list | tuple):
        _check(label, value, STREAM_COUNTS)
        return range(value)
    slots = range(STREAM_COUNTS[-1])
    if not value or len(set(value)) != len(value):
        raise ArchitectureError(f"{label}: {value!r} is not a list of different slots, 1 to 6 long")
    for slot in value:
        _check(label, slot, slots)
    return sorted(value)
