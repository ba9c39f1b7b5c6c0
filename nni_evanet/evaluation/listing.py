"""The videos of an evaluation, under names that are the same for RGB and for optical flow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from nni_evanet.data import DataSource, VideoSet
from nni_evanet.data.exclusion import read_exclusions

_VALIDATION_IS_OFFICIAL = ("kinetics", "moments")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a network is evaluated on.

    Args:
        videos: to read, of one modality.
        names: of these videos, by which they are compared.
        absent: names of those without optical flow, each with the reason.
    """

    videos: VideoSet
    names: tuple[str, ...]
    absent: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """Of the names and the labels."""
        labels = [video.labels for video in self.videos.videos]
        listed = repr((self.names, labels, sorted(self.absent)))
        return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def official_subset(dataset: str) -> str:
    """What results on a dataset are reported on: the test data of Kinetics have no labels."""
    return "val" if dataset in _VALIDATION_IS_OFFICIAL else "test"


def list_videos(data: DataSource, subset: str) -> Listing:
    """List a subset. A video is named by its RGB path, also where its flow is what is read.

    Raises:
        DataError: as `DataSource.load`.
    """
    videos = data.load(subset)
    if data.modality == "rgb":
        return Listing(videos=videos, names=_names(videos), absent={})
    # An exclusion list may name flow by its own path: names are matched before it is applied.
    every = replace(data, exclude=None)
    flow = every.load(subset) if data.exclude else videos
    names = _names(replace(every, modality="rgb").load(subset))
    without = set(flow.missing)
    with_flow = (name for name in names if name not in without)
    name_of = {video.path: name for video, name in zip(flow.videos, with_flow, strict=True)}
    excluded = read_exclusions(data.exclude).paths.get(subset, ()) if data.exclude else ()
    return Listing(
        videos=videos,
        names=tuple(name_of[video.path] for video in videos.videos),
        absent={n: "no optical flow" for n in names if n in without and n not in excluded},
    )


def _names(videos: VideoSet) -> tuple[str, ...]:
    return tuple(videos.relative(video) for video in videos.videos)
