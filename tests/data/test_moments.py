"""Moments in Time from its official files."""

import logging
import shutil
from pathlib import Path

import pytest
from trees import MOMENTS_CLASSES, moments_tree

from nni_evanet.data import DataError, DataSource, VideoSet


def load(path: Path, subset: str = "train") -> VideoSet:
    return DataSource(dataset="moments", data_path=path).load(subset)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return moments_tree(tmp_path / "data", frames=1)


@pytest.mark.parametrize(("subset", "folder"), [("train", "training"), ("val", "validation")])
def test_both_subsets(tree: Path, subset: str, folder: str) -> None:
    dataset = load(tree, subset)
    # Labels are the numbers in the list of classes, which is sorted otherwise here.
    assert dataset.classes == MOMENTS_CLASSES[::-1]
    assert len(dataset.videos) == 3 * (4 if subset == "train" else 2)
    for video in dataset.videos:
        name = dataset.classes[video.label]
        assert dataset.relative(video) == f"{folder}/{name}/{video.path.name}"
        assert video.path.is_file()
    assert not dataset.missing and not dataset.multi_label and dataset.root == tree


def test_clips_of_one_source_form_a_group(tree: Path) -> None:
    groups = [v.group for v in load(tree).videos if v.label == 1]
    assert groups == ["yt-training&1_0"] * 2 + ["yt-training&1_1"] * 2


def test_the_first_column_is_enough(tree: Path) -> None:
    file = tree / "trainingSet.csv"
    full = load(tree)
    file.write_text("".join(line.split(",")[0] + "\n" for line in file.read_text().splitlines()))
    assert load(tree) == full


def test_missing_videos_are_counted_and_said(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = load(tree).videos[0].path
    gone.unlink()
    with caplog.at_level(logging.WARNING):
        dataset = load(tree)
    assert dataset.missing == (str(gone.relative_to(tree)),) and len(dataset.videos) == 11
    assert len(caplog.records) == 1 and "1 of 12 videos" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "trainingSet.csv: no rows"),
        ("clapping/a.mp4,clapping\nb.mp4\n", "line 2: 'b.mp4', expected 'class/clip.mp4'"),
        ("path,label\n", "line 1: 'path,label', expected 'class/clip.mp4'.* no header"),
        ("running/a.mp4\n", "line 1: 'running' is not a class of .*moments_categories.txt"),
        ("clapping/gone.mp4\n", "none of its 1 videos is there"),
        ('"' + "x" * 200_000, "not a csv file"),
    ],
)
def test_malformed_csv(tree: Path, text: str, message: str) -> None:
    (tree / "trainingSet.csv").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        load(tree)
    assert str(tree / "trainingSet.csv") in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 classes, expected at least 2"),
        ("clapping\n", "line 1: 'clapping', expected 'name,index'"),
        ("clapping,0\nclapping,1\n", "line 2: class 'clapping' again"),
        ("clapping,0\nplaying+music,2\n", "2 classes, expected at least 2 with the indices 0 to"),
        ("clapping,0\nplaying+music,1\n", r"'adult\+female\+singing' is not a class of"),
    ],
)
def test_malformed_categories(tree: Path, text: str, message: str) -> None:
    (tree / "moments_categories.txt").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        load(tree)
    assert str(tree / "moments_categories.txt") in str(error.value)


def test_one_line_for_a_bad_tree(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'test': moments has no such, .* train and val"):
        load(tree, "test")
    with pytest.raises(DataError, match="nowhere: no such folder"):
        load(tmp_path / "nowhere")
    shutil.rmtree(tree / "training" / "clapping")
    with pytest.raises(DataError, match=r"trainingSet.csv, line 5: no folder 'clapping' in"):
        load(tree)
    shutil.rmtree(tree / "training")
    with pytest.raises(DataError, match="training: no such folder"):
        load(tree)
    (tree / "moments_categories.txt").unlink()
    with pytest.raises(DataError, match=r"moments_categories.txt: no such file"):
        load(tree)
