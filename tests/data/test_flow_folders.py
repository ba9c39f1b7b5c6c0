"""The flow of a video is found in every convention, and never another video's."""

import json
import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from trees import charades_tree, flow_tree, hmdb51_tree, kinetics_tree

from nni_evanet.data import DataError, DataSource, Video, VideoSet
from nni_evanet.data.flow_folders import flow_folder_of, use_flow


@pytest.fixture
def videos(tmp_path: Path) -> VideoSet:
    """Kinetics': a relative path has three parts, and names hold spaces and quotes."""
    tree = kinetics_tree(tmp_path / "data", frames=1, train=2, val=1, test=1)
    return DataSource(dataset="kinetics", data_path=tree).load("train")


@pytest.mark.parametrize(
    ("layout", "below"),
    [
        ("relative", "train/abseiling/-train_00_000000_000010"),
        ("class", "abseiling/-train_00_000000_000010"),
        ("name", "-train_00_000000_000010"),
        ("u and v", "u/-train_00_000000_000010"),
    ],
)
def test_every_convention(videos: VideoSet, tmp_path: Path, layout: str, below: str) -> None:
    out = flow_tree(tmp_path / "flow", videos, layout=layout, frames=1)
    flow = use_flow(videos, out)
    assert flow.videos[0].path == out / below
    assert flow == replace(
        videos,
        root=out,
        modality="flow",
        videos=tuple(
            replace(old, path=new.path, fps=Fraction(25), bound=20.0)
            for old, new in zip(videos.videos, flow.videos, strict=True)
        ),
    )
    assert [v.path.name for v in flow.videos] == [v.path.stem for v in videos.videos]
    assert all(any(v.path.iterdir()) for v in flow.videos)


@pytest.mark.parametrize("pictures", [False, True])
def test_charades(tmp_path: Path, pictures: bool) -> None:
    tree = charades_tree(tmp_path, frames=1, train=3, test=1, pictures=pictures)
    source = DataSource(dataset="charades", data_path=tree)
    rgb = source.load("train")
    flow_tree(tree / "Charades_v1_flow", rgb, layout="charades", frames=1)
    flow = replace(source, modality="flow").load("train")
    assert [v.path for v in flow.videos] == [
        tree / "Charades_v1_flow" / v.path.stem for v in rgb.videos
    ]
    assert {(v.fps, v.bound) for v in flow.videos} == {(Fraction(24), 20.0)}
    assert [(v.labels, v.actions, v.group) for v in flow.videos] == [
        (v.labels, v.actions, v.group) for v in rgb.videos
    ]
    assert flow.multi_label


def test_nasty_names_below_the_data_path(tmp_path: Path) -> None:
    tree = hmdb51_tree(tmp_path, frames=1)
    source = DataSource(dataset="hmdb51", data_path=tree)
    rgb = source.load("train")
    flow_tree(tree / "flow", rgb, frames=1)
    flow = replace(source, modality="flow").load("train")
    assert [flow.relative(v) + ".avi" for v in flow.videos] == [rgb.relative(v) for v in rgb.videos]


def test_what_is_written_is_found(videos: VideoSet, tmp_path: Path) -> None:
    out = tmp_path / "flow"
    folders = [flow_folder_of(v, videos.root, out) for v in videos.videos]
    for folder in folders:
        folder.mkdir(parents=True)
    (out / "flow.json").write_text(
        json.dumps({"format": 1, "algorithm": "dis", "bound": 15, "fps": 29.97})
    )
    flow = use_flow(videos, out)
    assert [v.path for v in flow.videos] == folders
    assert {(v.fps, v.bound) for v in flow.videos} == {(Fraction(2997, 100), 15)}


def test_a_dot_in_a_name_is_no_extension(tmp_path: Path) -> None:
    folder = Video(path=tmp_path / "a.b", labels=(0,), group="g")
    file = replace(folder, path=tmp_path / "a.b.AVI")
    assert flow_folder_of(folder, tmp_path, Path("out")) == Path("out/a.b")
    assert flow_folder_of(file, tmp_path, Path("out")) == Path("out/a.b")


def test_videos_without_flow_are_counted_and_said(
    videos: VideoSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    part = replace(videos, videos=videos.videos[1:])
    out = flow_tree(tmp_path / "flow", part, frames=1)
    with caplog.at_level(logging.WARNING):
        flow = use_flow(videos, out)
    assert len(flow.videos) == len(videos.videos) - 1
    assert flow.missing == (videos.relative(videos.videos[0]),)
    assert len(caplog.records) == 1 and "1 of 6 videos have no optical flow" in caplog.text


def test_one_line_for_bad_flow(videos: VideoSet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder of optical flow"):
        use_flow(videos, tmp_path / "nowhere")
    out = tmp_path / "flow"
    out.mkdir()
    with pytest.raises(DataError, match="no optical flow of these videos, expected folders like"):
        use_flow(videos, out)
    source = DataSource(dataset="kinetics", data_path=videos.root, modality="flow")
    with pytest.raises(DataError, match=r"data/flow: no such folder of optical flow"):
        source.load("train")


def test_flow_of_two_videos_is_refused(tmp_path: Path) -> None:
    videos = VideoSet(
        name="kinetics",
        subset="train",
        classes=("a", "b"),
        videos=tuple(
            Video(path=tmp_path / name / "clip.mp4", labels=(i,), group=name)
            for i, name in enumerate("ab")
        ),
        root=tmp_path,
    )
    (tmp_path / "flow" / "clip").mkdir(parents=True)
    with pytest.raises(DataError, match=r"clip: optical flow of both .*a/clip.mp4 and .*b/clip"):
        use_flow(videos, tmp_path / "flow")
