"""Clips and batches of them."""

import logging
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from nni_evanet.data import Action, DataError, Video, load_dataset, split_validation
from nni_evanet.data.batches import EvaluationBatches, TrainBatches, normalise
from nni_evanet.data.clips import ClipDataset, Geometry, Views, mirrored


def videos_of(*paths: Path) -> list[Video]:
    return [Video(path=p, labels=(i % 2,), group=p.stem) for i, p in enumerate(paths)]


def geometry(frames: int, *, fps: int = 25) -> Geometry:
    return Geometry(frames=frames, size=32, fps=Fraction(fps), margin=1, flip=False)


def centre(path: Path, shape: Geometry) -> np.ndarray:
    clips = ClipDataset(videos_of(path), shape, training=False)[0].clips
    assert clips is not None and len(clips) == 1
    return clips[0].numpy()


def test_centre_clip_is_consecutive_source_frames(tmp_path, write_video, decode) -> None:
    path = write_video(tmp_path / "a.mp4", frames=60)
    assert np.array_equal(centre(path, geometry(16)), decode(path)[22:38, :, 8:40])


def test_training_clip_is_consecutive_source_frames(tmp_path, write_video, decode) -> None:
    path = write_video(tmp_path / "a.mp4", frames=40, width=40)
    frames = decode(path)
    dataset = ClipDataset(videos_of(path), geometry(16), training=True)
    found = set()
    for draw in range(60):
        clip = dataset[draw, 0].clips[0].numpy()
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
    assert training[3, 0].clips.shape == (1, 12, 32, 32, 3)
    one = write_video(tmp_path / "one.mp4", frames=1)
    assert np.array_equal(centre(one, geometry(3)), decode(one)[[0, 0, 0], :, 8:40])


def test_scaling_and_flipping(tmp_path, write_video) -> None:
    path = write_video(tmp_path / "a.mp4", frames=8, height=64, width=96)
    shape = Geometry(frames=4, size=28)
    assert shape.short_side == 32
    dataset = ClipDataset(videos_of(path), shape, training=True)
    assert dataset[0, 0].clips.shape == (1, 4, 28, 28, 3)
    whole = ClipDataset(videos_of(path), Geometry(frames=4, size=32), training=False)
    assert whole[0].clips.shape == (1, 4, 32, 32, 3)


def test_half_of_the_training_clips_are_mirrored(tmp_path, write_video) -> None:
    path = write_video(tmp_path / "a.mp4", frames=4, height=32, width=32)
    plain = centre(path, Geometry(frames=4, size=32, margin=1))
    dataset = ClipDataset(videos_of(path), Geometry(frames=4, size=32, margin=1), training=True)
    seen = [dataset[draw, 0].clips[0].numpy() for draw in range(20)]
    mirrors = [np.array_equal(clip, plain[:, :, ::-1]) for clip in seen]
    assert {np.array_equal(clip, plain) for clip in seen} == set(mirrors) == {True, False}
    assert all(m != np.array_equal(c, plain) for m, c in zip(mirrors, seen, strict=True))


def test_mirrored_flow_points_the_other_way() -> None:
    flow = torch.tensor([[[[0, 10], [200, 20]]]], dtype=torch.uint8)
    assert mirrored(flow).tolist() == [[[[55, 20], [255, 10]]]]


@pytest.mark.parametrize("crops", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(32, 48), (48, 32)])
def test_views_cover_the_video_from_edge_to_edge(
    tmp_path, write_video, decode, crops, height, width
) -> None:
    path = write_video(tmp_path / "a.mp4", frames=31, height=height, width=width)
    frames = decode(path)
    views = Views(clips=4, crops=crops)
    clips = ClipDataset(videos_of(path), geometry(8), training=False, views=views)[0].clips
    places = [0, 8, 16] if crops == 3 else [8]
    expected = [
        frames[t : t + 8, :, p : p + 32] if width > height else frames[t : t + 8, p : p + 32]
        for t in (0, 8, 15, 23)
        for p in places
    ]
    assert np.array_equal(clips.numpy(), np.stack(expected))


def test_views_of_a_short_video_are_all_the_same(tmp_path, write_video) -> None:
    path = write_video(tmp_path / "a.mp4", frames=3)
    dataset = ClipDataset(videos_of(path), geometry(8), training=False, views=Views(clips=3))
    clips = dataset[0].clips
    assert clips.shape == (3, 8, 32, 32, 3) and torch.equal(clips[0], clips[2])
    with pytest.raises(DataError, match="2 clips x 2 crops"):
        Views(clips=2, crops=2)


def test_multi_label_targets(tmp_path, write_video, decode) -> None:
    """A training clip has the labels of the actions that it overlaps, a video all of its own."""
    path = write_video(tmp_path / "a.mp4", frames=50, width=32)
    actions = (Action(label=1, start=0, end=0.5), Action(label=3, start=1.5, end=9))
    video = Video(path=path, labels=(1, 3), group="a", actions=actions)
    whole = ClipDataset([video], geometry(5), training=False, classes=4)[0].target
    assert whole.tolist() == [0, 1, 0, 1]
    dataset = ClipDataset([video], geometry(5), training=True, classes=4)
    frames = decode(path)
    for draw in range(40):
        sample = dataset[draw, 0]
        (first,) = (t for t in range(46) if np.array_equal(frames[t], sample.clips[0, 0]))
        begin, end = first / 25, (first + 5) / 25
        assert sample.target.tolist() == [0, begin < 0.5, 0, end > 1.5]


@pytest.fixture
def digit_videos(digits: Path) -> tuple[Video, ...]:
    return split_validation(load_dataset("moving-digits", digits).videos, count=32).validation


SMALL = Geometry(frames=8, size=24, margin=1.1)


def batches_of(videos, *, seed=0, **options):
    dataset = ClipDataset(videos, SMALL, training=True, seed=seed)
    return list(TrainBatches(dataset, batch_size=6, iterations=8, **options))


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
    for options in ({"workers": 2}, {}):
        for (clips, labels), (others, other_labels) in zip(
            reference, batches_of(digit_videos, **options), strict=True
        ):
            assert torch.equal(clips, others) and torch.equal(labels, other_labels)
    assert not torch.equal(reference[0][0], batches_of(digit_videos, seed=1)[0][0])


def test_training_goes_on_where_it_stopped(digit_videos) -> None:
    whole, rest = batches_of(digit_videos), batches_of(digit_videos, first=5)
    assert len(rest) == 3
    for (clips, labels), (others, other_labels) in zip(whole[5:], rest, strict=True):
        assert torch.equal(clips, others) and torch.equal(labels, other_labels)


def test_ranks_share_each_batch(digit_videos) -> None:
    whole = batches_of(digit_videos)
    ranks = [batches_of(digit_videos, rank=rank, world=3) for rank in range(3)]
    for (clips, labels), *parts in zip(whole, *ranks, strict=True):
        assert torch.equal(clips, torch.cat([c for c, _ in parts]))
        assert torch.equal(labels, torch.cat([y for _, y in parts]))
    with pytest.raises(DataError, match="batch size 6: not a multiple of 4"):
        batches_of(digit_videos, world=4)


def test_ranks_share_the_evaluation(digit_videos) -> None:
    dataset = ClipDataset(digit_videos, SMALL, training=False)
    seen = [
        index
        for rank in range(3)
        for *_, indices in EvaluationBatches(dataset, batch_size=4, rank=rank, world=3)
        for index in indices.tolist()
    ]
    assert sorted(seen) == list(range(len(digit_videos)))


def test_workers_die_with_their_process(digits: Path) -> None:
    code = f"""
import os, signal, torch, multiprocessing
from nni_evanet.data import load_dataset
from nni_evanet.data.batches import TrainBatches
from nni_evanet.data.clips import ClipDataset, Geometry
videos = load_dataset("moving-digits", {str(digits)!r}).videos
dataset = ClipDataset(videos, Geometry(frames=8, size=24), training=True)
batches = iter(TrainBatches(dataset, batch_size=2, iterations=10**6, workers=2))
next(batches)
print(*[p.pid for p in multiprocessing.active_children()], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    # Not a pipe that the workers would keep open.
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    workers = [int(pid) for pid in out.split()]
    assert len(workers) == 2
    gone = psutil.wait_procs([psutil.Process(p) for p in workers if psutil.pid_exists(p)], 20)[1]
    assert gone == []


def test_evaluation_sees_every_video_once_in_order(digit_videos) -> None:
    dataset = ClipDataset(digit_videos, SMALL, training=False)
    batches = list(EvaluationBatches(dataset, batch_size=10))
    assert torch.cat([y for _, y, _ in batches]).tolist() == [v.label for v in digit_videos]
    assert torch.equal(batches[0][0][3].permute(1, 2, 3, 0), dataset[3].clips[0])


def test_normalise() -> None:
    clips = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1, 1)
    assert torch.allclose(normalise(clips).flatten(), torch.tensor([-1.0, 1.0, -0.6]))
    batch = torch.zeros(2, 4, 5, 6, 3, dtype=torch.uint8).permute(0, 4, 1, 2, 3)
    assert normalise(batch).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.fixture
def broken(tmp_path: Path, write_video) -> list[Video]:
    """24 videos; the fifth is no video at all."""
    paths = [write_video(tmp_path / f"{i:02d} &![];#().mp4", frames=10) for i in range(24)]
    paths[5].write_bytes(b"not a video")
    return videos_of(*paths)


@pytest.mark.parametrize("options", [{}, {"workers": 2}])
def test_an_unreadable_file_is_replaced_counted_and_named_once(broken, caplog, options) -> None:
    dataset = ClipDataset(broken, geometry(4), training=True)
    with caplog.at_level(logging.WARNING):
        batches = list(TrainBatches(dataset, batch_size=8, iterations=9, **options))
    assert [len(labels) for _, labels in batches] == [8] * 9
    assert list(dataset.unreadable) == [str(broken[5].path)]
    assert caplog.text.count("unreadable video") == 1


def test_an_unreadable_file_is_left_out_of_the_evaluation(broken) -> None:
    dataset = ClipDataset(broken, geometry(4), training=False)
    batches = list(EvaluationBatches(dataset, batch_size=8))
    assert sum(len(labels) for _, labels, _ in batches) == 23
    assert torch.cat([indices for *_, indices in batches]).tolist() == [
        i for i in range(24) if i != 5
    ]
    assert len(dataset.unreadable) == 1


def test_too_many_unreadable_files_are_an_error(broken) -> None:
    broken[7].path.write_bytes(broken[8].path.read_bytes()[:300])
    broken[9].path.unlink()
    dataset = ClipDataset(broken, geometry(4), training=True)
    with pytest.raises(DataError, match=r"of .* are unreadable, more than 5%") as error:
        list(TrainBatches(dataset, batch_size=8, iterations=9))
    assert "\n" not in str(error.value)


def test_a_file_cut_off_before_its_stated_end_is_unreadable(tmp_path, write_video) -> None:
    options = {"movflags": "faststart"}
    path = write_video(tmp_path / "a.mp4", frames=200, container_options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    dataset = ClipDataset(videos_of(path), geometry(100), training=False)
    assert dataset[0].clips is None and dataset[0].failures


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
