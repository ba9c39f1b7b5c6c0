"""The generated dataset: its files, and that its classes are motions and nothing else."""

import csv
import hashlib
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nni_evanet.data import DataError, load_dataset
from nni_evanet.data import moving_digits as md
from nni_evanet.data.batches import normalise
from nni_evanet.data.clips import ClipDataset, Geometry
from nni_evanet.data.moving_digits import CLASSES, FRAMES, SIZE, make_moving_digits, trajectory

SPLITS = ("train", "val", "test")


def rows(folder: Path, split: str) -> list[dict[str, str]]:
    with open(folder / f"{split}.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_tree(digits: Path) -> None:
    assert len(CLASSES) == len(set(CLASSES)) >= 12
    for split, clips_per_class in zip(SPLITS, (12, 3, 3), strict=True):
        found = rows(digits, split)
        assert list(found[0]) == ["label", "youtube_id", "time_start", "time_end", "split"]
        assert Counter(row["label"] for row in found) == dict.fromkeys(CLASSES, clips_per_class)
        named = {
            digits / split / row["label"] / f"{row['youtube_id']}_{start:06d}_{end:06d}.mp4"
            for row in found
            for start, end in [(int(row["time_start"]), int(row["time_end"]))]
        }
        assert named == set((digits / split).rglob("*.*"))


def test_files_are_h264(digits: Path) -> None:
    path = next((digits / "train").rglob("*.mp4"))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.average_rate == 25
        assert (stream.height, stream.width, stream.frames) == (SIZE, SIZE, FRAMES)
        assert all(packet.is_keyframe for packet in container.demux(stream) if packet.size)


def test_splits_share_no_source_image(digits: Path) -> None:
    images = [{row["youtube_id"] for row in rows(digits, split)} for split in SPLITS]
    assert not images[0] & images[1] and not images[0] & images[2] and not images[1] & images[2]
    clips = Counter(row["youtube_id"] for row in rows(digits, "train"))
    assert max(clips.values()) == md.CLIPS_PER_IMAGE


def test_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    sums = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        make_moving_digits(tmp_path / name, clips_per_class=1, seed=seed, progress=False)
        files = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        contents = [(str(p.relative_to(tmp_path / name)), p.read_bytes()) for p in files]
        sums.append(hashlib.sha256(repr(contents).encode()).hexdigest())
    assert sums[0] == sums[1] != sums[2]


def test_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    make_moving_digits(tmp_path, clips_per_class=1, seed=0, progress=False)
    files = sorted((tmp_path / "train").rglob("*.mp4"))
    content, kept = files[0].read_bytes(), files[1].stat().st_mtime_ns
    files[0].unlink()
    (tmp_path / "train.csv").unlink()
    make_moving_digits(tmp_path, clips_per_class=1, seed=0, progress=False)
    assert files[0].read_bytes() == content
    assert files[1].stat().st_mtime_ns == kept
    assert (tmp_path / "train.csv").is_file()


def test_refuses_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        make_moving_digits(tmp_path, clips_per_class=1, progress=False)
    make_moving_digits(tmp_path / "a", clips_per_class=1, progress=False)
    with pytest.raises(DataError, match="other settings"):
        make_moving_digits(tmp_path / "a", clips_per_class=2, progress=False)
    with pytest.raises(DataError, match="at least 1"):
        make_moving_digits(tmp_path / "b", clips_per_class=0, progress=False)
    with pytest.raises(DataError, match="not a folder"):
        make_moving_digits(tmp_path / "notes.txt", clips_per_class=1, progress=False)


def test_position_is_uniform_at_every_time_of_every_class() -> None:
    starts = list(product(range(0, SIZE, 2), repeat=2))
    for label in range(len(CLASSES)):
        paths = np.stack([trajectory(label, start) for start in starts]).astype(int)
        assert all(sorted(map(tuple, at_time)) == starts for at_time in paths.swapaxes(0, 1))


def test_forgetting_the_order_of_frames_leaves_five_groups() -> None:
    groups = defaultdict(set)
    for label, name in enumerate(CLASSES):
        bag = Counter(map(tuple, trajectory(label, (4, 6)).astype(int)))
        groups[frozenset(bag.items())].add(name)
    assert sorted(len(names) for names in groups.values()) == [2, 2, 2, 2, 4]
    assert {"moving right then up", "moving up then right", "moving left then down"} <= max(
        groups.values(), key=len
    )


def test_brightness_is_the_same_for_every_class(digits: Path) -> None:
    dataset = load_dataset("moving-digits", digits)
    clips = ClipDataset(dataset.videos, GEOMETRY, training=False)
    means: dict[int, list[float]] = defaultdict(list)
    for i in range(len(clips)):
        sample = clips[i]
        means[int(sample.target)].append(sample.clips.float().mean().item())
    by_class = np.array([means[label] for label in sorted(means)])
    error = by_class.std() / np.sqrt(by_class.shape[1])
    assert np.abs(by_class.mean(axis=1) - by_class.mean()).max() < 4 * error


GEOMETRY = Geometry(frames=FRAMES, size=SIZE, margin=1, flip=False)


def frames_of(folder: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    dataset = load_dataset("moving-digits", folder, subset=split)
    clips = ClipDataset(dataset.videos, GEOMETRY, training=False)
    samples = [clips[i] for i in range(len(clips))]
    frames = torch.cat([s.clips for s in samples]).permute(0, 1, 4, 2, 3).flatten(0, 1)
    labels = torch.stack([s.target for s in samples]).repeat_interleave(FRAMES)
    return frames, labels


def test_a_single_frame_does_not_give_the_class_away(digits: Path) -> None:
    torch.manual_seed(0)
    frames, labels = frames_of(digits, "train")
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Flatten(), nn.Linear(64 * 16, len(CLASSES)),
    )  # fmt: skip
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    for _ in range(200):
        chosen = torch.randint(len(frames), (64,))
        loss = F.cross_entropy(network(normalise(frames[chosen])), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()
    right = total = 0
    for split in ("val", "test"):
        frames, labels = frames_of(digits, split)
        with torch.inference_mode():
            right += (network(normalise(frames)).argmax(1) == labels).sum().item()
        total += len(labels)
    assert right / total <= 1.5 / len(CLASSES)
