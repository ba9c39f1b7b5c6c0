"""Filling a cache: in parallel, one process at a time, resumed where it was interrupted."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from nni_evanet.data.cache import (
    FRAMES,
    HEADER,
    RECORDS,
    Origin,
    Record,
    check_origin,
    missing_videos,
    read_records,
    stamp_of,
    write_header,
)
from nni_evanet.data.parallel import Crashed, each
from nni_evanet.data.source import FrameSource, UnreadableVideo
from nni_evanet.data.videos import DataError, Video, relative_path

AUTOMATIC_LIMIT = 20 * 10**9
"""Bytes: a larger cache is made only by `nni-evanet cache`, where its size is seen first."""

OpenSource = Callable[[Video], FrameSource]

logger = logging.getLogger(__name__)


def missing_bytes(folder: Path, origin: Origin, videos: Sequence[Video], *, root: Path) -> int:
    """How much a cache would still grow, at most.

    Raises:
        DataError: the folder holds something else.
    """
    if (folder / HEADER).exists():
        check_origin(folder, origin)
    elif folder.exists() and any(path.name != _LOCK for path in folder.iterdir()):
        raise DataError(f"{folder}: not empty, and not a cache")
    records = read_records(folder)
    new = [v for v in videos if relative_path(v.path, root) not in records]
    return len(new) * origin.slot_bytes


def make_cache(
    folder: Path,
    origin: Origin,
    videos: Sequence[Video],
    *,
    root: Path,
    open_source: OpenSource,
    workers: int,
    limit: int | None = None,
    progress: bool = True,
) -> None:
    """Bring a cache up to date with some videos: those it lacks and those that have changed.

    Several processes may call this at once: one works, the others wait for it. Where it is killed,
    the next call goes on. A video that cannot be read is recorded with the reason.

    Args:
        folder: of the cache; new, empty or a cache.
        origin: what it is for.
        videos: what it must hold; it may hold more.
        root: their `VideoSet.root`.
        open_source: opens a video.
        workers: processes that decode; 0 for this one.
        limit: bytes that it may grow to; None for as many as the disk has.
        progress: whether to show a progress bar.

    Raises:
        DataError: the folder is not such a cache, or cannot be written; it would grow too large.
    """
    if (folder / HEADER).exists():
        check_origin(folder, origin)
        # A complete cache may stand on a disk that cannot be written.
        if not missing_videos(read_records(folder), videos, root):
            return
    with _locked(folder):
        _check_room(folder, missing_bytes(folder, origin, videos, root=root), limit)
        if not (folder / HEADER).exists():
            write_header(folder, origin)
        records = read_records(folder)
        todo = missing_videos(records, videos, root)
        if todo:
            logger.info("cache %s: reading %d videos", folder, len(todo))
            jobs = _assign(records, todo, root)
            _fill(folder, origin, jobs, open_source, workers, progress)


_LOCK = "lock"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder, made if need be; what cannot be written there is a `DataError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / _LOCK, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info("cache %s: waiting for another process that fills it", folder)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise DataError(f"cache {folder}: cannot be written: {error.strerror or error}") from None


def _check_room(folder: Path, wanted: int, limit: int | None) -> None:
    stored = folder / FRAMES
    size = wanted + (stored.stat().st_size if stored.exists() else 0)
    if limit is not None and wanted and size > limit:
        raise DataError(
            f"cache {folder}: {size / 1e9:.1f} GB, more than the {limit / 1e9:.0f} GB that are "
            "made by themselves; make it with nni-evanet cache"
        )
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise DataError(
            f"cache {folder}: needs {wanted / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB left"
        )


def _assign(
    records: dict[str, Record], todo: Sequence[Video], root: Path
) -> list[tuple[Video, Record]]:
    """A slot for each video: its own where it has one, else a new one at the end."""
    new = max((record.slot for record in records.values()), default=-1) + 1
    jobs = []
    for video in todo:
        path = relative_path(video.path, root)
        slot = records[path].slot if path in records else new
        new += path not in records
        jobs.append((video, Record(path=path, stamp=stamp_of(video), slot=slot)))
    return jobs


def _fill(
    folder: Path,
    origin: Origin,
    jobs: Sequence[tuple[Video, Record]],
    open_source: OpenSource,
    workers: int,
    progress: bool,
) -> None:
    from rich.progress import track

    (folder / FRAMES).touch()
    with open(folder / RECORDS, "ab") as journal:
        _end_cut_line(folder / RECORDS, journal)
        total = max(record.slot for _, record in jobs) + 1
        _grow(folder / FRAMES, total * origin.slot_bytes)
        done = _stored(folder, origin, jobs, open_source, workers)
        for record in track(done, "cache", total=len(jobs), disable=not progress):
            journal.write(json.dumps(asdict(record)).encode() + b"\n")
            journal.flush()


def _stored(
    folder: Path,
    origin: Origin,
    jobs: Sequence[tuple[Video, Record]],
    open_source: OpenSource,
    workers: int,
) -> Iterator[Record]:
    work = partial(store, folder, origin, open_source)
    if not workers:
        yield from map(work, jobs)
        return
    for (_, record), result in each(work, jobs, workers=workers):
        yield replace(record, error=str(result)) if isinstance(result, Crashed) else result


def _end_cut_line(path: Path, journal) -> None:  # type: ignore[no-untyped-def]
    """What a killed process left of a line must not spoil the next one."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        journal.write(b"\n")


def _grow(path: Path, size: int) -> None:
    if path.stat().st_size < size:
        os.truncate(path, size)


def store(
    folder: Path, origin: Origin, open_source: OpenSource, job: tuple[Video, Record]
) -> Record:
    """Read a video's window and write it to its slot; the completed record."""
    video, record = job
    try:
        first, frames = window(origin, video, open_source)
    except UnreadableVideo as error:
        return replace(record, error=str(error))
    with open(folder / FRAMES, "r+b") as file:
        file.seek(record.slot * origin.slot_bytes)
        file.write(np.ascontiguousarray(frames).data)
        file.flush()
        # The record must not reach the disk before the frames do.
        os.fdatasync(file.fileno())
    return replace(record, first=first, count=len(frames))


def window(origin: Origin, video: Video, open_source: OpenSource) -> tuple[int, np.ndarray]:
    """The frames to store, (T, side, side, C), and the number of the first of them."""
    fps = Fraction(origin.fps)
    with open_source(video) as source:
        available = source.count(fps)
        count = min(available, origin.slot[0])
        # The centre clips of the video and of the window start at the same frame.
        first = _centre(available, origin.frames) - _centre(count, origin.frames)
        frames = source.read(first, count, fps, origin.side)
    y, x = (_centre(n, origin.size) - _centre(origin.side, origin.size) for n in frames.shape[1:3])
    return first, frames[:, y : y + origin.side, x : x + origin.side]


def _centre(extent: int, part: int) -> int:
    """Where the central part of something begins."""
    return max(extent - part, 0) // 2
