"""A video architecture as plain data: what a search mutates, a trial builds, a file stores.

Standard library only, so that the evolution runs where torch is not installed and starts at once.
What can be decided is in `nni_evanet.decisions`, narrower spaces in `nni_evanet.space`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from nni_evanet.decisions import (
    METAS,
    OPS,
    REPEATS,
    STREAM_COUNTS,
    STREAM_DECISIONS,
    STREAM_TYPES,
    TIMES,
    Decision,
    Meta,
    canonical_op,
    is_one_of,
)
from nni_evanet.errors import InputError


class ArchitectureError(InputError):
    """Data that is no architecture; the message names the place and what is allowed there."""


@dataclass(frozen=True, slots=True)
class ResNetStem:
    """The ResNet-like layers outside the modules. The second pool shares the first one's size.

    An architecture of fewer than four (three) modules has no pool4 (pool3).
    """

    conv_op: str
    conv_time: int
    pool1_time: int
    pool3_time: int | None = None
    pool4_time: int | None = None


@dataclass(frozen=True, slots=True)
class InceptionStem:
    """The searched layers of I3D's five-layer stem; its 1x1x1 convolution is fixed."""

    conv7x7_op: str
    conv7x7_time: int
    pool1_time: int
    conv3x3_op: str
    conv3x3_time: int
    pool2_time: int


Stem = ResNetStem | InceptionStem
STEMS: dict[str, type[ResNetStem] | type[InceptionStem]] = {
    "resnet": ResNetStem,
    "inception": InceptionStem,
}


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
    """Parallel streams; in a ResNet-like architecture with a residual connection, repeated."""

    repeats: int
    streams: tuple[Stream, ...]


@dataclass(frozen=True)
class Architecture:
    """Every decision of a search space, checked on construction.

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
        from nni_evanet.space import SearchSpace

        return SearchSpace(meta).random(rng)

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
        ignored. The highest N tells how many modules there are.

        Raises:
            ArchitectureError: naming the label and what is allowed there, or a label that is
                not of this space.
        """
        from nni_evanet.space import SearchSpace

        sample = {str(label): value for label, value in sample.items()}
        check_value("meta", meta, tuple(METAS))
        modules = [int(n) for label in sample for n in re.findall(r"^module(\d+)/", label)]
        count = min(max(modules, default=1), METAS[meta].modules)
        return _parse_sample(sample, SearchSpace(meta, modules=count).choices(), meta, count)

    def to_sample(self) -> dict[str, Any]:
        """NNI's flat `{label: value}` of the active decisions, streams in the first slots."""
        sample: dict[str, Any] = {}
        for decision in self.stem_decisions:
            sample[f"stem/{decision.label}"] = getattr(self.stem, decision.field)
        for m, module in enumerate(self.modules, 1):
            if METAS[self.meta].repeated:
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

    @property
    def stem_decisions(self) -> tuple[Decision, ...]:
        """What is searched outside the modules."""
        return METAS[self.meta].stem_decisions(len(self.modules))

    def with_ops(self, **replacements: str) -> Architecture:
        """The architecture with ops replaced, as `with_ops(itgm="conv2plus1d")` (table 10).

        Raises:
            ArchitectureError: a name is not an op.
        """
        for old, new in replacements.items():
            check_value("op to replace", old, OPS)
            check_value(f"replacement of {old}", new, OPS)
        return self._mapped(lambda op, time: (replacements.get(op, op), time))

    def stretched(self, time: int) -> Architecture:
        """The architecture with iTGM layers of another temporal size (section 5.3, table 11).

        Those of size 1 stay: they are plain convolutions, with nothing to stretch.

        Raises:
            ArchitectureError: no such temporal size.
        """
        check_value("time", time, TIMES)
        return self._mapped(lambda op, t: (op, time if op == "itgm" and t != 1 else t))

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits, the same for architectures that compute the same function.

        Streams are sorted; an iTGM of temporal size 1 is a plain convolution, like a conv3d of
        that size; alternation matters only where a repeat has a temporal convolution to drop.
        """
        plain = self._mapped(lambda op, time: (canonical_op(op, time), time))._as_dict()
        for module in plain["modules"]:
            module["streams"].sort(key=json.dumps)
        plain["alternate_repeats"] = self.alternate_repeats or not self._has_times_to_drop()
        canonical = json.dumps(plain, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def _mapped(self, change: Any) -> Architecture:
        """With each convolution's (op, time) replaced by what `change` makes of it."""

        def pairs(part: Any, decisions: Sequence[Decision]) -> dict[str, Any]:
            changed = {}
            for decision in decisions:
                if decision.is_op:
                    time_field = decision.field.replace("op", "time")
                    pair = change(getattr(part, decision.field), getattr(part, time_field))
                    changed[decision.field], changed[time_field] = pair
            return changed

        stem = replace(self.stem, **pairs(self.stem, self.stem_decisions))
        modules = tuple(
            replace(m, streams=tuple(replace(s, **pairs(s, s.decisions)) for s in m.streams))
            for m in self.modules
        )
        return replace(self, stem=stem, modules=modules)

    def _has_times_to_drop(self) -> bool:
        return any(
            module.repeats > 1 and stream.op is not None and {stream.time, stream.time2} - {1, None}
            for module in self.modules
            for stream in module.streams
        )

    def _as_dict(self) -> dict[str, Any]:
        return {
            "meta": self.meta,
            "alternate_repeats": self.alternate_repeats,
            "stem": {d.field: getattr(self.stem, d.field) for d in self.stem_decisions},
            "modules": [self._module_as_dict(module) for module in self.modules],
        }

    def _module_as_dict(self, module: Module) -> dict[str, Any]:
        streams = [
            {"type": s.type} | {d.field: getattr(s, d.field) for d in s.decisions}
            for s in module.streams
        ]
        repeats = {"repeats": module.repeats} if METAS[self.meta].repeated else {}
        return {**repeats, "streams": streams}


def read_architecture(path: Path) -> Architecture:
    """The architecture in a JSON file.

    Raises:
        ArchitectureError: naming the file, the field and what is allowed there.
    """
    try:
        return Architecture.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ArchitectureError) as error:
        raise ArchitectureError(f"{path}: {error}") from None


def check_value(place: str, value: object, choices: Sequence[Any]) -> None:
    """Raise an ArchitectureError that names the place and the choices unless value is one."""
    if not is_one_of(value, choices):
        allowed = ", ".join(str(choice) for choice in choices)
        raise ArchitectureError(f"{place}: {value!r} is not one of {allowed}")


def choices_of(decision: Decision) -> tuple[Any, ...]:
    """All values of a decision in the paper's space."""
    return OPS if decision.is_op else TIMES


def _check_architecture(architecture: Architecture) -> None:
    check_value("meta", architecture.meta, tuple(METAS))
    check_value("alternate_repeats", architecture.alternate_repeats, (True, False))
    meta = METAS[architecture.meta]
    if not 1 <= len(architecture.modules) <= meta.modules:
        raise ArchitectureError(
            f"modules: {len(architecture.modules)} given, "
            f"a {architecture.meta} architecture has 1 to {meta.modules}"
        )
    if not isinstance(architecture.stem, STEMS[architecture.meta]):
        raise ArchitectureError(f"stem: not that of a {architecture.meta} architecture")
    _check_fields("stem", architecture.stem, architecture.stem_decisions)
    for m, module in enumerate(architecture.modules):
        allowed = REPEATS if meta.repeated else (1,)
        check_value(f"modules[{m}].repeats", module.repeats, allowed)
        check_value(f"modules[{m}].streams: length", len(module.streams), STREAM_COUNTS)
        for s, stream in enumerate(module.streams):
            place = f"modules[{m}].streams[{s}]"
            check_value(f"{place}.type", stream.type, STREAM_TYPES)
            _check_fields(place, stream, stream.decisions)


def _check_fields(place: str, part: Stem | Stream, decisions: Sequence[Decision]) -> None:
    active = {decision.field: choices_of(decision) for decision in decisions}
    for field in fields(part):
        value = getattr(part, field.name)
        if field.name in active:
            check_value(f"{place}.{field.name}", value, active[field.name])
        elif value is not None and field.name != "type":
            kind = f"a {part.type} stream" if isinstance(part, Stream) else "so few modules"
            raise ArchitectureError(f"{place}.{field.name}: {value!r} given, but {kind} has none")


def _parse_architecture(data: object) -> Architecture:
    entry = _parse_object("", data, ("meta", "stem", "modules"), ("alternate_repeats",))
    check_value("meta", entry["meta"], tuple(METAS))
    meta = METAS[entry["meta"]]
    modules = tuple(
        _parse_module(f"modules[{m}]", module, meta)
        for m, module in enumerate(_parse_list("modules", entry["modules"]))
    )
    required = tuple(decision.field for decision in meta.stem_decisions(len(modules)))
    optional = tuple(decision.field for decision, _ in meta.stem)
    stem = STEMS[entry["meta"]](**_parse_object("stem", entry["stem"], required, optional))
    return Architecture(entry["meta"], stem, modules, entry.get("alternate_repeats", True))


def _parse_module(place: str, data: object, meta: Meta) -> Module:
    required = ("repeats", "streams") if meta.repeated else ("streams",)
    entry = _parse_object(place, data, required)
    streams = _parse_list(f"{place}.streams", entry["streams"])
    return Module(
        entry.get("repeats", 1),
        tuple(_parse_stream(f"{place}.streams[{s}]", stream) for s, stream in enumerate(streams)),
    )


def _parse_stream(place: str, data: object) -> Stream:
    optional = tuple(field.name for field in fields(Stream)[1:])
    entry = _parse_object(place, data, ("type",), optional)
    check_value(f"{place}.type", entry["type"], STREAM_TYPES)
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
            allowed = ", ".join(dict.fromkeys((*required, *optional)))
            raise ArchitectureError(f"{prefix}{key}: no such field; the fields are {allowed}")
    return dict(data)


def _parse_list(place: str, data: object) -> list[Any]:
    if not isinstance(data, list | tuple):
        raise ArchitectureError(f"{place}: {data!r} is not a list")
    return list(data)


def _parse_sample(
    sample: Mapping[str, Any], choices: Mapping[str, tuple[Any, ...]], meta: str, modules: int
) -> Architecture:
    for label in sample:
        if label not in choices and label != "alternate_repeats":
            raise ArchitectureError(f"{label}: no such decision in the {meta} space")

    def read(label: str) -> Any:
        if label not in sample:
            raise ArchitectureError(f"{label}: missing")
        check_value(label, sample[label], choices[label])
        return sample[label]

    def read_stream(prefix: str) -> Stream:
        kind = read(f"{prefix}/type")
        return Stream(
            kind, **{d.field: read(f"{prefix}/{d.label}") for d in STREAM_DECISIONS[kind]}
        )

    def read_module(name: str) -> Module:
        slots = _active_slots(f"{name}/streams", sample)
        streams = tuple(read_stream(f"{name}/stream{slot + 1}") for slot in slots)
        return Module(read(f"{name}/repeats") if METAS[meta].repeated else 1, streams)

    decisions = METAS[meta].stem_decisions(modules)
    stem = STEMS[meta](**{d.field: read(f"stem/{d.label}") for d in decisions})
    names = [f"module{m}" for m in range(1, modules + 1)]
    alternate_repeats = sample.get("alternate_repeats", True)
    return Architecture(meta, stem, tuple(map(read_module, names)), alternate_repeats)


def _active_slots(label: str, sample: Mapping[str, Any]) -> Sequence[int]:
    if label not in sample:
        raise ArchitectureError(f"{label}: missing")
    value = sample[label]
    if not isinstance(value, list | tuple):
        check_value(label, value, STREAM_COUNTS)
        return range(value)
    slots = range(STREAM_COUNTS[-1])
    if not value or len(set(value)) != len(value):
        raise ArchitectureError(f"{label}: {value!r} is not a list of different slots, 1 to 6 long")
    for slot in value:
        check_value(label, slot, slots)
    return sorted(value)
