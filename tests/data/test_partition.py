"""The held-out validation part."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_evanet.data import DataError, Video, read_partition, split_validation, write_partition

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


def test_saved_and_read_back(digits: Path, tmp_path: Path) -> None:
    from nni_evanet.data import load_dataset

    videos = load_dataset("moving-digits", digits).videos
    parts = split_validation(videos, count=20)
    write_partition(tmp_path / "part.json", parts, root=digits)
    assert read_partition(tmp_path / "part.json", videos, root=digits) == parts
    with pytest.raises(DataError, match="not a video of the training split"):
        read_partition(tmp_path / "part.json", parts.training, root=digits)
    (tmp_path / "part.json").write_text("[]")
    with pytest.raises(DataError, match="not a saved validation part"):
        read_partition(tmp_path / "part.json", videos, root=digits)


def test_impossible_sizes() -> None:
    videos = [Video(path=Path(f"{i}.mp4"), labels=(i,), group="one") for i in range(4)]
    for arguments in ({"count": 0}, {"count": 4}, {"fraction": 1.0}, {"fraction": 0.0}):
        with pytest.raises(DataError):
            split_validation(videos, **arguments)
    with pytest.raises(DataError, match="1 recordings"):
        split_validation(videos, count=1)
