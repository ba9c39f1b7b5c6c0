"""The held-out validation part."""

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_evanet.data import (
    DataError,
    Partition,
    Video,
    read_partition,
    split_validation,
    write_partition,
)
from nni_evanet.data.partition import take

LISTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 15)), min_size=8, max_size=80).map(
    lambda pairs: [
        Video(path=Path(f"data/{i}.mp4"), labels=(label,), group=f"g{group}")
        for i, (label, group) in enumerate(pairs)
    ]
)


@given(LISTS, st.floats(0.1, 0.5), st.integers(0, 9))
def test_parts_are_disjoint_complete_and_grouped(videos, fraction, seed) -> None:
    if len({v.group for v in videos}) < 2:
        return
    parts = split_validation(videos, fraction=fraction, seed=seed)
    assert Counter(parts.training + parts.validation) == Counter(videos)
    assert parts.training and parts.validation
    assert not {v.group for v in parts.training} & {v.group for v in parts.validation}
    largest = max(Counter(v.group for v in videos).values())
    assert abs(len(parts.validation) - fraction * len(videos)) <= largest


@given(LISTS, st.integers(0, 9), st.randoms())
def test_the_order_of_the_list_does_not_matter(videos, seed, rng) -> None:
    if len({v.group for v in videos}) < 2:
        return
    shuffled = rng.sample(videos, len(videos))
    first, second = (split_validation(v, count=3, seed=seed) for v in (videos, shuffled))
    assert set(first.validation) == set(second.validation)
    assert list(first.training) == [v for v in videos if v in first.training]


@given(st.lists(st.integers(0, 4), min_size=8, max_size=80), st.floats(0.1, 0.5))
def test_single_videos_are_stratified_exactly(labels, fraction) -> None:
    videos = [
        Video(path=Path(f"{i}.mp4"), labels=(label,), group=str(i))
        for i, label in enumerate(labels)
    ]
    parts = split_validation(videos, fraction=fraction)
    assert len(parts.validation) == max(1, round(fraction * len(videos)))
    sizes = Counter(v.label for v in videos)
    held_out = Counter(v.label for v in parts.validation)
    for label, size in sizes.items():
        share = len(parts.validation) * size / len(videos)
        # A class that would lose its last training video hands its place to another.
        assert abs(held_out[label] - share) < 1 + len([n for n in sizes.values() if n == 1])


def test_digits_share(digits: Path) -> None:
    from nni_evanet.data import load_dataset

    videos = load_dataset("moving-digits", digits).videos
    parts = split_validation(videos, count=48, seed=1)
    assert abs(len(parts.validation) - 48) <= 2
    assert set(Counter(v.label for v in parts.validation).values()) <= {2, 3, 4, 5}
    assert parts != split_validation(videos, count=48, seed=2)


# Chosen by the first version of the rule: a search that is taken up again must hold out the same.
UNCHANGED = {
    ("single", 0): [0, 1, 2, 4, 21, 28, 29, 33, 35],
    ("grouped", 3): [6, 8, 10, 17, 19, 21, 28, 30, 32, 39],
}


@pytest.mark.parametrize(("kind", "seed"), UNCHANGED)
def test_the_choice_never_changes(kind: str, seed: int) -> None:
    videos = [
        Video(
            path=Path(f"{i}.mp4"),
            labels=(i * i % 5,),
            group=str(i if kind == "single" else i * 7 % 11),
        )
        for i in range(40)
    ]
    parts = split_validation(videos, count=9, seed=seed)
    assert [int(v.path.stem) for v in parts.validation] == UNCHANGED[kind, seed]


MULTI_LABEL = st.lists(
    st.tuples(st.sets(st.integers(0, 4), max_size=3), st.integers(0, 15)), min_size=8, max_size=80
).map(
    lambda pairs: [
        Video(path=Path(f"{i}.mp4"), labels=tuple(sorted(labels)), group=f"g{group}")
        for i, (labels, group) in enumerate(pairs)
    ]
)


@given(MULTI_LABEL, st.floats(0.1, 0.5), st.integers(0, 9))
def test_several_labels(videos, fraction, seed) -> None:
    if len({v.group for v in videos}) < 2:
        return
    parts = split_validation(videos, fraction=fraction, seed=seed)
    assert Counter(parts.training + parts.validation) == Counter(videos)
    assert not {v.group for v in parts.training} & {v.group for v in parts.validation}
    largest = max(Counter(v.group for v in videos).values())
    assert abs(len(parts.validation) - fraction * len(videos)) <= largest


def deviation(part, videos) -> float:
    """The sum over the classes of how far their numbers are from their shares."""
    held_out = Counter(label for v in part for label in v.labels)
    everything = Counter(label for v in videos for label in v.labels)
    share = len(part) / len(videos)
    return sum(abs(held_out[label] - share * n) for label, n in everything.items())


def test_each_of_several_labels_is_stratified() -> None:
    rng = random.Random(0)
    # As in Charades: subjects of unlike size, who each do some things more than others.
    likes = [rng.sample(range(30), 12) for _ in range(60)]
    videos = [
        Video(path=Path(f"{i}.mp4"), labels=tuple(sorted({*rng.sample(likes[g], 3)})), group=str(g))
        for i in range(1500)
        for g in [min(rng.randrange(60), rng.randrange(60))]
    ]
    chosen = [split_validation(videos, count=300, seed=seed).validation for seed in range(8)]
    by_chance = []
    for seed in range(8):
        groups = [str(g) for g in random.Random(seed).sample(range(60), 12)]
        by_chance.append([v for v in videos if v.group in groups])
    assert max(deviation(part, videos) for part in chosen) < min(
        deviation(part, videos) for part in by_chance
    )


def test_a_share_is_exact_and_stratified() -> None:
    rng = random.Random(0)
    single = [Video(path=Path(f"{i}.mp4"), labels=(i % 7,), group=str(i % 3)) for i in range(210)]
    taken = take(single, count=70, seed=1)
    assert set(Counter(v.label for v in taken).values()) == {10}
    assert list(taken) == [v for v in single if v in set(taken)]
    assert taken == take(single, count=70, seed=1) != take(single, count=70, seed=2)
    assert take(single, count=210) == tuple(single)
    several = [
        Video(path=Path(f"{i}.mp4"), labels=tuple(sorted(rng.sample(range(9), i % 4))), group="one")
        for i in range(200)
    ]
    for count in (1, 50, 199):
        assert len(take(several, count=count)) == count
    chosen = [deviation(take(several, count=50, seed=seed), several) for seed in range(20)]
    by_chance = [deviation(rng.sample(several, 50), several) for _ in range(20)]
    assert sum(chosen) < 0.6 * sum(by_chance)
    for count in (0, 211):
        with pytest.raises(DataError, match=f"part of {count} videos: expected 1 to 210"):
            take(single, count=count)


def test_saved_and_read_back(digits: Path, tmp_path: Path) -> None:
    from nni_evanet.data import load_dataset

    dataset = load_dataset("moving-digits", digits)
    file = tmp_path / "part.json"
    parts = split_validation(dataset.videos, count=20)
    write_partition(file, parts, root=dataset.root)
    assert read_partition(file, dataset.videos, root=dataset.root) == parts
    assert str(digits) not in file.read_text()
    # Videos that came later are in no part.
    part = Partition(parts.training[1:], parts.validation)
    write_partition(file, part, root=dataset.root)
    assert read_partition(file, dataset.videos, root=dataset.root) == part


def test_a_saved_part_that_does_not_fit(digits: Path, tmp_path: Path) -> None:
    from nni_evanet.data import load_dataset

    dataset = load_dataset("moving-digits", digits)
    file = tmp_path / "part.json"
    parts = split_validation(dataset.videos, count=20)
    write_partition(file, parts, root=digits)
    count, gone = len(parts.validation), min(dataset.relative(v) for v in parts.validation)
    with pytest.raises(DataError) as error:
        read_partition(file, parts.training, root=digits)
    assert str(error.value) == (
        f"{file}: does not fit the videos in {digits}: {count} of its {len(dataset.videos)} are "
        f"not there, the first is {gone}"
    )
    for text in ("[]", "{", '{"format": 2}', '{"format": 1, "training": []}'):
        file.write_text(text)
        with pytest.raises(DataError, match="not a saved validation part") as error:
            read_partition(file, dataset.videos, root=digits)
        assert "\n" not in str(error.value)


def test_impossible_sizes() -> None:
    videos = [Video(path=Path(f"{i}.mp4"), labels=(i,), group="one") for i in range(4)]
    for arguments in ({"count": 0}, {"count": 4}, {"fraction": 1.0}, {"fraction": 0.0}):
        with pytest.raises(DataError):
            split_validation(videos, **arguments)
    with pytest.raises(DataError, match="1 recordings"):
        split_validation(videos, count=1)
