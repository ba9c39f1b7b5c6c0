"""HMDB51 as its archives lie on disks, and one line for each thing that is wrong."""

import logging
import shutil
from pathlib import Path

import pytest
from trees import HMDB51_CLASSES, HMDB51_FILMS, hmdb51_tree

from nni_evanet.data import DataError, DataSource, VideoSet


def load(path: Path, subset: str = "train", split: int = 1) -> VideoSet:
    return DataSource(dataset="hmdb51", data_path=path, split=split).load(subset)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return hmdb51_tree(tmp_path / "data", frames=1)


@pytest.mark.parametrize("below", ["", "videos", "hmdb51_org"])
def test_all_splits(tmp_path: Path, below: str) -> None:
    tree = hmdb51_tree(tmp_path / "data", frames=1, below=below)
    tests = set()
    for split in (1, 2, 3):
        train, test = load(tree, "train", split), load(tree, "test", split)
        assert train.classes == test.classes == HMDB51_CLASSES
        assert len(train.videos) == 3 * 4 and len(test.videos) == 3 * 2
        assert not {v.path for v in train.videos} & {v.path for v in test.videos}
        assert all(v.path.is_file() for v in (*train.videos, *test.videos))
        for video in train.videos:
            assert train.relative(video) == f"{train.classes[video.label]}/{video.path.name}"
        assert train.root == tree / below and not train.missing and not train.multi_label
        tests.add(test.videos)
    assert len(tests) == 3


def test_the_clips_of_a_film_form_a_group(tree: Path) -> None:
    videos = load(tree).videos
    assert {v.group for v in videos} == set(HMDB51_FILMS[:4])
    # "sword" is part of another class's name.
    assert {v.label for v in videos if v.group == HMDB51_FILMS[0]} == {0, 1, 2}


def test_flow_in_class_folders_is_not_taken_for_videos(tree: Path) -> None:
    for name in HMDB51_CLASSES:
        (tree / "flow" / name / "clip").mkdir(parents=True)
    assert load(tree).root == tree


def test_another_name_of_the_split_folder_and_of_the_files(tree: Path) -> None:
    (tree / "testTrainMulti_7030_splits").rename(tree / "splits")
    for path in tree.rglob("*.avi"):
        path.rename(path.with_suffix(".mp4"))
    assert len(load(tree).videos) == 12


def test_missing_videos_are_counted_and_said(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = load(tree).videos[0].path
    gone.unlink()
    with caplog.at_level(logging.WARNING):
        dataset = load(tree)
    assert dataset.missing == (f"brush_hair/{gone.name}",) and len(dataset.videos) == 11
    assert len(caplog.records) == 1 and "1 of 12 videos" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip.avi\n", r"line 1: 'clip.avi', expected 'name.avi id'"),
        ("clip.avi 1 \nother one.avi 3\n", r"line 2: 'other one.avi 3', expected 'name.avi id'"),
        ("clip.avi 1\nclip.avi 2\n", "line 2: clip.avi was 1"),
        ("\0\1\2", "line 1: "),
    ],
)
def test_malformed_split_file(tree: Path, text: str, message: str) -> None:
    file = tree / "testTrainMulti_7030_splits" / "sword_test_split1.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=message) as error:
        load(tree)
    assert str(file) in str(error.value) and "\n" not in str(error.value)


def test_one_line_for_a_bad_tree(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="split 4: hmdb51 has no such: expected 1 to 3"):
        load(tree, split=4)
    with pytest.raises(DataError, match=r"'val': hmdb51 has no such, .* train and test"):
        load(tree, "val")
    with pytest.raises(DataError, match="nowhere: no such folder"):
        load(tmp_path / "nowhere")
    splits = tree / "testTrainMulti_7030_splits"
    (splits / "jump_test_split1.txt").write_text("a.avi 1\n")
    with pytest.raises(DataError, match=r"jump_test_split1.txt: no folder 'jump' in"):
        load(tree)
    (splits / "jump_test_split1.txt").unlink()
    shutil.copytree(tree / "sword", tree / "jump")
    with pytest.raises(DataError, match=r"jump: no jump_test_split1.txt in .*7030_splits"):
        load(tree)
    shutil.rmtree(tree / "jump")
    shutil.copytree(splits, tree / "copy")
    with pytest.raises(DataError, match=r"split files in .*copy and .*splits, expected one"):
        load(tree)
    shutil.rmtree(tree / "copy")
    shutil.copytree(tree / "sword", tree / "more" / "sword")
    with pytest.raises(DataError, match=r"class folders in .*data and .*more, expected one"):
        load(tree)
    shutil.rmtree(tree / "more")
    shutil.rmtree(splits)
    with pytest.raises(DataError, match="expected testTrainMulti_7030_splits"):
        load(tree)


def test_no_videos_at_all(tree: Path) -> None:
    for path in tree.rglob("*.avi"):
        path.unlink()
    with pytest.raises(DataError, match="no class folder such as 'brush_hair' with videos"):
        load(tree)
