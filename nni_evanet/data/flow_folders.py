"""Optical flow beside the videos: which folder holds the flow of which video.

The flow of `<class>/<name>.mp4`, a path below `VideoSet.root`, is looked for in a folder of flow as

- `<class>/<name>/`: the whole relative path without its extension, as `nni-evanet flow` writes it;
- `<class>/<name>/` of the last two parts of a longer path, where the folder of the subset is left
  out;
- `<name>/`, all videos in one folder.

One tree has one of these; the one in which the most videos are found is taken. In the folder are
`flow_x_00001.jpg` and `flow_y_00001.jpg`, or Charades' `<name>-000001x.jpg` and `...y.jpg`. Where
the folder of flow has two folders `u` and `v`, all this stands below each, with pictures
`frame000001.jpg`; a video's path is then its folder below `u`.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from nni_evanet.data.charades import FPS as CHARADES_FPS
from nni_evanet.data.listing import EXTENSIONS
from nni_evanet.data.videos import AbsentData, DataError, Video, VideoSet, relative_path

if TYPE_CHECKING:
    from nni_evanet.data.flow import FlowSettings

# Of ready-made flow, which does not say: what two-stream networks are trained on.
_USUAL_BOUND = 20.0
_USUAL_FPS = Fraction(25)
# How many of the last parts of a video's path make up its folder; None is all of them.
_CONVENTIONS = (None, 2, 1)

logger = logging.getLogger(__name__)


def use_flow(videos: VideoSet, flow_path: Path) -> VideoSet:
    """The same videos as optical flow.

    Bound and frame rate come from the tree's `flow.json`; ready-made flow without one has a bound
    of 20 pixels at 25 frames a second, Charades' at 24. Videos without flow join ``missing``.

    Raises:
        DataError: no such folder; no flow in it; a folder that would be two videos' flow.
    """
    # Computing flow needs torch, listing videos does not.
    from nni_evanet.data.flow import flow_settings

    if not flow_path.is_dir():
        raise DataError(f"{flow_path}: no such folder of optical flow")
    settings = flow_settings(flow_path)
    folders = _find_folders(videos, _pictures_of_x(flow_path))
    found = [
        replace(
            video,
            path=folder,
            fps=_fps(settings, videos.name),
            bound=settings.bound if settings else _USUAL_BOUND,
        )
        for video in videos.videos
        if (folder := folders.get(video.path))
    ]
    without = [videos.relative(v) for v in videos.videos if v.path not in folders]
    if without:
        logger.warning(
            "%s: %d of %d videos have no optical flow there, the first is %s",
            flow_path, len(without), len(videos.videos), without[0],
        )  # fmt: skip
    return replace(
        videos,
        videos=tuple(found),
        root=flow_path,
        missing=(*videos.missing, *without),
        modality="flow",
    )


def flow_folder_of(video: Video, root_of_videos: Path, out: Path) -> Path:
    """Where the flow of a video is written, so that `use_flow` finds it again."""
    return out / _stem(relative_path(video.path, root_of_videos))


def _fps(settings: FlowSettings | None, dataset: str) -> Fraction:
    if settings is not None:
        return settings.rate
    return CHARADES_FPS if dataset == "charades" else _USUAL_FPS


def _pictures_of_x(flow_path: Path) -> Path:
    x, y = flow_path / "u", flow_path / "v"
    return x if x.is_dir() and y.is_dir() else flow_path


def _find_folders(videos: VideoSet, root: Path) -> dict[Path, Path]:
    """The folder of flow of each video that has one, by the best of the conventions."""
    stems = {video.path: _stem(videos.relative(video)) for video in videos.videos}
    on_disk = _Folders()
    best: dict[Path, str] = {}
    for parts in _CONVENTIONS:
        names = {path: os.path.join(root, _last(stem, parts)) for path, stem in stems.items()}
        found = {path: name for path, name in names.items() if on_disk.has(name)}
        if len(found) > len(best):
            best = found
    if not best:
        first = next(iter(stems.values()))
        raise AbsentData(f"{root}: no optical flow of these videos, expected folders like {first}")
    _check_distinct(best)
    return {path: Path(name) for path, name in best.items()}


def _check_distinct(folders: dict[Path, str]) -> None:
    owners: dict[str, Path] = {}
    for path, name in folders.items():
        if (other := owners.setdefault(name, path)) != path:
            raise DataError(f"{name}: optical flow of both {other} and {path}, expected of one")


def _stem(name: str) -> str:
    """A relative path without the extension; a folder of pictures has none."""
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in EXTENSIONS else name


def _last(stem: str, parts: int | None) -> str:
    return stem if parts is None else os.sep.join(stem.split(os.sep)[-parts:])


class _Folders:
    """Which folders there are; every folder is listed once, and none that only holds pictures."""

    def __init__(self) -> None:
        self._listed: dict[str, frozenset[str]] = {}

    def has(self, path: str) -> bool:
        parent, name = os.path.split(path)
        if parent not in self._listed:
            self._listed[parent] = _subfolder_names(parent)
        return name in self._listed[parent]


def _subfolder_names(folder: str) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
