"""What a trained network's file says about it, so that the file alone is enough to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any

from nni_evanet.errors import InputError
from nni_evanet.networks.blueprint import Blueprint

IN_CHANNELS = {"rgb": 3, "flow": 2}
"""Input channels of each modality."""


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Pixels 0 to 255 become (pixel - mean) / scale."""

    mean: float = 127.5
    scale: float = 127.5


@dataclass(frozen=True, kw_only=True)
class NetworkCard:
    """A trained network without its weights.

    Args:
        blueprint: what it is built from.
        classes: their names, in the order of the logits.
        modality: `rgb` or `flow`.
        frames: of a clip in training.
        size: height and width of its frames in pixels.
        fps: frames a second.
        margin: frames are scaled to a short side of `margin * size` before the crop.
        normalisation: of the pixels.
        multi_label: whether logits go through a sigmoid each, not through a softmax together.
        dropout: probability in front of the classifier in training.
        dataset: what it was trained on.
        metrics: of the training, by name.
        provenance: where it comes from, as plain data: settings, initialisation, versions.
    """

    blueprint: Blueprint
    classes: tuple[str, ...]
    modality: str
    frames: int
    size: int
    fps: Fraction
    margin: float
    multi_label: bool
    dropout: float
    dataset: str
    normalisation: Normalisation = Normalisation()
    metrics: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """The number of logits."""
        return len(self.classes)

    @property
    def in_channels(self) -> int:
        """C of the clips (B, C, T, H, W)."""
        return IN_CHANNELS[self.modality]

    def to_json(self) -> str:
        """One object with a member for each field."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        data["blueprint"] = self.blueprint.to_json()
        data["normalisation"] = vars(self.normalisation)
        data["fps"] = str(self.fps)
        return json.dumps(data)

    @classmethod
    def from_json(cls, text: str) -> NetworkCard:
        """The card that `to_json` wrote.

        Raises:
            InputError: something else; the message names the field.
        """
        try:
            data = json.loads(text)
        except ValueError:
            raise InputError("the card is not JSON") from None
        if not isinstance(data, dict):
            raise InputError("the card is not a JSON object")
        for f in fields(cls):
            if f.name not in data:
                raise InputError(f"{f.name}: missing in the card")
        for name, value in data.items():
            if name not in _KINDS:
                raise InputError(f"{name}: no field of a card")
            _check_kind(name, value, _KINDS[name])
        return _parse(data)


_KINDS: dict[str, type | tuple[type, ...]] = {
    "blueprint": dict,
    "classes": list,
    "modality": str,
    "frames": int,
    "size": int,
    "fps": str,
    "margin": (int, float),
    "multi_label": bool,
    "dropout": (int, float),
    "dataset": str,
    "normalisation": dict,
    "metrics": dict,
    "provenance": dict,
}


def _check_kind(name: str, value: object, kind: type | tuple[type, ...]) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        expected = " or ".join(k.__name__ for k in kinds)
        raise InputError(f"{name}: expected {expected}, got {str(value)[:60]!r}")


def _parse(data: dict[str, Any]) -> NetworkCard:
    if data["modality"] not in IN_CHANNELS:
        raise InputError(f"modality: {data['modality']!r} is not one of {', '.join(IN_CHANNELS)}")
    if not data["classes"] or not all(isinstance(name, str) for name in data["classes"]):
        raise InputError("classes: expected a list of names")
    for name in ("frames", "size"):
        if data[name] < 1:
            raise InputError(f"{name}: {data[name]} is not positive")
    try:
        fps = Fraction(data["fps"])
        normalisation = Normalisation(**{k: float(v) for k, v in data["normalisation"].items()})
    except (ValueError, ZeroDivisionError):
        raise InputError(f"fps: {data['fps']!r} is not a fraction") from None
    except TypeError:
        raise InputError("normalisation: expected mean and scale") from None
    values = dict(data, blueprint=Blueprint.from_json(data["blueprint"]), fps=fps)
    values |= dict(classes=tuple(data["classes"]), normalisation=normalisation)
    return NetworkCard(**values)
