"""A cache of a search's clips: thousands of networks train on the same ones, decoded once.

Every video has a slot of uint8 frames in one memory-mapped file. The slot holds a window of the
video, half as long again as a clip, in frames scaled as for a clip and cut to a square: room for a
training clip's place in time and space. The window and the square lie so that the centre clip's
centre crop is pixel for pixel that of the video itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from nni_evanet.atomic import replacing
from nni_evanet.data.clips import Geometry
from nni_evanet.data.source import UnreadableVideo
from nni_evanet.data.videos import DataError, Video, VideoSet, relative_path

HEADER, RECORDS, FRAMES = "cache.json", "videos.jsonl", "frames.u8"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a cache is made for; one that was made for anything else is not used.

    Args:
        dataset: its name.
        modality: "rgb" or "flow".
        channels: C of a frame.
        frames, size, fps: of a clip; fps as a fraction's text.
        side: to which frames are scaled and cut, in pixels.
    """

    dataset: str
    modality: str
    channels: int
    frames: int
    size: int
    fps: str
    side: int

    @classmethod
    def of(cls, videos: VideoSet, geometry: Geometry) -> Origin:
        """That of a search on these videos with these clips."""
        return cls(
            dataset=videos.name,
            modality=videos.modality,
            channels=videos.channels,
            frames=geometry.frames,
            size=geometry.size,
            fps=str(geometry.fps),
            side=geometry.short_side,
        )

    @property
    def slot(self) -> tuple[int, int, int, int]:
        """Shape of a slot, (T, H, W, C): three halves of a clip's frames, rounded up."""
        return (-(-3 * self.frames // 2), self.side, self.side, self.channels)

    @property
    def slot_bytes(self) -> int:
        """Of one video; less is used where it is shorter."""
        return int(np.prod(self.slot))


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of one video's slot.

    Args:
        path: of the video, below the dataset's root.
        stamp: of the file when it was read: if it differs now, the slot is stale.
        slot: its number.
        first: number of the first stored frame in the video.
        count: stored frames.
        error: why nothing is stored.
    """

    path: str
    stamp: tuple[int, int]
    slot: int
    first: int = 0
    count: int = 0
    error: str | None = None


class CachedSource:
    """The stored part of a video as a `FrameSource`."""

    def __init__(self, frames: np.ndarray, start: Fraction, fps: Fraction) -> None:
        self._frames, self.start, self._fps = frames, start, fps

    def __enter__(self) -> CachedSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def count(self, fps: Fraction) -> int:
        """Stored frames; there is one rate."""
        assert fps == self._fps
        return len(self._frames)

    def scaled(self, short_side: int) -> tuple[int, int]:
        """The square's height and width; there is one size."""
        height, width = self._frames.shape[1:3]
        assert height == short_side
        return height, width

    def read(self, first: int, count: int, fps: Fraction, short_side: int) -> np.ndarray:
        """A view of the memory-mapped file, (count, H, W, C)."""
        assert (fps, short_side) == (self._fps, self._frames.shape[1])
        return self._frames[first : first + count]

    def close(self) -> None:
        """The file stays mapped for the next clip."""


class ClipCache:
    """A finished cache, whose videos are opened like files.

    Args:
        folder: of the cache.
        origin: what it must have been made for.
        videos: those that it must hold, as they are on the disk now.
        root: the videos' `VideoSet.root`.

    Raises:
        DataError: there is no cache; it is for something else; a video is not in it or has changed
            since. The message names the field or the video and says what to do.
    """

    def __init__(
        self, folder: Path, origin: Origin, videos: Sequence[Video], *, root: Path
    ) -> None:
        check_origin(folder, origin)
        self._folder, self._origin, self._root = folder, origin, root
        self._records = read_records(folder)
        if missing := missing_videos(self._records, videos, root):
            raise DataError(
                f"cache {folder}: {len(missing)} of {len(videos)} videos are not in it as they are "
                f"now, the first is {missing[0].path}; nni-evanet cache brings it up to date"
            )
        slots = max((record.slot for record in self._records.values()), default=-1) + 1
        path = folder / FRAMES
        if not path.exists() or path.stat().st_size < slots * origin.slot_bytes:
            raise DataError(
                f"{path}: gone, or shorter than its {slots} videos; delete the cache's folder"
            )
        self._frames = np.memmap(path, np.uint8, "r", shape=(slots, *origin.slot))

    def open(self, video: Video) -> CachedSource:
        """The stored part of a video.

        Raises:
            UnreadableVideo: it could not be read when the cache was made.
        """
        record = self._records[relative_path(video.path, self._root)]
        if record.error is not None:
            raise UnreadableVideo(record.error)
        fps = Fraction(self._origin.fps)
        frames = self._frames[record.slot, : record.count]
        return CachedSource(frames, record.first / fps, fps)


def check_origin(folder: Path, origin: Origin) -> None:
    """Refuse a folder that is no cache, or one that was made for something else."""
    path = folder / HEADER
    try:
        found = json.loads(path.read_text())
    except OSError:
        raise DataError(f"{folder}: no cache; nni-evanet cache makes it") from None
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.pop("format", None) != _FORMAT:
        raise DataError(f"{path}: not a cache's header of format {_FORMAT}")
    for name, value in asdict(origin).items():
        if found.get(name) != value:
            raise DataError(
                f"cache {folder}: was made for {name} {found.get(name)}, not {value}; "
                "take another folder"
            )


def write_header(folder: Path, origin: Origin) -> None:
    """Claim an empty folder for a cache."""
    with replacing(folder / HEADER) as temporary:
        temporary.write_text(json.dumps({"format": _FORMAT, **asdict(origin)}))


def read_records(folder: Path) -> dict[str, Record]:
    """The latest record of every video, by its path; a line that was cut off does not count."""
    path = folder / RECORDS
    records: dict[str, Record] = {}
    if not path.exists():
        return records
    for line in path.read_bytes().splitlines():
        try:
            fields: dict[str, Any] = json.loads(line)
            record = Record(**fields | {"stamp": tuple(fields["stamp"])})
        except (ValueError, TypeError, KeyError):
            continue
        records[record.path] = record
    return records


def missing_videos(records: dict[str, Record], videos: Iterable[Video], root: Path) -> list[Video]:
    """The videos that have no record, or have changed since it was made."""
    found = ((video, records.get(relative_path(video.path, root))) for video in videos)
    return [v for v, record in found if record is None or record.stamp != stamp_of(v)]


def stamp_of(video: Video) -> tuple[int, int]:
    """Size and time of the last change (ns) of a file, or of a folder of pictures; 0, 0 if gone."""
    try:
        status = os.stat(video.path)
    except OSError:
        return (0, 0)
    return (status.st_size, status.st_mtime_ns)
