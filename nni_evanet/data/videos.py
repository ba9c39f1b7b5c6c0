"""What every dataset is reduced to: a plain list of labelled videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nni_evanet.errors import InputError


class DataError(InputError):
    """Unusable data. The message is one line that names the file or folder and what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """One encoded file.

    Args:
        path: the file.
        labels: class indices, ascending; exactly one where the dataset is single-label.
        group: what must not be divided between training and validation: the recording from which
            this clip was cut.
    """

    path: Path
    labels: tuple[int, ...]
    group: str

    @property
    def label(self) -> int:
        """The class of a video that has one label."""
        (label,) = self.labels
        return label


@dataclass(frozen=True, kw_only=True)
class VideoSet:
    """One split of a dataset.

    Args:
        name: the dataset's name in the registry.
        split: "train", "val" or "test".
        classes: class names; a label is an index into them.
        videos: in the order of the annotation file, or of the sorted paths where there is none.
        missing: names of annotated videos that are not on the disk.
        flip: whether a mirrored clip still shows the same class.
        margin: the short side to which frames are scaled, as a multiple of the crop's side.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    videos: tuple[Video, ...]
    missing: tuple[str, ...] = ()
    flip: bool = True
    margin: float = 8 / 7
