"""Kinetics, in the three layouts in which copies of it lie on disks.

- the official csv (``label,youtube_id,time_start,time_end,split``) beside the clips, which stand in
  class folders (named with spaces or with underscores), below a folder for the subset or not, or
  all in one folder;
- a list file of PySlowFast and pytorchvideo: lines ``path label``, without a header;
- class folders without any annotation file.
"""

from __future__ import annotations

import csv
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from nni_evanet.data.videos import DataError, Video, VideoSet

CSV_FIELDS = ("label", "youtube_id", "time_start", "time_end", "split")
EXTENSIONS = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v")
SUBSETS = ("train", "val", "test")
# Copies call the validation split by either name.
_SUBSET_NAMES = {"train": ("train",), "val": ("val", "validate", "validation"), "test": ("test",)}
_CLIP_NAME = re.compile(r"(?P<youtube_id>.+)_\d{6}_\d{6}")
_LIST_LINE = re.compile(r"(?P<path>\S.*?)[ \t,]+(?P<label>\d+)\s*")

logger = logging.getLogger(__name__)


def load_kinetics(data_path: Path, *, subset: str) -> VideoSet:
    """List the videos of a subset; clips of one YouTube video form a group.

    Args:
        data_path: a folder with a csv file a subset, or with class folders; or one csv or list
            file, which then is the subset.
        subset: "train", "val" or "test".

    Raises:
        DataError: nothing there, or not in a known layout.
    """
    return load_layout(data_path, subset=subset, name="kinetics")


def load_layout(
    data_path: Path, *, subset: str, name: str, flip: bool = True, margin: float = 8 / 7
) -> VideoSet:
    """`load_kinetics` for any dataset that is laid out like Kinetics."""
    if not data_path.exists():
        raise DataError(f"{data_path}: no such file or folder")
    annotation = data_path if data_path.is_file() else _find_annotation(data_path, subset)
    if annotation is None:
        classes, videos, missing = _from_folders(data_path, subset)
    elif _is_official(annotation):
        classes, videos, missing = _from_csv(annotation, subset)
    else:
        classes, videos, missing = _from_list(annotation)
    if len(classes) < 2:
        raise DataError(f"{annotation or data_path}: 1 class, expected at least 2 ({classes[0]!r})")
    if not videos:
        raise DataError(f"{annotation or data_path}: none of its {len(missing)} videos is there")
    if missing:
        logger.warning(
            "%s: %d of %d videos are not on the disk, the first is %s",
            annotation, len(missing), len(missing) + len(videos), missing[0],
        )  # fmt: skip
    return VideoSet(
        name=name,
        subset=subset,
        classes=classes,
        videos=tuple(videos),
        missing=tuple(missing),
        flip=flip,
        margin=margin,
    )


Listing = tuple[tuple[str, ...], list[Video], list[str]]


def _find_annotation(folder: Path, subset: str) -> Path | None:
    for name in _SUBSET_NAMES[subset]:
        for file in (f"{name}.csv", f"{name}.txt", f"{name}.list"):
            if (folder / file).is_file():
                return folder / file
    others = [f"{s}.csv" for s in SUBSETS if (folder / f"{s}.csv").is_file()]
    if others:
        raise DataError(f"{folder}: no {subset}.csv beside {', '.join(others)}")
    return None


def _is_official(annotation: Path) -> bool:
    """Whether this is the official csv, judging by its first line; an error if it is neither."""
    with _open(annotation) as file:
        first = file.readline().strip().lstrip("\ufeff")
    if not first:
        raise DataError(f"{annotation}: empty, expected the header {','.join(CSV_FIELDS)}")
    if _LIST_LINE.fullmatch(first):
        return False
    found = [field.strip() for field in first.split(",")]
    for field in CSV_FIELDS:
        if field not in found:
            raise DataError(
                f"{annotation}: no field {field!r} in its header {first[:80]!r}, "
                f"expected {','.join(CSV_FIELDS)} (or a list file of lines 'path label')"
            )
    return True


def _open(path: Path):  # type: ignore[no-untyped-def]
    return open(path, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _from_csv(annotation: Path, subset: str) -> Listing:
    rows = list(_read_rows(annotation))
    if not rows:
        raise DataError(f"{annotation}: no rows below the header")
    # The training file names the classes: another subset may lack some.
    training = annotation.with_name("train.csv")
    named_by = training if subset != "train" and training.is_file() else annotation
    known = rows if named_by == annotation else list(_read_rows(named_by))
    classes = tuple(sorted({label for label, _, _ in known}))
    index = {label: i for i, label in enumerate(classes)}
    places = _Places(annotation.parent, subset)
    videos, missing = [], []
    for label, youtube_id, stem in rows:
        if label not in index:
            raise DataError(f"{annotation}: label {label!r} is not a class of {named_by}")
        path = places.find(label, stem)
        if path is None:
            missing.append(f"{label}/{stem}")
        else:
            videos.append(Video(path=path, labels=(index[label],), group=youtube_id))
    for label in dict.fromkeys(label for label, _, _ in rows):
        if places.has_class_folders and not places.has_folder(label):
            raise DataError(f"{annotation}: no folder for its label {label!r} in {places.root}")
    return classes, videos, missing


def _read_rows(annotation: Path) -> Iterator[tuple[str, str, str]]:
    """Yield label, YouTube id and the file's name without its extension."""
    with _open(annotation) as file:
        for line, row in enumerate(csv.DictReader(file, skipinitialspace=True), start=2):
            for field in CSV_FIELDS[:4]:
                if not row.get(field):
                    raise DataError(f"{annotation}, line {line}: field {field!r} is empty")
            try:
                start, end = (int(float(row[f])) for f in ("time_start", "time_end"))
            except ValueError:
                raise DataError(
                    f"{annotation}, line {line}: time_start {row['time_start']!r}, time_end "
                    f"{row['time_end']!r}: expected seconds"
                ) from None
            youtube_id = row["youtube_id"]
            yield row["label"], youtube_id, f"{youtube_id}_{start:06d}_{end:06d}"


class _Places:
    """Where the clips of one subset stand; every folder is listed once."""

    def __init__(self, folder: Path, subset: str) -> None:
        below = [folder / name for name in _SUBSET_NAMES[subset] if (folder / name).is_dir()]
        self.root = below[0] if below else folder
        self._folders = {_plain(entry.name): entry for entry in _subfolders(self.root)}
        self._files: dict[Path, dict[str, Path]] = {}

    @property
    def has_class_folders(self) -> bool:
        return bool(self._folders) and not self._listing(self.root)

    def has_folder(self, label: str) -> bool:
        return _plain(label) in self._folders

    def find(self, label: str, stem: str) -> Path | None:
        folder = self._folders.get(_plain(label), self.root)
        return self._listing(folder).get(stem)

    def _listing(self, folder: Path) -> dict[str, Path]:
        if folder not in self._files:
            self._files[folder] = {path.stem: path for path in _video_files(folder)}
        return self._files[folder]


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _subfolders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(e.path) for e in entries if e.is_dir() and not e.name.startswith("."))


def _video_files(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        found = [e.path for e in entries if e.name.lower().endswith(EXTENSIONS)]
    return sorted(Path(path) for path in found if not Path(path).name.startswith("."))


def _from_list(annotation: Path) -> Listing:
    videos, missing = [], []
    with _open(annotation) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            match = _LIST_LINE.fullmatch(line.strip())
            if match is None:
                raise DataError(f"{annotation}, line {number}: expected 'path label', a label >= 0")
            path = annotation.parent / match["path"]
            if path.is_file():
                videos.append(
                    Video(path=path, labels=(int(match["label"]),), group=_youtube_id(path))
                )
            else:
                missing.append(match["path"])
    if not videos:
        return ("0", "1"), videos, missing
    return _names_of_labels(videos), videos, missing


def _names_of_labels(videos: list[Video]) -> tuple[str, ...]:
    """A list file has numbers only: take the folders' names where these agree with them."""
    folders: dict[int, set[str]] = {}
    for video in videos:
        folders.setdefault(video.label, set()).add(video.path.parent.name)
    names = {label: min(found) for label, found in folders.items() if len(found) == 1}
    distinct = len(set(names.values())) == len(folders)
    count = max(folders) + 1
    return tuple(names.get(i, str(i)) if distinct else str(i) for i in range(count))


def _from_folders(data_path: Path, subset: str) -> Listing:
    roots = {
        s: data_path / n for s in SUBSETS for n in _SUBSET_NAMES[s] if (data_path / n).is_dir()
    }
    if not roots and subset == "train":
        roots = {"train": data_path}
    if subset not in roots:
        raise DataError(f"{data_path}: neither {subset}.csv nor a folder {subset}")
    root = roots[subset]
    classes = tuple(folder.name for folder in _subfolders(roots.get("train", root)))
    if not classes:
        raise DataError(f"{root}: neither an annotation file nor class folders")
    videos = []
    for folder in _subfolders(root):
        if folder.name not in classes:
            raise DataError(f"{folder}: not a class of {roots['train']}")
        label = classes.index(folder.name)
        videos += [
            Video(path=path, labels=(label,), group=_youtube_id(path))
            for path in _video_files(folder)
        ]
    if not videos:
        raise DataError(f"{root}: no video ({', '.join(EXTENSIONS)}) in its folders")
    return classes, videos, []


def _youtube_id(path: Path) -> str:
    match = _CLIP_NAME.fullmatch(path.stem)
    return match["youtube_id"] if match else path.stem
