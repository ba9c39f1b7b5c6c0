"""Clips and batches of them."""

import logging
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from nni_evanet.data import DataError, Video, load_dataset, split_validation
from nni_evanet.data.batches import evaluation_batches, normalise, train_batches
from nni_evanet.data.clips import ClipDataset, Geometry


def videos_of(*paths: Path) -> list[Video]:
    return [Video(path=p, labels=(i % 2,), group=p.stem) for i, p in enumerate(paths)]


def geometry(frames: int, *, fps: int = 25) -> Geometry:
    return Geometry(frames=frames, size=32, fps=Fraction(fps), margin=1, flip=False)


def centre(path: Path, shape: Geometry) -> np.ndarray:
    clip = ClipDataset(videos_of(path), shape, training=False)[0].clip
    assert clip is not None
    return clip.numpy()


def test_centre_clip_is_consecutive_source_frames(tmp_path, write_video, decode) -> None:
    path = write_video(tmp_path / "a.mp4", frames=60)
    assert np.array_equal(centre(path, geometry(16)), decode(path)[22:38, :, 8:40])


def test_training_clip_is_consecutive_source_frames(tmp_path, write_video, decode) -> None:
    path = write_video(tmp_path / "a.mp4", frames=40, width=40)
    frames = decode(path)
    dataset = ClipDataset(videos_of(path), geometry(16), training=True)
    found = set()
    for draw in range(60):
        clip = dataset[draw, 0].clip.numpy()
        places = [
            (t, x)
            for t in range(25)
            for x in range(9)
            if np.array_equal(frames[t : t + 16, :, x : x + 32], clip)
        ]
        assert len(places) == 1
        found.add(places[0])
    assert {t for t, _ in found} >= {0, 24} or len({t for t, _ in found}) > 15
    assert len({x for _, x in found}) == 9


@pytest.mark.parametrize(("source", "wanted"), [(30, 25), (24, 25), (50, 25), (25, 10)])
def test_resampling_takes_the_nearest_frame(tmp_path, write_video, decode, source, wanted) -> None:
    path = write_video(tmp_path / "a.mp4", frames=2 * source, fps=source)
    frames = decode(path)
    clip = centre(path, geometry(12, fps=wanted))
    first = (2 * wanted - 12) // 2
    exact = [Fraction(first + k, wanted) * source for k in range(12)]
    nearest = [-((Fraction(1, 2) - time) // 1) for time in exact]  # a tie takes the earlier
    assert np.array_equal(clip, frames[nearest][:, :, 8:40])


def test_a_short_video_is_looped(tmp_path, write_video, decode) -> None:
    path = write_video(tmp_path / "a.mp4", frames=5)
    expected = decode(path)[[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1], :, 8:40]
    assert np.array_equal(centre(path, geometry(12)), expected)
    training = ClipDataset(videos_of(path), geometry(12), training=True)
    assert training[3, 0].clip.shape == (12, 32, 32, 3)
    one = write_video(tmp_path / "one.mp4", frames=1)
    assert np.array_equal(centre(one, geometry(3)), decode(one)[[0, 0, 0], :, 8:40])


def test_scaling_and_flipping(tmp_path, write_video) -> None:
    path = write_video(tmp_path / "a.mp4", frames=8, height=64, width=96)
    shape = Geometry(frames=4, size=28)
    assert shape.short_side == 32
    dataset = ClipDataset(videos_of(path), shape, training=True)
    assert dataset[0, 0].clip.shape == (4, 28, 28, 3)
    dataset.load()
    assert dataset._decoded[0].shape == (8, 32, 48, 3)
    ramp = np.broadcast_to(np.arange(48, dtype=np.uint8)[:, None], (8, 32, 48, 3))
    dataset._decoded[0] = np.ascontiguousarray(ramp)
    slopes = {
        int(c[0, 0, 1, 0]) - int(c[0, 0, 0, 0]) for c in (dataset[d, 0].clip for d in range(20))
    }
    assert slopes == {1, -1}


@pytest.fixture
def digit_videos(digits: Path) -> tuple[Video, ...]:
    return split_validation(load_dataset("moving-digits", digits).videos, count=32).validation


SMALL = Geometry(frames=8, size=24, margin=1.1)


def batches_of(videos, *, seed=0, workers=0, load=False):
    dataset = ClipDataset(videos, SMALL, training=True, seed=seed)
    if load:
        dataset.load()
    return list(train_batches(dataset, batch_size=6, iterations=8, workers=workers))


def test_batches(digit_videos) -> None:
    batches = batches_of(digit_videos)
    assert len(batches) == 8
    for clips, labels in batches:
        assert clips.shape == (6, 3, 8, 24, 24) and clips.dtype == torch.uint8
        assert clips.is_contiguous(memory_format=torch.channels_last_3d)
        assert labels.shape == (6,) and labels.dtype == torch.int64
    # Every video once before any twice.
    drawn = torch.cat([labels for _, labels in batches])[: len(digit_videos)]
    assert sorted(drawn.tolist()) == sorted(v.label for v in digit_videos)


def test_batches_depend_on_the_seed_alone(digit_videos) -> None:
    reference = batches_of(digit_videos)
    for options in ({"workers": 2}, {"load": True}, {}):
        for (clips, labels), (others, other_labels) in zip(
            reference, batches_of(digit_videos, **options), strict=True
        ):
            assert torch.equal(clips, others) and torch.equal(labels, other_labels)
    assert not torch.equal(reference[0][0], batches_of(digit_videos, seed=1)[0][0])


def test_evaluation_sees_every_video_once_in_order(digit_videos) -> None:
    dataset = ClipDataset(digit_videos, SMALL, training=False)
    batches = list(evaluation_batches(dataset, batch_size=10))
    assert torch.cat([y for _, y in batches]).tolist() == [v.label for v in digit_videos]
    assert torch.equal(batches[0][0][3].permute(1, 2, 3, 0), dataset[3].clip)


def test_normalise() -> None:
    clips = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1, 1)
    assert torch.allclose(normalise(clips).flatten(), torch.tensor([-1.0, 1.0, -0.6]))
    batch = torch.zeros(2, 4, 5, 6, 3, dtype=torch.uint8).permute(0, 4, 1, 2, 3)
    assert normalise(batch).is_contiguous(memory_format=torch.channels_last_3d)


def test_memory_is_estimated_before_it_is_used(digit_videos) -> None:
    dataset = ClipDataset(digit_videos, SMALL, training=True)
    size = sum(32 * 26 * 26 * 3 for _ in digit_videos)
    assert dataset.fits_in_memory(limit=size + 1) and not dataset.fits_in_memory(limit=size)
    dataset.load()
    assert dataset.in_memory and sum(a.nbytes for a in dataset._decoded.values()) == size


@pytest.fixture
def broken(tmp_path: Path, write_video) -> list[Video]:
    """24 videos; the fifth is no video at all."""
    paths = [write_video(tmp_path / f"{i:02d} &![];#().mp4", frames=10) for i in range(24)]
    paths[5].write_bytes(b"not a video")
    return videos_of(*paths)


@pytest.mark.parametrize("options", [{}, {"workers": 2}, {"load": True}])
def test_an_unreadable_file_is_replaced_counted_and_named_once(broken, caplog, options) -> None:
    dataset = ClipDataset(broken, geometry(4), training=True)
    with caplog.at_level(logging.WARNING):
        if options.pop("load", False):
            dataset.load()
        batches = list(train_batches(dataset, batch_size=8, iterations=9, **options))
    assert [len(labels) for _, labels in batches] == [8] * 9
    assert list(dataset.unreadable) == [str(broken[5].path)]
    assert caplog.text.count("unreadable video") == 1


def test_an_unreadable_file_is_left_out_of_the_evaluation(broken) -> None:
    dataset = ClipDataset(broken, geometry(4), training=False)
    batches = list(evaluation_batches(dataset, batch_size=8))
    assert sum(len(labels) for _, labels in batches) == 23
    assert len(dataset.unreadable) == 1


@pytest.mark.parametrize("load", [False, True])
def test_too_many_unreadable_files_are_an_error(broken, load) -> None:
    broken[7].path.write_bytes(broken[8].path.read_bytes()[:300])
    broken[9].path.unlink()
    dataset = ClipDataset(broken, geometry(4), training=True)
    with pytest.raises(DataError, match=r"of .* are unreadable, more than 5%") as error:
        if load:
            dataset.load()
        list(train_batches(dataset, batch_size=8, iterations=9))
    assert "\n" not in str(error.value)


def test_a_file_cut_off_before_its_stated_end_is_unreadable(tmp_path, write_video) -> None:
    options = {"movflags": "faststart"}
    path = write_video(tmp_path / "a.mp4", frames=200, container_options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    dataset = ClipDataset(videos_of(path), geometry(100), training=False)
    assert dataset[0].clip is None and dataset[0].failures


@pytest.mark.parametrize("container", ["mkv", "ts", "mov"])
def test_containers(tmp_path, write_video, decode, container) -> None:
    path = write_video(tmp_path / f"a.{container}", frames=50)
    assert np.array_equal(centre(path, geometry(10)), decode(path)[20:30, :, 8:40])


def test_a_file_cut_off_where_no_length_is_stated_is_as_long_as_what_is_left(
    tmp_path, write_video
) -> None:
    path = write_video(tmp_path / "a.mkv", frames=200)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    assert centre(path, geometry(100)).shape == (100, 32, 32, 3)


def test_listing_a_dataset_imports_no_torch(digits: Path) -> None:
    code = f"""
import sys
from nni_evanet.data import load_dataset
load_dataset("moving-digits", {str(digits)!r})
heavy = {{"torch", "sklearn", "rich", "av", "pytorchvideo"}} & set(sys.modules)
assert not heavy, heavy
import nni_evanet.data.batches
heavy = {{"torchvision", "sklearn", "rich", "pytorch_lightning"}} & set(sys.modules)
assert not heavy, heavy
import pytorchvideo.data
assert pytorchvideo.data.Kinetics
"""
    subprocess.run([sys.executable, "-c", code], check=True)
