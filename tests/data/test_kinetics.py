"""Kinetics in the layouts in which it lies on disks, and one line for each thing that is wrong."""

import logging
import shutil
from pathlib import Path

import pytest

from nni_evanet.data import DataError, load_dataset

HEADER = "label,youtube_id,time_start,time_end,split\n"
ROWS = {
    "riding a bike": [("aaa", 3, 13), ("aaa", 20, 30), ("b-_b", 0, 10)],
    "abseiling": [("ccc", 101, 111), ("ddd", 0, 10)],
}
CLASSES = ("abseiling", "riding a bike")


def lines(split: str = "train") -> str:
    return HEADER + "".join(
        f"{label},{youtube_id},{start},{end},{split}\n"
        for label, clips in ROWS.items()
        for youtube_id, start, end in clips
    )


def make_tree(root: Path, folder: str) -> Path:
    """Empty files in the true layout; ``folder`` is a pattern for the label's folder."""
    root.mkdir(exist_ok=True)
    (root / "train.csv").write_text(lines())
    for label, clips in ROWS.items():
        for youtube_id, start, end in clips:
            place = root / folder.format(label=label, under=label.replace(" ", "_"))
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{youtube_id}_{start:06d}_{end:06d}.mp4").touch()
    return root


@pytest.mark.parametrize(
    "folder", ["train/{label}", "train/{under}", "train", "{label}", "{under}", "."]
)
def test_official_csv(tmp_path: Path, folder: str) -> None:
    dataset = load_dataset("kinetics", make_tree(tmp_path, folder))
    assert dataset.classes == CLASSES
    assert [v.group for v in dataset.videos] == ["aaa", "aaa", "b-_b", "ccc", "ddd"]
    assert [v.label for v in dataset.videos] == [1, 1, 1, 0, 0]
    assert all(v.path.is_file() for v in dataset.videos)
    assert dataset.flip and dataset.margin > 1 and not dataset.missing


def test_a_csv_file_may_be_named_itself(tmp_path: Path) -> None:
    root = make_tree(tmp_path, "train/{under}")
    assert len(load_dataset("kinetics", root / "train.csv").videos) == 5


def test_missing_videos_are_counted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_tree(tmp_path, "train/{under}")
    next(root.rglob("ddd*")).unlink()
    with caplog.at_level(logging.WARNING):
        dataset = load_dataset("kinetics", root)
    assert len(dataset.videos) == 4
    assert dataset.missing == ("abseiling/ddd_000000_000010",)
    assert "1 of 5 videos" in caplog.text and "ddd_000000_000010" in caplog.text


def test_classes_come_from_the_training_csv(tmp_path: Path) -> None:
    root = make_tree(tmp_path, "train/{label}")
    shutil.copytree(root / "train" / "abseiling", root / "val" / "abseiling")
    (root / "val.csv").write_text(HEADER + "abseiling,ccc,101,111,val\n")
    dataset = load_dataset("kinetics", root, subset="val")
    assert dataset.classes == CLASSES and [v.label for v in dataset.videos] == [0]
    (root / "val.csv").write_text(HEADER + "archery,ccc,101,111,val\n")
    with pytest.raises(DataError, match=r"'archery' is not a class of .*train.csv"):
        load_dataset("kinetics", root, subset="val")


@pytest.mark.parametrize("name", ["train.csv", "train.txt", "list.txt"])
def test_list_file(tmp_path: Path, name: str) -> None:
    root = make_tree(tmp_path, "videos/{label}")
    (root / "train.csv").unlink()
    paths = sorted(root.rglob("*.mp4"))
    text = "".join(f"{path.relative_to(root)} {int('riding' in str(path))}\n" for path in paths)
    (root / name).write_text(text + f"{root}/videos/gone.mp4 1\n")
    dataset = load_dataset("kinetics", root / name if name == "list.txt" else root)
    assert dataset.classes == CLASSES
    assert [v.path for v in dataset.videos] == paths
    assert {v.group for v in dataset.videos} == {"aaa", "b-_b", "ccc", "ddd"}
    assert len(dataset.missing) == 1


def test_class_folders_only(tmp_path: Path) -> None:
    root = make_tree(tmp_path, "{label}")
    (root / "train.csv").unlink()
    dataset = load_dataset("kinetics", root)
    assert dataset.classes == CLASSES and len(dataset.videos) == 5
    with pytest.raises(DataError, match=r"neither val.csv nor a folder val"):
        load_dataset("kinetics", root, subset="val")


def test_one_csv_for_all_splits(tmp_path: Path) -> None:
    root = make_tree(tmp_path, "{under}")
    (root / "train.csv").unlink()
    text = lines().replace("ccc,101,111,train", "ccc,101,111,validate")
    (root / "kinetics.csv").write_text(text.replace("aaa,20,30,train", "aaa,20,30,TEST "))
    (root / "notes.csv").write_text("a,b\n1,2\n")
    for path in (root, root / "kinetics.csv"):
        groups = {
            subset: [v.group for v in load_dataset("kinetics", path, subset=subset).videos]
            for subset in ("train", "val", "test")
        }
        assert groups == {"train": ["aaa", "b-_b", "ddd"], "val": ["ccc"], "test": ["aaa"]}
        assert load_dataset("kinetics", path, subset="val").classes == CLASSES
    shutil.copy(root / "kinetics.csv", root / "copy.csv")
    with pytest.raises(DataError, match=r"copy.csv and kinetics.csv could both be"):
        load_dataset("kinetics", root)


def test_a_csv_of_another_split_is_refused(tmp_path: Path) -> None:
    root = make_tree(tmp_path, "{under}")
    (root / "train.csv").write_text(lines("validate"))
    with pytest.raises(DataError, match=r"no row of the train split, all 5 say 'validate'"):
        load_dataset("kinetics", root)
    # What is no split of the official files is the copy's own affair.
    (root / "train.csv").write_text(lines("k400"))
    assert len(load_dataset("kinetics", root).videos) == 5


def test_classes_come_from_the_training_list(tmp_path: Path) -> None:
    root = make_tree(tmp_path, "{label}")
    (root / "train.csv").unlink()
    (root / "train.txt").write_text("abseiling/gone.mp4 0\nriding a bike/aaa_000003_000013.mp4 1\n")
    (root / "val.txt").write_text("abseiling/ccc_000101_000111.mp4 0\n")
    for subset in ("train", "val"):
        assert load_dataset("kinetics", root, subset=subset).classes == CLASSES
    (root / "val.txt").write_text("abseiling/ccc_000101_000111.mp4 2\n")
    with pytest.raises(DataError, match=r"val.txt: label 2 is not a class of .*train.txt"):
        load_dataset("kinetics", root, subset="val")


def test_videos_elsewhere_share_a_root(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "data", "{label}")
    (tmp_path / "lists").mkdir()
    file = tmp_path / "lists" / "mine.txt"
    paths = sorted(root.rglob("*.mp4"))
    file.write_text(
        "".join(f"../data/{p.relative_to(root)} {int('ab' in str(p))}\n" for p in paths)
    )
    dataset = load_dataset("kinetics", file)
    assert dataset.root == root
    assert [dataset.relative(v) for v in dataset.videos] == [
        str(p.relative_to(root)) for p in paths
    ]


def test_flow_among_the_class_folders_is_no_class(tmp_path: Path) -> None:
    root = make_tree(tmp_path, "{label}")
    (root / "train.csv").unlink()
    (root / "flow" / "abseiling").mkdir(parents=True)
    assert load_dataset("kinetics", root).classes == CLASSES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "train.csv: empty, expected the header"),
        (HEADER, "no rows below the header"),
        ("label,id,start,end\n", "no field 'youtube_id' in its header"),
        (HEADER + "abseiling,,0,10,train\n", "line 2: field 'youtube_id' is empty"),
        (HEADER + "abseiling,x,zero,10,train\n", "line 2: time_start 'zero'"),
        (HEADER + "abseiling,ccc,101,111,train\n", "1 class, expected at least 2"),
        (lines() + "archery,x,0,10,train\n", "no folder for its label 'archery'"),
        (lines().replace("_", "").replace("youtubeid", "id"), "no field 'youtube_id'"),
        ("some/path.mp4 0\nother.mp4\n", "line 2: expected 'path label'"),
    ],
)
def test_one_line_for_a_bad_csv(tmp_path: Path, text: str, message: str) -> None:
    root = make_tree(tmp_path, "train/{under}")
    (root / "train.csv").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        load_dataset("kinetics", root)
    assert str(root / "train.csv") in str(error.value) and "\n" not in str(error.value)


def test_one_line_for_a_bad_place(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "data", "train/{under}")
    with pytest.raises(DataError, match=r"nowhere: no such file or folder"):
        load_dataset("kinetics", tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"'ucf' is unknown: expected one of kinetics"):
        load_dataset("ucf", root)
    with pytest.raises(DataError, match=r"subset '4' is unknown"):
        load_dataset("kinetics", root, subset="4")
    with pytest.raises(DataError, match=r"no val.csv beside train.csv"):
        load_dataset("kinetics", root, subset="val")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"neither an annotation file nor class folders"):
        load_dataset("kinetics", tmp_path / "empty")
    for path in root.rglob("*.mp4"):
        path.unlink()
    with pytest.raises(DataError, match=r"none of its 5 videos is there"):
        load_dataset("kinetics", root)
