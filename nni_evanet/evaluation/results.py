"""What evaluated networks and ensembles achieved: one table, in memory and as a JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nni_evanet.atomic import replacing
from nni_evanet.errors import InputError

FORMAT = 1
METRICS = ("top1", "map")
KINDS = ("network", "ensemble")
GROUPS = ("evanet", "baseline", "random", "other")
MODALITIES = ("rgb", "flow", "rgb+flow")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network or ensemble.

    Attributes:
        name: of it.
        kind: "network" or "ensemble".
        group: what it is compared as: "evanet", "baseline", "random" or "other".
        members: the names of an ensemble's networks; empty for a network.
        modality: "rgb", "flow" or "rgb+flow".
        params: parameters, of all members together.
        gmacs: multiply-adds of one clip in billions, of all members together.
        metrics: each as a fraction, 0 to 1, the one that counts among them.
        ci95: a 95 % interval of the metric that counts; None if it was not estimated.
    """

    name: str
    kind: str
    group: str
    members: tuple[str, ...]
    modality: str
    params: int
    gmacs: float
    metrics: Mapping[str, float]
    ci95: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Results:
    """Networks and ensembles that were evaluated on the same videos in the same way.

    Attributes:
        dataset: a name that `nni_evanet.data.DataSource` takes.
        subset: "train", "val" or "test".
        split: the official split.
        metric: the one that counts, "top1" or "map".
        classes: how many.
        videos: how many.
        views: of a video: {"clips": ..., "crops": ...}.
        rows: what was evaluated.
    """

    dataset: str
    subset: str
    split: int
    metric: str
    classes: int
    videos: int
    views: Mapping[str, int]
    rows: tuple[Row, ...]


def write_results(path: Path, results: Results) -> None:
    """Save results as JSON. A reader finds the old file or the new one, never a part."""
    text = json.dumps({"format": FORMAT, **asdict(results)}, indent=1, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_results(path: Path) -> Results:
    """Read what `write_results` wrote.

    Raises:
        InputError: the file cannot be read, or is no such file; the message names the field.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a results file: {type(error).__name__}") from None
    try:
        return _results(_Fields(data, ""))
    except InputError as error:
        raise InputError(f"{path}: not a results file: {error}") from None


class _Fields:
    """An object of a file, its fields checked as they are taken."""

    def __init__(self, data: Any, place: str) -> None:
        self._data = data
        self._place = place
        if not isinstance(data, dict):
            raise InputError(f"{place or 'the file'}: expected an object")

    def text(self, name: str, allowed: tuple[str, ...] = ()) -> str:
        value = self.take(name)
        if not isinstance(value, str) or (allowed and value not in allowed):
            raise self.error(name, f"one of {', '.join(allowed)}" if allowed else "text")
        return value

    def count(self, name: str) -> int:
        value = self.take(name)
        if type(value) is not int or value < 0:
            raise self.error(name, "an integer of 0 or more")
        return value

    def amount(self, name: str) -> float:
        value = self.take(name)
        if not _is_number(value) or value < 0:
            raise self.error(name, "a number of 0 or more")
        return float(value)

    def fraction(self, name: str) -> float:
        value = self.take(name)
        if not _is_fraction(value):
            raise self.error(name, "a number from 0 to 1")
        return float(value)

    def list(self, name: str) -> list[Any]:
        value = self.take(name)
        if not isinstance(value, list):
            raise self.error(name, "a list")
        return value

    def object(self, name: str) -> _Fields:
        return _Fields(self.take(name), f"{self._place}{name}")

    def names(self) -> tuple[str, ...]:
        return tuple(self._data)

    def take(self, name: str) -> Any:
        if name not in self._data:
            raise self.error(name, "it to be there")
        return self._data[name]

    def error(self, name: str, expected: str) -> InputError:
        dot = "." if self._place else ""
        return InputError(f"{self._place}{dot}{name}: expected {expected}")


def _results(fields: _Fields) -> Results:
    if fields.take("format") != FORMAT:
        raise fields.error("format", str(FORMAT))
    metric = fields.text("metric", METRICS)
    views = fields.object("views")
    return Results(
        dataset=fields.text("dataset"),
        subset=fields.text("subset"),
        split=fields.count("split"),
        metric=metric,
        classes=fields.count("classes"),
        videos=fields.count("videos"),
        views={name: views.count(name) for name in ("clips", "crops")},
        rows=tuple(
            _row(_Fields(row, f"rows[{n}]"), metric) for n, row in enumerate(fields.list("rows"))
        ),
    )


def _row(fields: _Fields, metric: str) -> Row:
    members = fields.list("members")
    if not all(isinstance(member, str) for member in members):
        raise fields.error("members", "a list of names")
    metrics = fields.object("metrics")
    metrics.fraction(metric)
    return Row(
        name=fields.text("name"),
        kind=fields.text("kind", KINDS),
        group=fields.text("group", GROUPS),
        members=tuple(members),
        modality=fields.text("modality", MODALITIES),
        params=fields.count("params"),
        gmacs=fields.amount("gmacs"),
        metrics={name: metrics.fraction(name) for name in metrics.names()},
        ci95=_interval(fields),
    )


def _interval(fields: _Fields) -> tuple[float, float] | None:
    value = fields.take("ci95")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_fraction, value)):
        raise fields.error("ci95", "[low, high], each from 0 to 1, or null")
    low, high = value
    if low > high:
        raise fields.error("ci95", "its first number to be the lower one")
    return float(low), float(high)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1
