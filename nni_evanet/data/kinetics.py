"""Kinetics, in the three layouts in which copies of it lie on disks.

- the official csv (``label,youtube_id,time_start,time_end,split``), one a subset or one for all,
  beside the clips, which stand in class folders (named with spaces or with underscores), below a
  folder for the subset or not, or all in one folder;
- a list file of PySlowFast and pytorchvideo: lines ``path label``, without a header;
- class folders without any annotation file.
"""

from __future__ import annotations

import csv
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nni_evanet.data.listing import EXTENSIONS, check_found, open_text, subfolders, video_files
from nni_evanet.data.videos import AbsentData, DataError, Video, VideoSet, relative_path

CSV_FIELDS = ("label", "youtube_id", "time_start", "time_end", "split")
FLOW_FOLDER = "flow"
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
        classes, videos, missing = _from_list(annotation, subset)
    source = annotation or data_path
    if len(classes) < 2:
        raise DataError(f"{source}: 1 class, expected at least 2 ({classes[0]!r})")
    check_found(source, videos, missing)
    return VideoSet(
        name=name,
        subset=subset,
        classes=classes,
        videos=tuple(videos),
        root=_root(annotation.parent if annotation else data_path, videos),
        missing=tuple(missing),
        flip=flip,
        margin=margin,
    )


Listing = tuple[tuple[str, ...], list[Video], list[str]]


def _root(folder: Path, videos: list[Video]) -> Path:
    """The dataset's folder; a list file may name videos that stand elsewhere: what they share."""
    if not any(relative_path(v.path, folder).startswith(os.pardir) for v in videos):
        return folder
    return Path(os.path.commonpath({os.path.abspath(v.path.parent) for v in videos}))


def _find_annotation(folder: Path, subset: str) -> Path | None:
    for name in _SUBSET_NAMES[subset]:
        for file in (f"{name}.csv", f"{name}.txt", f"{name}.list"):
            if (folder / file).is_file():
                return folder / file
    others = [f"{s}.csv" for s in SUBSETS if (folder / f"{s}.csv").is_file()]
    if others:
        raise AbsentData(f"{folder}: no {subset}.csv beside {', '.join(others)}")
    of_all = [path for path in sorted(folder.glob("*.csv")) if _missing_field(path) is None]
    if len(of_all) > 1:
        names = " and ".join(path.name for path in of_all)
        raise DataError(f"{folder}: {names} could both be the annotations, name one of them")
    return of_all[0] if of_all else None


def _first_line(annotation: Path) -> str:
    with open_text(annotation) as file:
        return file.readline().strip()


def _missing_field(annotation: Path) -> str | None:
    """The first of the official csv's fields that is not in the header."""
    found = [field.strip() for field in _first_line(annotation).split(",")]
    return next((field for field in CSV_FIELDS if field not in found), None)


def _is_official(annotation: Path) -> bool:
    """Whether this is the official csv, judging by its first line; an error if it is neither."""
    first = _first_line(annotation)
    if not first:
        raise DataError(f"{annotation}: empty, expected the header {','.join(CSV_FIELDS)}")
    if _LIST_LINE.fullmatch(first):
        return False
    if field := _missing_field(annotation):
        raise DataError(
            f"{annotation}: no field {field!r} in its header {first[:80]!r}, "
            f"expected {','.join(CSV_FIELDS)} (or a list file of lines 'path label')"
        )
    return True


@dataclass(frozen=True)
class _Clip:
    """A row of the official csv; ``stem`` is the file's name without its extension."""

    label: str
    youtube_id: str
    stem: str
    split: str


def _from_csv(annotation: Path, subset: str) -> Listing:
    clips = list(_read_clips(annotation))
    if not clips:
        raise DataError(f"{annotation}: no rows below the header")
    # The training clips name the classes: another subset may lack some.
    training = annotation.with_name("train.csv")
    named_by = training if subset != "train" and training.is_file() else annotation
    known = clips if named_by == annotation else _read_clips(named_by)
    classes = tuple(sorted({clip.label for clip in known}))
    index = {label: i for i, label in enumerate(classes)}
    clips = _of_subset(clips, subset, annotation)
    places = _Places(annotation.parent, subset)
    videos, missing = [], []
    for clip in clips:
        if clip.label not in index:
            raise DataError(f"{annotation}: label {clip.label!r} is not a class of {named_by}")
        path = places.find(clip.label, clip.stem)
        if path is None:
            missing.append(f"{clip.label}/{clip.stem}")
        else:
            videos.append(Video(path=path, labels=(index[clip.label],), group=clip.youtube_id))
    for label in dict.fromkeys(clip.label for clip in clips):
        if places.has_class_folders and not places.has_folder(label):
            raise DataError(f"{annotation}: no folder for its label {label!r} in {places.root}")
    return classes, videos, missing


def _of_subset(clips: list[_Clip], subset: str, annotation: Path) -> list[_Clip]:
    """The rows of a subset: a file may hold all of them, and must not pass one off as another.

    A row whose split is none of the official names belongs to whatever the file is taken for.
    """
    others = {name for s in SUBSETS if s != subset for name in _SUBSET_NAMES[s]}
    kept = [clip for clip in clips if clip.split not in others]
    if not kept:
        raise AbsentData(
            f"{annotation}: no row of the {subset} split, all {len(clips)} say "
            f"{', '.join(sorted({clip.split for clip in clips}))!r}"
        )
    if len(kept) < len(clips):
        logger.info("%s: %d of %d rows are of %s", annotation, len(kept), len(clips), subset)
    return kept


def _read_clips(annotation: Path) -> Iterator[_Clip]:
    with open_text(annotation) as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        for row in reader:
            place = f"{annotation}, line {reader.line_num}"
            for field in CSV_FIELDS[:4]:
                if not row.get(field):
                    raise DataError(f"{place}: field {field!r} is empty")
            try:
                start, end = (int(float(row[f])) for f in ("time_start", "time_end"))
            except (ValueError, OverflowError):
                raise DataError(
                    f"{place}: time_start {row['time_start']!r}, time_end {row['time_end']!r}: "
                    "expected seconds"
                ) from None
            youtube_id = row["youtube_id"]
            stem = f"{youtube_id}_{start:06d}_{end:06d}"
            yield _Clip(row["label"], youtube_id, stem, (row["split"] or "").strip().lower())


class _Places:
    """Where the clips of one subset stand; every folder is listed once."""

    def __init__(self, folder: Path, subset: str) -> None:
        below = [folder / name for name in _SUBSET_NAMES[subset] if (folder / name).is_dir()]
        self.root = below[0] if below else folder
        self._folders = {_plain(entry.name): entry for entry in subfolders(self.root)}
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
            self._files[folder] = {path.stem: path for path in video_files(folder)}
        return self._files[folder]


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _from_list(annotation: Path, subset: str) -> Listing:
    lines = list(_read_list(annotation))
    # The training list names the classes: another subset may lack some.
    training = annotation.with_name(f"train{annotation.suffix}")
    of_other = subset != "train" and annotation.stem in _SUBSET_NAMES[subset]
    named_by = training if of_other and training.is_file() else annotation
    classes = _names_of_labels(lines if named_by == annotation else list(_read_list(named_by)))
    videos, missing = [], []
    for name, label in lines:
        if label >= len(classes):
            raise DataError(f"{annotation}: label {label} is not a class of {named_by}")
        path = annotation.parent / name
        if path.is_file():
            videos.append(Video(path=path, labels=(label,), group=_youtube_id(path)))
        else:
            missing.append(name)
    return classes, videos, missing


def _read_list(annotation: Path) -> Iterator[tuple[str, int]]:
    """Path and label of every line."""
    with open_text(annotation) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            match = _LIST_LINE.fullmatch(line.strip())
            if match is None:
                raise DataError(f"{annotation}, line {number}: expected 'path label', a label >= 0")
            yield match["path"], int(match["label"])


def _names_of_labels(lines: list[tuple[str, int]]) -> tuple[str, ...]:
    """A list file has numbers only: take the folders' names where every label has one of its own.

    Labels between the lowest and the highest that no line has are classes too.
    """
    folders: dict[int, Counter[str]] = {}
    for name, label in lines:
        folder = os.path.basename(os.path.dirname(name))
        folders.setdefault(label, Counter())[folder] += 1
    names = {label: counts.most_common(1)[0][0] for label, counts in folders.items()}
    distinct = len(set(names.values())) == len(folders)
    count = max(folders, default=0) + 1
    return tuple(names.get(i, str(i)) if distinct else str(i) for i in range(count))


def _from_folders(data_path: Path, subset: str) -> Listing:
    roots = {
        s: data_path / n for s in SUBSETS for n in _SUBSET_NAMES[s] if (data_path / n).is_dir()
    }
    if not roots and subset == "train":
        roots = {"train": data_path}
    if subset not in roots:
        raise AbsentData(f"{data_path}: neither {subset}.csv nor a folder {subset}")
    root = roots[subset]
    class_folders = [f for f in subfolders(roots.get("train", root)) if not _is_flow(f)]
    classes = tuple(folder.name for folder in class_folders)
    if not classes:
        raise DataError(f"{root}: neither an annotation file nor class folders")
    videos = []
    for folder in subfolders(root):
        if _is_flow(folder):
            continue
        if folder.name not in classes:
            raise DataError(f"{folder}: not a class of {roots['train']}")
        label = classes.index(folder.name)
        videos += [
            Video(path=path, labels=(label,), group=_youtube_id(path))
            for path in video_files(folder)
        ]
    if not videos:
        raise DataError(f"{root}: no video ({', '.join(EXTENSIONS)}) in its folders")
    return classes, videos, []


def _is_flow(folder: Path) -> bool:
    """Whether this is the folder of optical flow, which may stand among the class folders."""
    return folder.name == FLOW_FOLDER and not video_files(folder)


def _youtube_id(path: Path) -> str:
    match = _CLIP_NAME.fullmatch(path.stem)
    return match["youtube_id"] if match else path.stem
