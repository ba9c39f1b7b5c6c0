"""Lists of videos to leave out, as `nni-evanet check-data` writes them."""

from __future__ import annotations

import csv
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from nni_evanet.data.listing import open_text
from nni_evanet.data.videos import DataError, VideoSet

FIELDS = ("path", "subset", "problem", "detail")
# The first two name nothing that is loaded; a short video is looped, not left out.
NOT_EXCLUDED = ("missing", "unlabeled", "too short")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exclusions:
    """A list that was read: what it excludes of each subset, by paths below `VideoSet.root`."""

    file: Path
    paths: dict[str, frozenset[str]]

    def names_some_of(self, videos: VideoSet) -> bool:
        listed = self.paths.get(videos.subset, frozenset())
        return any(videos.relative(video) in listed for video in videos.videos)


def read_exclusions(path: Path) -> Exclusions:
    """Read a csv file with the header ``path,subset,problem,detail``.

    Raises:
        DataError: no such file; another format.
    """
    paths: dict[str, set[str]] = {}
    with open_text(path) as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if tuple(header) != FIELDS:
            raise DataError(
                f"{path}: header {','.join(header)[:80]!r}, expected {','.join(FIELDS)}, "
                "a file of `nni-evanet check-data`"
            )
        for row in reader:
            if len(row) != len(FIELDS):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(row)} columns, expected {len(FIELDS)}"
                )
            name, subset, problem, _ = row
            if problem not in NOT_EXCLUDED:
                paths.setdefault(subset, set()).add(name)
    return Exclusions(path, {subset: frozenset(names) for subset, names in paths.items()})


def without(videos: VideoSet, exclusions: Exclusions) -> VideoSet:
    """Leave out what a list names, and log how many videos that were.

    Raises:
        DataError: the list names videos of this subset, and none that is there: it was made for
            other data; or it names them all.
    """
    listed = exclusions.paths.get(videos.subset, frozenset())
    names = [videos.relative(video) for video in videos.videos]
    kept = tuple(v for v, name in zip(videos.videos, names, strict=True) if name not in listed)
    # A video that was deleted since the list was written is left out already.
    gone = {Path(name).stem for name in videos.missing}
    unknown = sorted(n for n in listed.difference(names) if Path(n).stem not in gone)
    if listed and len(unknown) == len(listed):
        raise DataError(
            f"{exclusions.file}: none of the {len(listed)} {videos.subset} videos that it names is "
            f"in {videos.root}, the first is {unknown[0]}: was it made for other data?"
        )
    if not kept:
        raise DataError(f"{exclusions.file}: leaves no video of {videos.root} ({videos.subset})")
    if unknown:
        logger.warning(
            "%s: names %d %s videos that are not there, the first is %s",
            exclusions.file, len(unknown), videos.subset, unknown[0],
        )  # fmt: skip
    left_out = len(videos.videos) - len(kept)
    logger.info("%s: %d %s videos left out", exclusions.file, left_out, videos.subset)
    return replace(videos, videos=kept)
