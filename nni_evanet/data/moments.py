"""Moments in Time: three-second clips in class folders, two csv files and a list of the classes."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from nni_evanet.data.listing import check_folder, check_found, open_text, subfolders, video_files
from nni_evanet.data.videos import DataError, Video, VideoSet

_CATEGORIES = "moments_categories.txt"
_FILES = {"train": ("trainingSet.csv", "training"), "val": ("validationSet.csv", "validation")}
# `yt-<YouTube id>_<second>.mp4` and the like: clips of one source differ in the second.
_SECOND = re.compile(r"_\d+$")


def load_moments(data_path: Path, *, subset: str) -> VideoSet:
    """List the videos of a subset; clips of one source video form a group.

    Args:
        data_path: a folder with `moments_categories.txt`, `trainingSet.csv`,
            `validationSet.csv`, and the class folders in `training` and `validation`.
        subset: "train" or "val".

    Raises:
        DataError: nothing there; a file in the wrong format; classes and folders that are not the
            same.
    """
    check_folder(data_path)
    csv_name, folder_name = _FILES[subset]
    annotation, root = data_path / csv_name, data_path / folder_name
    categories = data_path / _CATEGORIES
    labels = _read_categories(categories)
    check_folder(root)
    folders = {folder.name: folder for folder in subfolders(root)}
    for name, folder in folders.items():
        if name not in labels:
            raise DataError(f"{folder}: {name!r} is not a class of {categories}")
    on_disk: dict[str, dict[str, Path]] = {}
    videos, missing = [], []
    for line, (name, clip) in enumerate(_read_clips(annotation), start=1):
        if name not in on_disk:
            if name not in labels:
                raise DataError(
                    f"{annotation}, line {line}: {name!r} is not a class of {categories}"
                )
            if name not in folders:
                raise DataError(f"{annotation}, line {line}: no folder {name!r} in {root}")
            on_disk[name] = {path.name: path for path in video_files(folders[name])}
        path = on_disk[name].get(clip)
        if path is None:
            missing.append(f"{folder_name}/{name}/{clip}")
        else:
            group = _SECOND.sub("", path.stem)
            videos.append(Video(path=path, labels=(labels[name],), group=group))
    check_found(annotation, videos, missing)
    return VideoSet(
        name="moments",
        subset=subset,
        classes=tuple(labels),
        videos=tuple(videos),
        root=data_path,
        missing=tuple(missing),
    )


def _read_categories(path: Path) -> dict[str, int]:
    """Labels by class name, in the order of the labels."""
    labels: dict[str, int] = {}
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            name, _, index = line.strip().rpartition(",")
            if not name or not index.strip().isdecimal():
                raise DataError(
                    f"{path}, line {number}: {line.strip()[:80]!r}, expected 'name,index'"
                )
            if name in labels:
                raise DataError(f"{path}, line {number}: class {name!r} again")
            labels[name] = int(index)
    if len(labels) < 2 or sorted(labels.values()) != list(range(len(labels))):
        raise DataError(
            f"{path}: {len(labels)} classes, expected at least 2 with the indices 0 to the number "
            "of classes less one"
        )
    return dict(sorted(labels.items(), key=lambda item: item[1]))


def _read_clips(annotation: Path) -> list[tuple[str, str]]:
    """Class and file name of every row: its first column; what follows is not needed."""
    clips = []
    with open_text(annotation) as file:
        for line, row in enumerate(csv.reader(file), start=1):
            name, _, clip = row[0].strip().partition("/") if row else ("", "", "")
            if not name or not clip or "/" in clip:
                raise DataError(
                    f"{annotation}, line {line}: {','.join(row)[:80]!r}, expected 'class/clip.mp4' "
                    "in the first column, and no header"
                )
            clips.append((name, clip))
    if not clips:
        raise DataError(f"{annotation}: no rows, expected 'class/clip.mp4,...'")
    return clips
