"""check-data: a tree with one of each fault, and the list that mends it."""

import csv
import os
import shutil
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner
from trees import (
    KINETICS_CLASSES,
    charades_tree,
    flow_tree,
    hmdb51_tree,
    kinetics_tree,
    moments_tree,
    write_video,
)

from nni_evanet.cli import main
from nni_evanet.data import DataSource
from nni_evanet.data.batches import EvaluationBatches, TrainBatches
from nni_evanet.data.clips import ClipDataset, Geometry
from nni_evanet.data.parallel import Crashed, each


def check(dataset, folder, *arguments):
    command = ["check-data", "--dataset", dataset, "--data-path", folder, "--frames", "8"]
    command += ["--workers", "2", *arguments]
    return CliRunner().invoke(main, [str(word) for word in command])


def problems_in(file):
    with open(file, newline="") as lines:
        return {(r["problem"], r["subset"], Path(r["path"]).name) for r in csv.DictReader(lines)}


def faulty_kinetics(folder: Path) -> set[tuple[str, str, str]]:
    """One of each fault; what check-data must find."""
    kinetics_tree(folder)
    name = KINETICS_CLASSES[0]
    a, b, c, d = sorted((folder / "train" / name).iterdir())
    a.unlink()
    b.write_bytes(b.read_bytes()[:200])
    write_video(c, frames=5)
    other = sorted((folder / "val" / name).iterdir())[0]
    shutil.copy(other, d)
    stray = write_video(folder / "train" / name / "stray &![];#().mp4")
    return {
        ("missing", "train", a.stem),
        ("corrupt", "train", b.name),
        ("too short", "train", c.name),
        ("duplicate", "train", d.name),
        ("unlabeled", "train", stray.name),
    }


def test_one_of_each_fault(tmp_path):
    expected = faulty_kinetics(tmp_path / "data")
    out = tmp_path / "problems.csv"
    result = check("kinetics", tmp_path / "data", "--out", out)
    assert result.exit_code == 1, result.output
    assert problems_in(out) == expected
    assert "20 videos decoded" in result.stdout
    for kind, _, name in expected:
        assert kind in result.stdout and name in result.stdout


def test_its_file_mends_the_training(tmp_path):
    faulty_kinetics(tmp_path / "data")
    out = tmp_path / "problems.csv"
    check("kinetics", tmp_path / "data", "--out", out)
    source = DataSource(dataset="kinetics", data_path=tmp_path / "data", exclude=out)
    videos = source.load("train").videos
    # The corrupt one and the duplicate are left out; the short one is looped.
    assert len(videos) == 9
    dataset = ClipDataset(videos, Geometry(frames=8, size=16), training=True)
    assert len(list(TrainBatches(dataset, batch_size=9, iterations=2))) == 2
    assert dataset.unreadable == {}


def test_a_recording_in_two_subsets(tmp_path):
    """Kinetics' rule is about YouTube videos, whatever part of them."""
    kinetics_tree(tmp_path / "data")
    name = KINETICS_CLASSES[0]
    with open(tmp_path / "data/val.csv", "a") as file:
        file.write(f"{name},-train_00,50,60,validate\n")
    write_video(tmp_path / "data/val" / name / "-train_00_000050_000060.mp4", brightness=77)
    out = tmp_path / "problems.csv"
    assert check("kinetics", tmp_path / "data", "--out", out).exit_code == 1
    assert {kind for kind, *_ in problems_in(out)} == {"duplicate"}


@pytest.mark.parametrize("tree", [hmdb51_tree, charades_tree, moments_tree, kinetics_tree])
def test_nothing_is_wrong(tmp_path, tree):
    name = tree.__name__.removesuffix("_tree")
    result = check(name, tree(tmp_path / "data"), "--out", tmp_path / "problems.csv")
    assert result.exit_code == 0, result.output
    assert problems_in(tmp_path / "problems.csv") == set()


def test_folders_of_pictures(tmp_path):
    folder = charades_tree(tmp_path / "data", pictures=True)
    videos = sorted((folder / "Charades_v1_rgb").iterdir())
    next(videos[0].iterdir()).write_bytes(b"no picture")
    shutil.copytree(videos[1], folder / "Charades_v1_rgb" / "UNKNOWN")
    out = tmp_path / "problems.csv"
    check("charades", folder, "--out", out)
    found = problems_in(out)
    assert ("unlabeled", "train", "UNKNOWN") in found
    assert ("corrupt", "train", videos[0].name) in found and len(found) == 2


def test_flow(tmp_path):
    folder = hmdb51_tree(tmp_path / "data")
    videos = DataSource(dataset="hmdb51", data_path=folder).load("train")
    flow_tree(folder / "flow", videos)
    broken = sorted((folder / "flow").rglob("flow_y_00003.jpg"))[0]
    broken.unlink()
    out = tmp_path / "problems.csv"
    result = check("hmdb51", folder, "--modality", "flow", "--out", out)
    assert result.exit_code == 1
    assert ("corrupt", "train", broken.parent.name) in problems_in(out)
    source = DataSource(dataset="hmdb51", data_path=folder, modality="flow", exclude=out)
    dataset = ClipDataset(source.load("train").videos, Geometry(frames=8, size=16), training=False)
    assert sum(len(y) for _, y, _ in EvaluationBatches(dataset, batch_size=4)) == 11


def test_no_data_is_one_line(tmp_path):
    result = check("hmdb51", tmp_path / "nowhere")
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1


def test_a_malformed_annotation_is_no_absent_one(tmp_path):
    folder = kinetics_tree(tmp_path / "data")
    (folder / "val.csv").write_text("a table of another kind\n1,2\n")
    result = check("kinetics", folder)
    assert result.exit_code == 2 and "val.csv" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def crash_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number * number


def test_a_crash_costs_its_own_item_only():
    results = dict(each(crash_at_three, list(range(12)), workers=2))
    assert results.pop(3) == Crashed()
    assert results == {n: n * n for n in range(12) if n != 3}


def test_a_list_file_is_one_subset(tmp_path):
    folder = kinetics_tree(tmp_path / "data")
    names = [path.relative_to(folder) for path in sorted((folder / "train").rglob("*.mp4"))]
    lines = [f"{name} {label % 3}\n" for label, name in enumerate(names)]
    (folder / "mine.txt").write_text("".join(lines))
    check("kinetics", folder / "mine.txt", "--out", tmp_path / "problems.csv")
    assert {kind for kind, *_ in problems_in(tmp_path / "problems.csv")} == {"unlabeled"}


def test_the_same_name_is_not_the_same_recording(tmp_path):
    for number, place in enumerate(["train/a", "train/b", "val/a", "val/b"]):
        write_video(tmp_path / "data" / place / f"{place[-1]}.mp4", brightness=40 + 50 * number)
    result = check("kinetics", tmp_path / "data", "--out", tmp_path / "problems.csv")
    assert result.exit_code == 0, result.output


def test_the_same_file_in_validation_and_test(tmp_path):
    folder, name = kinetics_tree(tmp_path / "data"), KINETICS_CLASSES[0]
    first, second = (sorted((folder / s / name).iterdir())[0] for s in ("val", "test"))
    shutil.copy(first, second)
    check("kinetics", folder, "--out", tmp_path / "problems.csv")
    assert problems_in(tmp_path / "problems.csv") == {("duplicate", "val", first.name)}


def test_a_name_that_is_not_utf8(tmp_path):
    folder = kinetics_tree(tmp_path / "data", val=1)
    stray = os.fsencode(folder / "train" / KINETICS_CLASSES[0]) + b"/b\xff.mp4"
    write_video(tmp_path / "stray.mp4")
    shutil.copy(tmp_path / "stray.mp4", stray)
    assert "unlabeled: train: train/abseiling/b\ufffd.mp4" in check("kinetics", folder).stdout


def test_nowhere_to_write_is_told_first(tmp_path):
    folder = kinetics_tree(tmp_path / "data")
    result = check("kinetics", folder, "--out", tmp_path / "no" / "p.csv")
    assert result.exit_code == 2 and "decoding" not in result.stdout
