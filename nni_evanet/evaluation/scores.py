"""What one network says about every video, in memory and in a file.

The files are safetensors, with what the scores are of as JSON in the metadata, so that ensembles
are combined without running a network again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nni_evanet.atomic import replacing
from nni_evanet.errors import InputError

_KEY, _FORMAT = "nni_evanet_scores", 1


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which network's scores, and of what.

    Args:
        network: a name for tables.
        sha256: of the network's file.
        group: what it is compared as, one of `nni_evanet.evaluation.results.GROUPS`.
        modality: "rgb" or "flow".
        params: parameters.
        gmacs: multiply-adds of one clip in billions.
        dataset, subset, split: the data as `DataSource` names them.
        data: fingerprint of the names and the labels of all videos listed.
        classes: names, in the order of the scores.
        multi_label: whether a video may have any number of classes.
        clips, crops: the views of a video.
    """

    network: str
    sha256: str
    group: str
    modality: str
    params: int
    gmacs: float
    dataset: str
    subset: str
    split: int
    data: str
    classes: tuple[str, ...]
    multi_label: bool
    clips: int
    crops: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """The scores of N videos.

    Args:
        origin: what they are of.
        videos: names, the same for every modality.
        left_out: names of the videos without scores, each with the reason.
        values: (N, classes) float32, probabilities averaged over the views.
        targets: (N,) int64, or with multi-label data (N, classes) float32 of 0 and 1.
    """

    origin: Origin
    videos: tuple[str, ...]
    left_out: Mapping[str, str]
    values: Tensor
    targets: Tensor

    def only(self, wanted: Sequence[str], left_out: Mapping[str, str]) -> Scores:
        """The scores of some of the videos, in the order given."""
        place = {name: index for index, name in enumerate(self.videos)}
        rows = torch.tensor([place[name] for name in wanted], dtype=torch.long)
        return replace(
            self,
            videos=tuple(wanted),
            left_out=left_out,
            values=self.values[rows],
            targets=self.targets[rows],
        )


def write_scores(path: Path, scores: Scores) -> None:
    """Save scores, whole or not at all."""
    about = {
        "format": _FORMAT,
        "origin": asdict(scores.origin),
        "videos": scores.videos,
        "left_out": dict(scores.left_out),
    }
    tensors = {"scores": scores.values.contiguous(), "targets": scores.targets.contiguous()}
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, {_KEY: json.dumps(about)})
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be written: {error}") from None


def read_scores(path: Path) -> Scores:
    """Read what `write_scores` wrote.

    Raises:
        InputError: no such file, no file of scores, or a damaged one.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        if not path.is_file():
            raise InputError(f"{path}: no such file") from None
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a file of scores, or damaged: {reason}") from None
    if _KEY not in metadata:
        raise InputError(f"{path}: not a file of scores, which `nni-evanet evaluate` writes")
    try:
        return _parse(json.loads(metadata[_KEY]), tensors)
    except InputError as error:
        raise InputError(f"{path}: damaged: {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError(f"{path}: damaged: its description is not one of scores") from None


def _parse(about: dict[str, Any], tensors: dict[str, Tensor]) -> Scores:
    if about["format"] != _FORMAT:
        raise InputError(f"format {about['format']!r}, expected {_FORMAT}")
    given = about["origin"]
    types: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "str": str}
    for field in fields(Origin):
        expected = types.get(str(field.type), list)
        if not isinstance(given[field.name], expected):
            raise InputError(f"{field.name}: {str(given[field.name])[:60]!r}")
    origin = Origin(**given | {"classes": tuple(map(str, given["classes"]))})
    scores = Scores(
        origin=origin,
        videos=tuple(map(str, about["videos"])),
        left_out={str(name): str(why) for name, why in about["left_out"].items()},
        values=tensors["scores"],
        targets=tensors["targets"],
    )
    _check_tensors(scores)
    return scores


def _check_tensors(scores: Scores) -> None:
    videos, classes = len(scores.videos), len(scores.origin.classes)
    values, targets = scores.values, scores.targets
    if values.dtype != torch.float32 or values.shape != (videos, classes):
        raise InputError(f"scores {tuple(values.shape)} of {videos} videos and {classes} classes")
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError("scores that are not probabilities")
    multi_label = scores.origin.multi_label
    shape = (videos, classes) if multi_label else (videos,)
    dtype = torch.float32 if multi_label else torch.int64
    largest = 1 if multi_label else classes - 1
    if targets.shape != shape or targets.dtype != dtype:
        raise InputError(f"targets {tuple(targets.shape)}, expected {shape}")
    if not ((targets >= 0) & (targets <= largest)).all():
        raise InputError(f"targets beyond 0 to {largest}")
