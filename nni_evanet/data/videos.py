"""What every dataset is reduced to: a plain list of labelled videos."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from nni_evanet.errors import InputError


class DataError(InputError):
    """Unusable data. The message is one line that names the file or folder and what is wrong."""


class AbsentData(DataError):
    """Data that are not on the disk, where those that are there may be all in order."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """A class that holds during a part of a video (Charades).

    Args:
        label: class index.
        start: in seconds from the video's beginning.
        end: in seconds.
    """

    label: int
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Video:
    """One video: an encoded file, or a folder of its frames as pictures.

    Args:
        path: the file, or the folder.
        labels: class indices, ascending; exactly one where the dataset is single-label.
        group: what must not be divided between training and validation: the recording from which
            this clip was cut.
        actions: when the labels hold, where the dataset tells it; a training clip has the labels
            of the actions that it overlaps.
        fps: frames a second of a folder of pictures; None for a file, which tells its own.
        bound: of a folder of optical flow: the displacement, in pixels, that 255 stands for; None
            for anything else.
    """

    path: Path
    labels: tuple[int, ...]
    group: str
    actions: tuple[Action, ...] = ()
    fps: Fraction | None = None
    bound: float | None = None

    @property
    def label(self) -> int:
        """The class of a video that has one label."""
        (label,) = self.labels
        return label


@dataclass(frozen=True, kw_only=True)
class VideoSet:
    """One subset of a dataset.

    Args:
        name: the dataset's name in the registry.
        subset: "train", "val" or "test".
        classes: class names; a label is an index into them.
        videos: in the order of the annotation file, or of the sorted paths where there is none.
        root: the folder that holds the videos; saved lists name them by their paths below it.
        missing: names of annotated videos that are not on the disk.
        unused: files that the annotations name and that are in no subset of this split.
        multi_label: whether a video may have any number of labels, none included.
        modality: "rgb" or "flow".
        flip: whether a mirrored clip still shows the same class.
        margin: the short side to which frames are scaled, as a multiple of the crop's side.
    """

    name: str
    subset: str
    classes: tuple[str, ...]
    videos: tuple[Video, ...]
    root: Path
    missing: tuple[str, ...] = ()
    unused: tuple[Path, ...] = ()
    multi_label: bool = False
    modality: str = "rgb"
    flip: bool = True
    margin: float = 8 / 7

    @property
    def channels(self) -> int:
        """C of a clip: 3 for RGB, 2 for optical flow."""
        return 2 if self.modality == "flow" else 3

    def relative(self, video: Video) -> str:
        """The name of a video in saved lists: its path below ``root``."""
        return relative_path(video.path, self.root)


def relative_path(path: Path, root: Path) -> str:
    """`os.path.relpath`, quick where the path plainly lies below ``root``."""
    name, start = os.fspath(path), os.path.join(root, "")
    return name[len(start) :] if name.startswith(start) else os.path.relpath(name, root)
