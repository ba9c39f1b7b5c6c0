"""What all datasets need to list what is on the disk; every folder is read once."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from nni_evanet.data.videos import AbsentData, DataError

EXTENSIONS = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v")

logger = logging.getLogger(__name__)


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, hidden ones left out."""
    with os.scandir(folder) as entries:
        return sorted(Path(e.path) for e in entries if e.is_dir() and not e.name.startswith("."))


def video_files(folder: Path) -> list[Path]:
    """The encoded videos in a folder, told by their extensions, sorted."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if not e.name.startswith(".")]
    return [folder / name for name in sorted(names) if name.lower().endswith(EXTENSIONS)]


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Read an annotation file; names that are not UTF-8 become what the file system calls them."""
    if not path.is_file():
        raise AbsentData(f"{path}: no such file")
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        try:
            yield file
        except csv.Error as error:
            raise DataError(f"{path}: not a csv file ({error})") from None


def check_folder(path: Path) -> None:
    """Refuse a dataset's path that is no folder."""
    if not path.is_dir():
        raise AbsentData(f"{path}: no such folder")


def check_found(source: Path, found: Collection[object], missing: Sequence[str]) -> None:
    """Say which annotated videos are not on the disk.

    Raises:
        AbsentData: none is.
    """
    if not found:
        raise AbsentData(f"{source}: none of its {len(missing)} videos is there")
    if missing:
        total = len(missing) + len(found)
        logger.warning(
            "%s: %d of %d videos are not on the disk, the first is %s",
            source, len(missing), total, missing[0],
        )  # fmt: skip
