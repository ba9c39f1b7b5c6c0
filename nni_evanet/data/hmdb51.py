"""HMDB51: one folder of avi files a class, and a text file for every class and split.

The official archive's `testTrainMulti_7030_splits` holds 153 files, `<class>_test_split<1-3>.txt`,
of lines ``name.avi id``: 1 is training, 2 is test, 0 is not used in this split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from nni_evanet.data.listing import check_folder, check_found, open_text, subfolders, video_files
from nni_evanet.data.videos import DataError, Video, VideoSet

_SPLIT_FILE = re.compile(r"(?P<class>.+)_test_split(?P<split>[123])\.txt")
_LINE = re.compile(r"(?P<name>\S.*\.\w+)\s+(?P<use>[012])")
_USES = {"train": "1", "test": "2"}


def load_hmdb51(data_path: Path, *, subset: str, split: int = 1) -> VideoSet:
    """List the videos of a subset of a split; the clips of one film form a group.

    Args:
        data_path: a folder with the folder of split files in it, and with the class folders in it
            or in one folder below it.
        subset: "train" or "test".
        split: 1, 2 or 3.

    Raises:
        DataError: nothing there; a split file that cannot be read; classes and folders that are
            not the same.
    """
    check_folder(data_path)
    split_files = _find_split_files(data_path, split)
    root = _find_root(data_path, tuple(split_files))
    folders = {folder.name: folder for folder in subfolders(root)}
    for name, folder in folders.items():
        if name not in split_files and video_files(folder):
            beside = next(iter(split_files.values())).parent
            raise DataError(f"{folder}: no {name}_test_split{split}.txt in {beside}")
    videos, missing, unused = [], [], []
    for label, (name, split_file) in enumerate(split_files.items()):
        if name not in folders:
            raise DataError(f"{split_file}: no folder {name!r} in {root}")
        on_disk = {path.stem: path for path in video_files(folders[name])}
        for file_name, use in _read_split_file(split_file).items():
            path = on_disk.get(Path(file_name).stem)
            if use not in _USES.values():
                unused += [path] if path else []
            if use != _USES[subset]:
                continue
            if path is None:
                missing.append(f"{name}/{file_name}")
            else:
                videos.append(Video(path=path, labels=(label,), group=_film(path.stem, name)))
    check_found(root, videos, missing)
    return VideoSet(
        name="hmdb51",
        subset=subset,
        classes=tuple(split_files),
        videos=tuple(videos),
        root=root,
        missing=tuple(missing),
        unused=tuple(unused),
    )


def _find_split_files(data_path: Path, split: int) -> dict[str, Path]:
    """The split's file of every class, in the order of the classes' names."""
    holders = {
        folder: found
        for folder in (data_path, *subfolders(data_path))
        if (found := dict(_split_files(folder, split)))
    }
    if not holders:
        raise DataError(
            f"{data_path}: no folder with files <class>_test_split{split}.txt in it, "
            "expected testTrainMulti_7030_splits"
        )
    if len(holders) > 1:
        raise DataError(f"{data_path}: split files in {_names(holders)}, expected one such folder")
    (found,) = holders.values()
    return dict(sorted(found.items()))


def _split_files(folder: Path, split: int) -> Iterator[tuple[str, Path]]:
    for path in folder.glob("*_test_split*.txt"):
        match = _SPLIT_FILE.fullmatch(path.name)
        if match and match["split"] == str(split):
            yield match["class"], path


def _find_root(data_path: Path, classes: tuple[str, ...]) -> Path:
    """The folder of the class folders: optical flow may lie in class folders as well."""
    roots = [
        root
        for root in (data_path, *subfolders(data_path))
        if any((root / name).is_dir() and video_files(root / name) for name in classes)
    ]
    if not roots:
        raise DataError(f"{data_path}: no class folder such as {classes[0]!r} with videos in it")
    if len(roots) > 1:
        raise DataError(f"{data_path}: class folders in {_names(roots)}, expected one such folder")
    return roots[0]


def _names(folders: object) -> str:
    return " and ".join(str(folder) for folder in folders)  # type: ignore[attr-defined]


def _read_split_file(path: Path) -> dict[str, str]:
    """What each file is used for; the name as it is written there."""
    uses: dict[str, str] = {}
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                raise DataError(
                    f"{path}, line {number}: {line.strip()[:80]!r}, expected 'name.avi id', "
                    "id one of 0, 1, 2"
                )
            if uses.setdefault(match["name"], match["use"]) != match["use"]:
                raise DataError(f"{path}, line {number}: {match['name']} was {uses[match['name']]}")
    return uses


def _film(stem: str, name: str) -> str:
    """What a file's name says before its class: the film or the YouTube video it is cut from."""
    before = stem.rpartition(f"_{name}_")[0]
    return before or stem
