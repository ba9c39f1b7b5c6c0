"""The clip cache: its pixels are the videos', it resumes, and it knows when it is stale."""

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from trees import flow_tree, hmdb51_tree, kinetics_tree, write_video

from nni_evanet.cli import main
from nni_evanet.data import DataError, DataSource, Video, VideoSet
from nni_evanet.data.cache import FRAMES, RECORDS, ClipCache, Origin, read_records
from nni_evanet.data.cache_making import make_cache, missing_bytes
from nni_evanet.data.clips import ClipDataset, Geometry
from nni_evanet.data.opening import open_video
from nni_evanet.data.source import UnreadableVideo


def video_set(folder: Path, **changes) -> VideoSet:
    videos = tuple(
        Video(path=path, labels=(i % 2,), group=path.stem)
        for i, path in enumerate(sorted(folder.glob("*.mp4")))
    )
    values = {"name": "kinetics", "subset": "train", "classes": ("a", "b"), "videos": videos}
    return VideoSet(**values | {"root": folder} | changes)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Videos shorter than a clip, shorter than a slot and longer, of several shapes."""
    folder = tmp_path_factory.mktemp("videos")
    for i, (frames, size) in enumerate(
        [
            (3, (48, 64)),
            (8, (48, 64)),
            (11, (50, 48)),
            (13, (64, 46)),
            (30, (36, 62)),
            (41, (64, 64)),
        ]
    ):
        write_video(folder / f"{i}.mp4", frames=frames, brightness=30 * i, size=size)
    return folder


def made(folder, videos, geometry, **options):
    origin = Origin.of(videos, geometry)
    options = {"workers": 0, "progress": False, "open_source": open_video} | options
    make_cache(folder, origin, videos.videos, root=videos.root, **options)
    return ClipCache(folder, origin, videos.videos, root=videos.root)


@pytest.mark.parametrize("frames", [7, 8])
@pytest.mark.parametrize("size", [27, 32])
def test_the_evaluation_clip_is_that_of_the_video(clips, tmp_path, frames, size):
    videos, geometry = video_set(clips), Geometry(frames=frames, size=size)
    cache = made(tmp_path, videos, geometry)
    plain = ClipDataset(videos.videos, geometry, training=False)
    cached = ClipDataset(videos.videos, geometry, training=False, open_source=cache.open)
    for index in range(len(plain)):
        assert torch.equal(plain[index].clips, cached[index].clips)


def test_flow_is_cached_too(tmp_path):
    tree = hmdb51_tree(tmp_path / "data")
    flow_tree(tree / "flow", DataSource(dataset="hmdb51", data_path=tree).load("train"))
    videos = DataSource(dataset="hmdb51", data_path=tree, modality="flow").load("train")
    geometry = Geometry(frames=6, size=16)
    cache = made(tmp_path / "cache", videos, geometry)
    plain = ClipDataset(videos.videos, geometry, training=False)
    cached = ClipDataset(videos.videos, geometry, training=False, open_source=cache.open)
    assert all(torch.equal(plain[i].clips, cached[i].clips) for i in range(len(plain)))
    assert cached[0].clips.shape == (1, 6, 16, 16, 2)


def test_a_training_clip_is_a_part_of_the_video(clips, tmp_path):
    videos, geometry = video_set(clips), Geometry(frames=8, size=24, flip=False)
    cache = made(tmp_path, videos, geometry)
    dataset = ClipDataset(videos.videos, geometry, training=True, open_source=cache.open)
    index = len(videos.videos) - 1
    with open_video(videos.videos[index]) as source:
        whole = source.read(0, 41, geometry.fps, geometry.short_side)
    places = set()
    for draw in range(40):
        clip = dataset[draw, index].clips[0].numpy()
        found = [
            (t, y, x)
            for t in range(34)
            for y in range(4)
            for x in range(4)
            if np.array_equal(whole[t : t + 8, y : y + 24, x : x + 24], clip)
        ]
        places |= {found[0]}
        assert len(found) == 1
    # The window has 12 of the 41 frames, around the middle.
    assert {t for t, _, _ in places} == {14, 15, 16, 17, 18}
    assert {y for _, y, _ in places} == {x for *_, x in places} == {0, 1, 2, 3}


def test_the_source_knows_where_it_starts(clips, tmp_path):
    videos, geometry = video_set(clips), Geometry(frames=8, size=24)
    cache = made(tmp_path, videos, geometry)
    with cache.open(videos.videos[-1]) as source:
        assert source.start == Fraction(14, 25) and source.count(geometry.fps) == 12


def test_an_unreadable_video_says_so_every_time(clips, tmp_path):
    copy = tmp_path / "videos"
    copy.mkdir()
    for path in clips.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "1.mp4").write_bytes(b"nothing")
    videos, geometry = video_set(copy), Geometry(frames=8, size=24)
    cache = made(tmp_path / "cache", videos, geometry)
    with pytest.raises(UnreadableVideo):
        cache.open(videos.videos[1])
    dataset = ClipDataset(
        videos.videos, geometry, training=True, open_source=cache.open, max_unreadable=0.2
    )
    assert dataset[0, 1].failures[0][0] == 1


def test_stale_videos_are_refused_and_only_they_are_read_again(clips, tmp_path):
    copy = tmp_path / "videos"
    copy.mkdir()
    for path in clips.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    videos, geometry = video_set(copy), Geometry(frames=8, size=24)
    folder = tmp_path / "cache"
    made(folder, videos, geometry)
    before = read_records(folder)
    write_video(copy / "2.mp4", frames=20, brightness=200)
    origin = Origin.of(videos, geometry)
    with pytest.raises(DataError, match=r"1 of 6 videos are not in it as they are now.*2\.mp4"):
        ClipCache(folder, origin, videos.videos, root=copy)
    opened = []
    made(folder, videos, geometry, open_source=lambda v: opened.append(v.path) or open_video(v))
    assert [path.name for path in opened] == ["2.mp4"]
    after = read_records(folder)
    assert {name for name in after if after[name] != before[name]} == {"2.mp4"}
    assert after["2.mp4"].slot == before["2.mp4"].slot


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 9}, "was made for frames 8, not 9"),
        ({"size": 28}, "was made for size 24, not 28"),
        ({"fps": Fraction(10)}, "was made for fps 25, not 10"),
    ],
)
def test_other_clips_are_refused(clips, tmp_path, changes, message):
    videos = video_set(clips)
    made(tmp_path, videos, Geometry(frames=8, size=24))
    with pytest.raises(DataError, match=message):
        made(tmp_path, videos, Geometry(**{"frames": 8, "size": 24} | changes))


def test_a_folder_of_something_else_is_left_alone(clips, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DataError, match="not empty, and not a cache"):
        made(tmp_path, video_set(clips), Geometry(frames=8, size=24))
    assert [path.name for path in tmp_path.iterdir()] in (
        ["thesis.tex"],
        ["thesis.tex", "lock"],
        ["lock", "thesis.tex"],
    )


def test_too_large_to_be_made_by_itself(clips, tmp_path):
    videos, geometry = video_set(clips), Geometry(frames=8, size=24)
    size = 6 * 12 * 27 * 27 * 3
    assert missing_bytes(tmp_path, Origin.of(videos, geometry), videos.videos, root=clips) == size
    with pytest.raises(DataError, match="make it with nni-evanet cache"):
        made(tmp_path, videos, geometry, limit=size - 1)
    made(tmp_path, videos, geometry, limit=size)


def cache_command(tree, out, *more):
    command = ["cache", "--dataset", "kinetics", "--data-path", tree, "--out", out]
    command += ["--frames", "8", "--size", "24", "--validation-clips", "3", "--workers", "1"]
    return [str(word) for word in [*command, *more]]


def test_the_command_states_the_size_first(tmp_path):
    tree = kinetics_tree(tmp_path / "data")
    result = CliRunner().invoke(main, cache_command(tree, tmp_path / "cache"))
    assert result.exit_code == 0, result.output
    assert "12 videos of up to 0.03 MB each; up to 0.00 GB" in result.stdout
    assert len(read_records(tmp_path / "cache")) == 12
    # A trial that asks for fewer of the same finds them all.
    some = CliRunner().invoke(
        main, cache_command(tree, tmp_path / "cache", "--training-clips", "4")
    )
    assert some.exit_code == 0 and "up to 0.00 GB" in some.stdout


def test_no_room_is_one_line(tmp_path, monkeypatch):
    tree = kinetics_tree(tmp_path / "data")
    huge = cache_command(tree, tmp_path / "cache", "--frames", "10000000", "--size", "4000")
    result = CliRunner().invoke(main, huge)
    assert result.exit_code == 2 and "GB left" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_killed_in_the_middle_it_resumes(tmp_path):
    tree = kinetics_tree(tmp_path / "data", train=12)
    whole, folder = tmp_path / "whole", tmp_path / "cache"
    assert CliRunner().invoke(main, cache_command(tree, whole)).exit_code == 0
    program = Path(sys.executable).with_name("nni-evanet")
    process = subprocess.Popen([program, *cache_command(tree, folder)], stdout=subprocess.PIPE)
    while not (folder / RECORDS).exists() or len(read_records(folder)) < 3:
        assert process.poll() is None
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with open(folder / RECORDS, "ab") as file:
        file.write(b'{"path": "cut o')
    finished = set(read_records(folder))
    assert 3 <= len(finished) < 36
    assert CliRunner().invoke(main, cache_command(tree, folder)).exit_code == 0
    assert read_records(folder).keys() == read_records(whole).keys()
    videos = DataSource(dataset="kinetics", data_path=tree).load("train")
    origin = Origin.of(videos, Geometry.of(videos, frames=8, size=24, fps=25))
    one, other = (ClipCache(f, origin, videos.videos, root=videos.root) for f in (whole, folder))
    fps = Fraction(25)
    for video in videos.videos:
        a, b = one.open(video), other.open(video)
        assert np.array_equal(a.read(0, 12, fps, 27), b.read(0, 12, fps, 27))


def test_many_at_once_make_one_cache(tmp_path):
    tree = kinetics_tree(tmp_path / "data")
    code = f"""
from click.testing import CliRunner
from nni_evanet.cli import main
result = CliRunner().invoke(main, {cache_command(tree, tmp_path / "cache", "--workers", "0")!r})
raise SystemExit(result.exit_code)
"""
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    # Each video was read once.
    assert len((tmp_path / "cache" / RECORDS).read_bytes().splitlines()) == 12
    assert (tmp_path / "cache" / FRAMES).stat().st_size == 12 * 12 * 27 * 27 * 3


def test_a_cache_can_be_handed_to_workers(clips, tmp_path):
    from nni_evanet.data.batches import TrainBatches

    videos, geometry = video_set(clips), Geometry(frames=8, size=24)
    cache = made(tmp_path, videos, geometry)
    make = partial(ClipDataset, videos.videos, geometry, training=True, open_source=cache.open)
    here, there = (
        list(TrainBatches(make(), batch_size=4, iterations=3, workers=workers))
        for workers in (0, 2)
    )
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(here, there, strict=True))


def test_a_folder_that_cannot_be_written_is_one_line(clips, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written: Not a directory"):
        made(tmp_path / "file" / "cache", video_set(clips), Geometry(frames=8, size=24))


def test_frames_that_are_gone(clips, tmp_path):
    videos, geometry = video_set(clips), Geometry(frames=8, size=24)
    made(tmp_path, videos, geometry)
    (tmp_path / FRAMES).unlink()
    with pytest.raises(DataError, match=r"frames\.u8: gone, or shorter"):
        made(tmp_path, videos, geometry)
