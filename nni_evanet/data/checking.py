"""Find what is wrong with a dataset before it costs a training."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

from nni_evanet.atomic import replacing
from nni_evanet.data.exclusion import FIELDS
from nni_evanet.data.listing import EXTENSIONS
from nni_evanet.data.opening import open_video
from nni_evanet.data.parallel import Crashed, each
from nni_evanet.data.source import UnreadableVideo
from nni_evanet.data.videos import Video, VideoSet, relative_path

KINDS = {
    "missing": "annotated, but not on the disk",
    "corrupt": "cannot be decoded to its end",
    "too short": "has fewer frames than a clip: it is looped",
    "unlabeled": "on the disk, but not annotated",
    "duplicate": "the same file or recording as in another subset",
}
"""Kinds of problems, in the order in which they are shown."""
# Decoded at a time: a long video must not fill the memory.
_CHUNK = 128
# In pixels: scaling is the larger part of the work where frames are large.
_SHORT_SIDE = 16


@dataclass(frozen=True)
class Problem:
    """One line of the table: a video, as `--exclude` names it, and what is wrong with it."""

    path: str
    subset: str
    problem: str
    detail: str


def decode(video: Video, *, frames: int, fps: Fraction) -> tuple[str, str] | None:
    """Decode every frame of a video: the kind of problem and its detail, or None."""
    try:
        with open_video(video) as source:
            count = source.count(fps)
            for first in range(0, count, _CHUNK):
                source.read(first, min(_CHUNK, count - first), fps, _SHORT_SIDE)
    except UnreadableVideo as error:
        return "corrupt", str(error)
    if count < frames:
        return "too short", f"{count} of {frames} frames at {float(fps):g} a second"
    return None


def check_files(
    subsets: Sequence[VideoSet], *, frames: int, fps: Fraction, workers: int
) -> Iterator[Problem | None]:
    """Decode all videos of some subsets; yields once for each, what is wrong or None."""
    named = {v.path: (s.relative(v), s.subset) for s in subsets for v in s.videos}
    videos = [video for subset in subsets for video in subset.videos]
    work = partial(decode, frames=frames, fps=fps)
    for video, found in each(work, videos, workers=workers):
        if isinstance(found, Crashed):
            found = ("corrupt", str(found))
        yield Problem(*named[video.path], *found) if found else None


def check_lists(
    subsets: Sequence[VideoSet], annotated: Iterable[Path], *, recordings_apart: bool
) -> list[Problem]:
    """What is missing, unlabeled or in two subsets, without decoding anything.

    Args:
        subsets: those to check.
        annotated: all files that the dataset's annotations name.
        recordings_apart: whether a recording must not have clips in two subsets.
    """
    problems = [Problem(name, s.subset, "missing", "") for s in subsets for name in s.missing]
    problems += _unlabeled(subsets, set(annotated))
    return problems + list(_duplicates(subsets, recordings_apart))


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """Write a file that `--exclude` takes."""
    with (
        replacing(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        csv.writer(file).writerows([FIELDS, *map(astuple, problems)])


def _unlabeled(subsets: Sequence[VideoSet], annotated: set[Path]) -> Iterator[Problem]:
    """Encoded files, or folders of pictures, below the subsets' roots that nothing names."""
    seen = set(annotated)
    for subset in subsets:
        # A folder that holds pictures is a video; its pictures are not looked at.
        of_pictures = {str(v.path.parent) for v in subset.videos if v.fps is not None}
        for folder, folders, files in os.walk(subset.root):
            names = [name for name in files if name.lower().endswith(EXTENSIONS)]
            if of_pictures:
                names = list(folders) if folder in of_pictures else []
            for path in sorted(Path(folder, name) for name in names if not name.startswith(".")):
                if path not in seen:
                    seen.add(path)
                    name = relative_path(path, subset.root)
                    yield Problem(name, subset.subset, "unlabeled", "")
            folders[:] = [] if folder in of_pictures else sorted(folders)


def _duplicates(subsets: Sequence[VideoSet], recordings_apart: bool) -> Iterator[Problem]:
    """Videos that a later subset has too: leaving out these, the training's first, mends it."""
    groups: dict[str, tuple[VideoSet, Video]] = {}
    by_size: dict[int, list[tuple[VideoSet, Video]]] = defaultdict(list)
    for subset in reversed(subsets):
        for video in subset.videos:
            recording = groups.get(video.group) if _names_recording(video) else None
            other = recording or _same_content(video, by_size)
            if other is not None:
                detail = f"{other[0].subset}: {other[0].relative(other[1])}"
                yield Problem(subset.relative(video), subset.subset, "duplicate", detail)
        for video in subset.videos:
            if recordings_apart and _names_recording(video):
                groups[video.group] = (subset, video)
            if video.path.is_file():
                by_size[video.path.stat().st_size].append((subset, video))


def _names_recording(video: Video) -> bool:
    """Whether the group is more than the file's own name, which two videos may share."""
    return video.group not in (video.path.stem, video.path.name)


def _same_content(
    video: Video, by_size: dict[int, list[tuple[VideoSet, Video]]]
) -> tuple[VideoSet, Video] | None:
    if not video.path.is_file():
        return None
    candidates = by_size.get(video.path.stat().st_size, [])
    if not candidates:
        return None
    content = _digest(video.path)
    return next((other for other in candidates if _digest(other[1].path) == content), None)


def _digest(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
