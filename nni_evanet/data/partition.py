"""The validation part that a search holds out of its training split."""

from __future__ import annotations

import heapq
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nni_evanet.atomic import replacing
from nni_evanet.data.videos import DataError, Video, relative_path

# Whatever a trial's seed.
PARTITION_SEED = 0
_FORMAT = 1
# Stands for the class of the videos that have no label: they are divided like any class.
_NO_LABEL = (-1,)


@dataclass(frozen=True)
class Partition:
    """A training split, divided. No group has videos in both parts."""

    training: tuple[Video, ...]
    validation: tuple[Video, ...]


def split_validation(
    videos: Sequence[Video],
    *,
    count: int | None = None,
    fraction: float | None = None,
    seed: int = 0,
) -> Partition:
    """Divide a training split into a training and a validation part.

    Stratified: a class's share of the validation part is its share of all videos; where videos have
    several labels, that holds for each class by itself. Grouped: videos of one group stay together,
    so that where a group holds several videos the size and the shares are met as closely as whole
    groups allow, the size never by more than a group. The result depends on the set of videos and
    the seed, not on the order of the list; the parts keep the list's order.

    Args:
        videos: the training split.
        count: videos to hold out; exactly one of ``count`` and ``fraction`` is given.
        fraction: share of the videos to hold out, within (0, 1).
        seed: of the choice.

    Raises:
        DataError: the part asked for is empty, or leaves nothing to train on.
    """
    wanted = _wanted(len(videos), count, fraction)
    held_out = _select(videos, wanted, key=lambda video: video.group, seed=seed)
    validation = tuple(v for v in videos if v.group in held_out)
    training = tuple(v for v in videos if v.group not in held_out)
    if not training:
        raise DataError(
            f"cannot hold {wanted} of {len(videos)} videos out for validation: they come from "
            f"{len(held_out)} recordings, and training needs at least one of these"
        )
    return Partition(training, validation)


def take(videos: Sequence[Video], *, count: int, seed: int = 0) -> tuple[Video, ...]:
    """A part of some videos, stratified as in `split_validation`, in the list's order.

    Groups do not matter here: nothing that is left out is used.

    Raises:
        DataError: ``count`` is not between 1 and the number of videos.
    """
    if not 0 < count <= len(videos):
        raise DataError(f"part of {count} videos: expected 1 to {len(videos)}")
    if count == len(videos):
        return tuple(videos)
    taken = _select(videos, count, key=lambda video: str(video.path), seed=seed)
    return tuple(v for v in videos if str(v.path) in taken)


def _wanted(total: int, count: int | None, fraction: float | None) -> int:
    if (count is None) == (fraction is None):
        raise TypeError("give either count or fraction")
    if fraction is not None and not 0 < fraction < 1:
        raise DataError(f"validation fraction {fraction}: expected a number between 0 and 1")
    wanted = max(1, round(fraction * total)) if fraction is not None else count
    if not wanted or not 0 < wanted < total:
        raise DataError(f"validation part of {wanted} videos: expected 1 to {total - 1} of {total}")
    return wanted


def _select(
    videos: Sequence[Video], wanted: int, *, key: Callable[[Video], str], seed: int
) -> set[str]:
    """The names of the groups, as ``key`` gives them, that make up a stratified part."""
    groups: dict[str, list[Video]] = defaultdict(list)
    for video in videos:
        groups[key(video)].append(video)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    return _choose([_Group(name, groups[name]) for name in order], _places(videos, wanted), wanted)


class _Group:
    """Videos that stay together: how many, and how many of each class."""

    __slots__ = ("demand", "name", "size")

    def __init__(self, name: str, members: list[Video]) -> None:
        self.name = name
        self.size = len(members)
        self.demand = _count_labels(members)

    def fits(self, places: Counter[int]) -> bool:
        return all(places[label] >= n for label, n in self.demand.items())

    def gain(self, places: Counter[int]) -> int:
        """By how much the group brings the classes' numbers nearer to those wanted."""
        return sum(2 * min(n, places[label]) - n for label, n in self.demand.items())

    def fill(self, places: Counter[int]) -> None:
        for label, n in self.demand.items():
            places[label] = max(0, places[label] - n)


def _count_labels(videos: Sequence[Video]) -> Counter[int]:
    return Counter(label for video in videos for label in video.labels or _NO_LABEL)


def _places(videos: Sequence[Video], wanted: int) -> Counter[int]:
    """How often each class should appear in the part: its share, by largest remainders."""
    sizes = _count_labels(videos)
    total = round(wanted * sizes.total() / len(videos))
    # A class keeps a video to train on wherever the number allows it.
    spare = 1 if total <= sizes.total() - len(sizes) else 0
    room = {label: size - spare for label, size in sorted(sizes.items())}
    shares = {label: wanted * size / len(videos) for label, size in sizes.items()}
    places = Counter({label: min(int(shares[label]), room[label]) for label in room})
    by_remainder = sorted(room, key=lambda label: places[label] - shares[label])
    while (left := total - places.total()) > 0:
        for label in [c for c in by_remainder if places[c] < room[c]][:left]:
            places[label] += 1
    return places


def _choose(groups: list[_Group], places: Counter[int], wanted: int) -> set[str]:
    missing = wanted
    chosen: set[str] = set()
    left = []
    for group in groups:
        if group.size <= missing and group.fits(places):
            group.fill(places)
            missing -= group.size
            chosen.add(group.name)
        else:
            left.append(group)
    # What is left open fits no group exactly. Take the group that fits best, the first of several,
    # as long as that brings the part nearer to the wanted number. Gains only ever shrink, so a
    # group whose gain still holds when it comes to the top of the heap is the best.
    heap = [(-group.gain(places), i) for i, group in enumerate(left) if group.size <= 2 * missing]
    heapq.heapify(heap)
    while heap:
        loss, i = heapq.heappop(heap)
        group = left[i]
        if group.size > 2 * missing:
            continue
        now = -group.gain(places)
        if now > loss:
            heapq.heappush(heap, (now, i))
            continue
        group.fill(places)
        missing -= group.size
        chosen.add(group.name)
    return chosen or {min(groups, key=lambda group: group.size).name}


def search_parts(
    videos: Sequence[Video], *, training_clips: int | None, validation_clips: int
) -> Partition:
    """What a search trains on and what it holds out: the same for all trials of all searches.

    Args:
        videos: the training subset.
        training_clips: how many of the others to train on; None for all.
        validation_clips: how many to hold out.

    Raises:
        DataError: there are not that many.
    """
    parts = split_validation(videos, count=validation_clips, seed=PARTITION_SEED)
    if training_clips is None:
        return parts
    training = take(parts.training, count=training_clips, seed=PARTITION_SEED)
    return Partition(training, parts.validation)


def write_partition(path: Path, partition: Partition, *, root: Path) -> None:
    """Save both parts, as JSON; paths relative to ``root``, the `VideoSet`'s."""
    names = {
        part: [relative_path(video.path, root) for video in getattr(partition, part)]
        for part in ("training", "validation")
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"format": _FORMAT, **names}, indent=0))


def read_partition(path: Path, videos: Sequence[Video], *, root: Path) -> Partition:
    """Divide videos the way a saved file says; those that it does not name are in no part.

    Raises:
        DataError: the file cannot be read, or names videos that are not in the list.
    """
    try:
        saved = json.loads(path.read_text())
        if saved["format"] != _FORMAT:
            raise ValueError(f"format {saved['format']!r}, expected {_FORMAT}")
        training, validation = set(saved["training"]), set(saved["validation"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a saved validation part ({error!r})") from None
    names = [relative_path(video.path, root) for video in videos]
    if unknown := (training | validation).difference(names):
        raise DataError(
            f"{path}: does not fit the videos in {root}: {len(unknown)} of its "
            f"{len(training | validation)} are not there, the first is {min(unknown)}"
        )
    named = list(zip(videos, names, strict=True))
    return Partition(
        tuple(video for video, name in named if name in training),
        tuple(video for video, name in named if name in validation),
    )
