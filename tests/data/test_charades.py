"""Charades from its official files, as videos and as pictures."""

import csv
import logging
from fractions import Fraction
from pathlib import Path

import pytest
from trees import CHARADES_CLASSES, charades_tree

from nni_evanet.data import Action, DataError, DataSource, VideoSet

HEADER = "id,subject,scene,actions\n"


def load(path: Path, subset: str = "train") -> VideoSet:
    return DataSource(dataset="charades", data_path=path).load(subset)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return charades_tree(tmp_path / "data", frames=1, train=6, test=3)


def rows(tree: Path, subset: str) -> list[dict[str, str]]:
    with open(tree / f"Charades_v1_{subset}.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("subset", ["train", "test"])
@pytest.mark.parametrize("pictures", [False, True])
def test_videos_and_pictures(tmp_path: Path, subset: str, pictures: bool) -> None:
    tree = charades_tree(tmp_path, frames=1, train=6, test=3, pictures=pictures)
    dataset = load(tree, subset)
    assert dataset.classes == CHARADES_CLASSES
    assert dataset.multi_label and dataset.flip and not dataset.missing
    assert dataset.root == tree / ("Charades_v1_rgb" if pictures else "Charades_v1_480")
    for video, row in zip(dataset.videos, rows(tree, subset), strict=True):
        assert dataset.relative(video) == row["id"] + ("" if pictures else ".mp4")
        assert video.path.is_dir() if pictures else video.path.is_file()
        assert video.fps == (Fraction(24) if pictures else None)
        assert video.group == row["subject"]
        ids = {action.split()[0] for action in row["actions"].split(";") if action}
        assert video.labels == tuple(sorted(int(name[1:]) for name in ids))
    # The last one shows no action: a negative of every class, not a missing annotation.
    assert dataset.videos[-1].labels == dataset.videos[-1].actions == ()


def test_actions_and_their_times(tree: Path) -> None:
    file = tree / "Charades_v1_train.csv"
    file.write_text(
        HEADER + "A000B,S1,Hall,c003 11.90 21.20;c000 0.00 12.60;c003 30.00 31.50\nA001B,S2,Hall,\n"
    )
    first, second = load(tree).videos
    assert first.labels == (0, 3) and second.labels == ()
    assert first.actions == (
        Action(label=3, start=11.9, end=21.2),
        Action(label=0, start=0.0, end=12.6),
        Action(label=3, start=30.0, end=31.5),
    )


def test_reversed_times_are_swapped_and_said(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tree / "Charades_v1_train.csv").write_text(HEADER + "A000B,S1,Hall,c003 9.00 7.50\n")
    with caplog.at_level(logging.WARNING):
        (video,) = load(tree).videos
    assert video.actions == (Action(label=3, start=7.5, end=9.0),)
    assert "1 actions end before they start" in caplog.text


def test_annotations_in_a_folder_of_their_own(tree: Path) -> None:
    (tree / "Charades").mkdir()
    for name in ("Charades_v1_train.csv", "Charades_v1_classes.txt"):
        (tree / name).rename(tree / "Charades" / name)
    (tree / "Charades_v1_480").rename(tree / "Charades_v1")
    assert len(load(tree).videos) == 6


def test_missing_videos_are_counted_and_said(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tree / "Charades_v1_480" / "A001B.mp4").unlink()
    with caplog.at_level(logging.WARNING):
        dataset = load(tree)
    assert dataset.missing == ("A001B",) and len(dataset.videos) == 5
    assert len(caplog.records) == 1 and "1 of 6 videos" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "train.csv: no column 'id' in its header"),
        ("id,subject,scene\n", "train.csv: no column 'actions' in its header"),
        (HEADER + "A000B,S1,Hall,c001 0.5\n", "line 2: action 'c001 0.5', expected 'c092"),
        (HEADER + "A000B,S1,Hall,c001 0.5 x\n", "line 2: action 'c001 0.5 x', expected 'c092"),
        (HEADER + "A000B,S1,Hall,c001 -1 3\n", "line 2: .* expected times in seconds"),
        (HEADER + "A000B,S1,Hall,c001 0 inf\n", "line 2: .* expected times in seconds"),
        (HEADER + '"A","S","two\nlines",\nA000B,S1,Hall,c004 0 1\n', "line 4: action 'c004' is"),
        (HEADER + "A000B,S1\n", "line 2: column 'actions' is empty"),
        (HEADER + "A000B,,Hall,\n", "line 2: column 'subject' is empty"),
        (HEADER + "gone,S1,Hall,\n", "none of its 1 videos is there"),
        (HEADER + '"' + "x" * 200_000, "train.csv: not a csv file"),
    ],
)
def test_malformed_csv(tree: Path, text: str, message: str) -> None:
    (tree / "Charades_v1_train.csv").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        load(tree)
    assert str(tree / "Charades_v1_train.csv") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 classes, expected at least 2"),
        ("c000 Sitting\nc002 Standing\n", "line 2: 'c002 Standing', expected 'c001 name"),
        ("Sitting\n", "line 1: 'Sitting', expected 'c000 name"),
    ],
)
def test_malformed_classes(tree: Path, text: str, message: str) -> None:
    (tree / "Charades_v1_classes.txt").write_text(text)
    with pytest.raises(DataError, match=f"Charades_v1_classes.txt.*{message}"):
        load(tree)


def test_one_line_for_a_bad_tree(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'val': charades has no such, .* train and test"):
        load(tree, "val")
    with pytest.raises(DataError, match="split 2: charades has no such: expected 1, the only one"):
        DataSource(dataset="charades", data_path=tree, split=2).load("train")
    with pytest.raises(DataError, match="nowhere: no such folder"):
        load(tmp_path / "nowhere")
    (tree / "Charades_v1_480").rename(tree / "clips")
    with pytest.raises(DataError, match="no folder of videos, expected Charades_v1_480"):
        load(tree)
    (tree / "Charades_v1_train.csv").unlink()
    with pytest.raises(DataError, match=r"no Charades_v1_train.csv in it or in a folder of it"):
        load(tree)
