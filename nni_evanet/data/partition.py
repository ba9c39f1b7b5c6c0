"""The validation part that a search holds out of its training split."""

from __future__ import annotations

import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nni_evanet.data.videos import DataError, Video


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

    Stratified: a class's share of the validation part is its share of all videos. Grouped: videos
    of one group stay together, so that where a group holds several videos the size and the shares
    are met as closely as whole groups allow, the size never by more than a group. The result
    depends on the set of videos and the seed, not on the order of the list; the parts keep the
    list's order.

    Args:
        videos: the training split.
        count: videos to hold out; exactly one of ``count`` and ``fraction`` is given.
        fraction: share of the videos to hold out, within (0, 1).
        seed: of the choice.

    Raises:
        DataError: the part asked for is empty, or leaves nothing to train on.
    """
    wanted = _wanted(len(videos), count, fraction)
    groups: dict[str, list[Video]] = defaultdict(list)
    for video in videos:
        groups[video.group].append(video)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    held_out = _choose({name: groups[name] for name in order}, _places(videos, wanted), wanted)
    validation = tuple(v for v in videos if v.group in held_out)
    training = tuple(v for v in videos if v.group not in held_out)
    if not training:
        raise DataError(
            f"cannot hold {wanted} of {len(videos)} videos out for validation: they come from "
            f"{len(groups)} recordings, and training needs at least one of these"
        )
    return Partition(training, validation)


def _wanted(total: int, count: int | None, fraction: float | None) -> int:
    if (count is None) == (fraction is None):
        raise TypeError("give either count or fraction")
    if fraction is not None and not 0 < fraction < 1:
        raise DataError(f"validation fraction {fraction}: expected a number between 0 and 1")
    wanted = max(1, round(fraction * total)) if fraction is not None else count
    if not wanted or not 0 < wanted < total:
        raise DataError(f"validation part of {wanted} videos: expected 1 to {total - 1} of {total}")
    return wanted


def _places(videos: Sequence[Video], wanted: int) -> Counter[tuple[int, ...]]:
    """Divide the wanted number among the classes by largest remainders."""
    sizes = Counter(v.labels for v in videos)
    # A class keeps a video to train on wherever the number allows it.
    spare = 1 if wanted <= len(videos) - len(sizes) else 0
    room = {labels: size - spare for labels, size in sorted(sizes.items())}
    shares = {labels: wanted * size / len(videos) for labels, size in sizes.items()}
    places = Counter({labels: min(int(shares[labels]), room[labels]) for labels in room})
    by_remainder = sorted(room, key=lambda labels: places[labels] - shares[labels])
    while (left := wanted - places.total()) > 0:
        for labels in [c for c in by_remainder if places[c] < room[c]][:left]:
            places[labels] += 1
    return places


def _choose(
    groups: dict[str, list[Video]], places: Counter[tuple[int, ...]], wanted: int
) -> set[str]:
    chosen: dict[str, int] = {}
    demands = {name: Counter(v.labels for v in members) for name, members in groups.items()}
    for name, demand in demands.items():
        if demand <= places:
            places -= demand
            chosen[name] = demand.total()
    # What is left open fits no group exactly. Take the group of which most fits, as long as that
    # brings the part nearer to the wanted number.
    while True:
        missing = wanted - sum(chosen.values())
        nearer = [n for n in groups if n not in chosen and demands[n].total() <= 2 * missing]
        if not nearer:
            break
        best = max(nearer, key=lambda n: 2 * (demands[n] & places).total() - demands[n].total())
        places -= demands[best]
        chosen[best] = demands[best].total()
    return set(chosen) or {min(groups, key=lambda name: len(groups[name]))}


def write_partition(path: Path, partition: Partition, *, root: Path) -> None:
    """Save which videos are held out, as JSON; paths relative to the dataset's folder ``root``."""
    held_out = [os.path.relpath(v.path, root) for v in partition.validation]
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    temporary.write_text(json.dumps({"validation": held_out}, indent=0))
    os.replace(temporary, path)


def read_partition(path: Path, videos: Sequence[Video], *, root: Path) -> Partition:
    """Divide videos the way a saved file says.

    Raises:
        DataError: the file cannot be read, or names videos that are not in the list.
    """
    try:
        held_out = set(json.loads(path.read_text())["validation"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a saved validation part ({error!r})") from None
    names = {v: os.path.relpath(v.path, root) for v in videos}
    if unknown := held_out - set(names.values()):
        raise DataError(f"{path}: {min(unknown)} is not a video of the training split")
    return Partition(
        tuple(v for v in videos if names[v] not in held_out),
        tuple(v for v in videos if names[v] in held_out),
    )
