"""Charades: untrimmed videos of daily life, each with any number of actions and their times.

pytorchvideo's `Charades` reads a list of frames in a format of its own, not the official csv, and
knows no action's time; so the official files are read here.
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from nni_evanet.data.listing import check_folder, check_found, open_text, subfolders, video_files
from nni_evanet.data.videos import AbsentData, Action, DataError, Video, VideoSet

FPS = Fraction(24)
"""Of the official folders of pictures, RGB and flow."""
_FIELDS = ("id", "subject", "actions")
_VIDEO_FOLDERS = ("Charades_v1_480", "Charades_v1")
_PICTURE_FOLDER = "Charades_v1_rgb"
_CLASS_LINE = re.compile(r"(?P<id>c\d{3})\s+(?P<name>\S.*)")

logger = logging.getLogger(__name__)


def load_charades(data_path: Path, *, subset: str) -> VideoSet:
    """List the videos of a subset; the videos of one subject (one person's home) form a group.

    A video may show no action at all: it has no label, and counts as a negative of every class.

    Args:
        data_path: a folder with the official csv files and class list, or with a folder of these,
            and with the videos in `Charades_v1_480` or `Charades_v1`, or their pictures at 24
            frames a second in `Charades_v1_rgb`.
        subset: "train" or "test".

    Raises:
        DataError: nothing there; a file that is not in its official format.
    """
    check_folder(data_path)
    annotation = _find_file(data_path, f"Charades_v1_{subset}.csv")
    classes = _read_classes(_find_file(data_path, "Charades_v1_classes.txt"))
    root, paths = _find_videos(data_path)
    fps = FPS if root.name == _PICTURE_FOLDER else None
    videos, missing, reversed_times = [], [], 0
    for row in _read_rows(annotation, {key: label for label, key in enumerate(classes)}):
        path = paths.get(row.name)
        if path is None:
            missing.append(row.name)
            continue
        reversed_times += row.reversed_times
        videos.append(
            Video(
                path=path,
                labels=tuple(sorted({action.label for action in row.actions})),
                group=row.subject,
                actions=row.actions,
                fps=fps,
            )
        )
    check_found(annotation, videos, missing)
    if reversed_times:
        logger.warning("%s: %d actions end before they start: swapped", annotation, reversed_times)
    return VideoSet(
        name="charades",
        subset=subset,
        classes=tuple(classes.values()),
        videos=tuple(videos),
        root=root,
        missing=tuple(missing),
        multi_label=True,
    )


def _find_file(data_path: Path, name: str) -> Path:
    for folder in (data_path, *subfolders(data_path)):
        if (folder / name).is_file():
            return folder / name
    raise AbsentData(f"{data_path}: no {name} in it or in a folder of it")


def _read_classes(path: Path) -> dict[str, str]:
    """Names by id, in the order of the labels."""
    classes: dict[str, str] = {}
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            match = _CLASS_LINE.fullmatch(line.strip())
            if match is None or match["id"] != f"c{len(classes):03}":
                raise DataError(
                    f"{path}, line {number}: {line.strip()[:80]!r}, expected "
                    f"'c{len(classes):03} name of the class'"
                )
            classes[match["id"]] = match["name"]
    if len(classes) < 2:
        raise DataError(f"{path}: {len(classes)} classes, expected at least 2")
    return classes


def _find_videos(data_path: Path) -> tuple[Path, dict[str, Path]]:
    for name in _VIDEO_FOLDERS:
        if (data_path / name).is_dir():
            return data_path / name, {p.stem: p for p in video_files(data_path / name)}
    pictures = data_path / _PICTURE_FOLDER
    if pictures.is_dir():
        return pictures, {folder.name: folder for folder in subfolders(pictures)}
    raise DataError(
        f"{data_path}: no folder of videos, expected {', '.join(_VIDEO_FOLDERS)} or "
        f"{_PICTURE_FOLDER}"
    )


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A line of the csv; ``reversed_times`` of its actions ended before they started."""

    name: str
    subject: str
    actions: tuple[Action, ...]
    reversed_times: int


def _read_rows(annotation: Path, labels: dict[str, int]) -> Iterator[_Row]:
    with open_text(annotation) as file:
        reader = csv.DictReader(file)
        for field in _FIELDS:
            if field not in (reader.fieldnames or ()):
                raise DataError(
                    f"{annotation}: no column {field!r} in its header, "
                    f"expected at least {','.join(_FIELDS)}"
                )
        for row in reader:
            # The descriptions hold line breaks: the reader knows the line.
            place = f"{annotation}, line {reader.line_num}"
            for field in _FIELDS:
                if row[field] is None or (field != "actions" and not row[field]):
                    raise DataError(f"{place}: column {field!r} is empty")
            parts = [_read_action(p, labels, place) for p in row["actions"].split(";") if p.strip()]
            yield _Row(
                name=row["id"],
                subject=row["subject"],
                actions=tuple(action for action, _ in parts),
                reversed_times=sum(swapped for _, swapped in parts),
            )


def _read_action(text: str, labels: dict[str, int], place: str) -> tuple[Action, bool]:
    """An action, and whether its times had to be swapped."""
    try:
        name, first, second = text.split()
        start, end = float(first), float(second)
    except ValueError:
        raise DataError(f"{place}: action {text!r}, expected 'c092 11.90 21.20'") from None
    if name not in labels:
        raise DataError(f"{place}: action {name!r} is not in the list of classes")
    if not (0 <= start < float("inf") and 0 <= end < float("inf")):
        raise DataError(f"{place}: action {text!r}, expected times in seconds, 0 or more")
    return Action(label=labels[name], start=min(start, end), end=max(start, end)), end < start
