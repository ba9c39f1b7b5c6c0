"""What a network is built from, whichever of the three kinds it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from nni_evanet.architecture import Architecture
from nni_evanet.errors import InputError
from nni_evanet.networks import build_network
from nni_evanet.networks.baselines import build_baseline
from nni_evanet.networks.stretch import stretch_network

_KINDS = ("architecture", "baseline", "release")


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """An architecture, a baseline or a network of the authors' release, of one width.

    Args:
        architecture: a searched one, for `build_network`.
        baseline: a name, for `build_baseline`.
        release: `rgb1`, `rgb2` or a DNA, for `nni_evanet.release.build`.
        width: filters of the stem.
        stretch: the temporal size in frames that the iTGM layers of a baseline or a release network
            have in place of their own. An architecture states its sizes itself.

    Raises:
        InputError: not exactly one of the first three is given.
    """

    architecture: Architecture | None = None
    baseline: str | None = None
    release: str | None = None
    width: int = 64
    stretch: int | None = None

    def __post_init__(self) -> None:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise InputError(f"network: expected one of {', '.join(_KINDS)}, got {given or 'none'}")

    def build(self, *, num_classes: int, in_channels: int = 3, dropout: float = 0.5) -> nn.Module:
        """A network with initial weights: clips (B, C, T, H, W) to logits (B, num_classes).

        Raises:
            InputError: an argument or the width is out of its range.
        """
        sizes: dict[str, Any] = dict(num_classes=num_classes, in_channels=in_channels)
        sizes |= dict(width=self.width, dropout=dropout)
        try:
            network = self._build(sizes)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"network: {error}") from None
        return network if self.stretch is None else stretch_network(network, self.stretch)

    def _build(self, sizes: dict[str, Any]) -> nn.Module:
        if self.architecture is not None:
            return build_network(self.architecture, **sizes)
        if self.baseline is not None:
            return build_baseline(self.baseline, **sizes)
        # The release builds on this package, so it is imported no earlier than it is needed.
        from nni_evanet import release

        assert self.release is not None
        return release.build(self.release, **sizes)

    def stretched(self, time: int) -> Blueprint:
        """With iTGM layers of another temporal size; those of size 1 stay (paper, table 11)."""
        if self.architecture is not None:
            if time == 1:
                raise InputError("time: 1 frame leaves no mixture that could keep its parameters")
            return replace(self, architecture=self.architecture.stretched(time))
        return replace(self, stretch=time)

    def describe(self) -> str:
        """A few words for a log."""
        if self.architecture is not None:
            return f"architecture {self.architecture.fingerprint}, width {self.width}"
        stretch = "" if self.stretch is None else f", iTGM stretched to {self.stretch}"
        return f"{self.baseline or f'release {self.release}'}, width {self.width}{stretch}"

    def to_json(self) -> dict[str, Any]:
        """As plain data, without what is not set."""
        data: dict[str, Any] = {"width": self.width}
        for name in ("baseline", "release", "stretch"):
            if getattr(self, name) is not None:
                data[name] = getattr(self, name)
        if self.architecture is not None:
            data["architecture"] = json.loads(self.architecture.to_json())
        return data

    @classmethod
    def from_json(cls, data: object) -> Blueprint:
        """The blueprint that `to_json` gave.

        Raises:
            InputError: something else, naming the field.
        """
        if not isinstance(data, dict):
            raise InputError("network: expected an object")
        types = {"architecture": dict, "baseline": str, "release": str, "width": int}
        types["stretch"] = int
        for name, value in data.items():
            if name not in types:
                raise InputError(f"network.{name}: no such field")
            if not isinstance(value, types[name]) or isinstance(value, bool):
                raise InputError(f"network.{name}: expected {types[name].__name__}, got {value!r}")
        values = dict(data)
        if "architecture" in values:
            values["architecture"] = Architecture.from_json(values["architecture"])
        return cls(**values)


def head_tensors(blueprint: Blueprint) -> set[str]:
    """Names of the tensors whose shapes depend on the number of classes: the classifier's."""
    return _differing(blueprint, {"num_classes": 2}, {"num_classes": 3})


def input_tensors(blueprint: Blueprint) -> set[str]:
    """Names of the tensors whose shapes depend on the input's channels: the first kernel's."""
    few, many = ({"num_classes": 2, "in_channels": channels} for channels in (2, 3))
    return _differing(blueprint, few, many)


def _differing(blueprint: Blueprint, some: dict[str, int], other: dict[str, int]) -> set[str]:
    with torch.device("meta"):
        state, changed = (blueprint.build(**sizes).state_dict() for sizes in (some, other))
    return {name for name, tensor in state.items() if tensor.shape != changed[name].shape}
