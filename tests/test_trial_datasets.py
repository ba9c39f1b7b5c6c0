"""A trial on every dataset, RGB and flow, and in its caches: on small trees in the true layouts."""

import json

import pytest
from click.testing import CliRunner
from trees import (
    charades_tree,
    flow_tree,
    hmdb51_tree,
    kinetics_tree,
    moments_tree,
    write_video,
)

from nni_evanet.architecture import Architecture, Module, ResNetStem, Stream
from nni_evanet.cli import main
from nni_evanet.data import DataSource
from nni_evanet.data.opening import open_video

SMALL = ["--frames", "6", "--size", "16", "--width", "4", "--iterations", "2", "--batch-size", "4"]
SMALL += ["--validation-clips", "3", "--workers", "0", "--threads", "1"]
TREES = {
    "hmdb51": hmdb51_tree,
    "charades": charades_tree,
    "moments": moments_tree,
    "kinetics": kinetics_tree,
}
LAYOUTS = {"hmdb51": "name", "charades": "charades", "moments": "relative", "kinetics": "u and v"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A function that gives a dataset's tree with its flow, made once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = TREES[name](tmp_path_factory.mktemp(name) / "data")
            for subset in ("train", "test" if name in ("hmdb51", "charades") else "val"):
                videos = DataSource(dataset=name, data_path=made[name]).load(subset)
                folder = "Charades_v1_flow" if name == "charades" else "flow"
                flow_tree(made[name] / folder, videos, layout=LAYOUTS[name])
        return made[name]

    return get


@pytest.fixture(scope="module")
def architecture(tmp_path_factory):
    """The file of a small architecture."""
    modules = (Module(1, (Stream("conv", "itgm", 3),)),) * 4
    path = tmp_path_factory.mktemp("architecture") / "architecture.json"
    path.write_text(Architecture("resnet", ResNetStem("conv3d", 3, 1, 3, 1), modules).to_json())
    return path


@pytest.fixture
def run(architecture):
    """Run a trial in this process; the final report, or the result where it must fail."""

    def run(name, path, *arguments, fails=False):
        command = ["trial", "--dataset", name, "--data-path", path, *SMALL]
        command += ["--architecture", architecture, *arguments]
        result = CliRunner().invoke(main, [str(word) for word in command])
        if fails:
            assert result.exit_code == 2, result.output
            (line,) = (text for text in result.stderr.splitlines() if " INFO " not in text)
            return line
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout.splitlines()[-1])

    return run


@pytest.mark.parametrize("modality", ["rgb", "flow"])
@pytest.mark.parametrize("name", TREES)
def test_a_trial(run, tree, name, modality):
    report = run(name, tree(name), "--modality", modality)
    assert 0 <= report["default"] <= 1 and report["loss"] > 0
    assert report["unreadable_videos"] == 0


@pytest.mark.parametrize("name", TREES)
def test_the_cache_changes_no_evaluation(run, tree, name, tmp_path):
    """Without a training step that matters, the same pixels give the same loss."""
    options = ("--learning-rate", "1e-12")
    plain = run(name, tree(name), *options)
    cached = [run(name, tree(name), *options, "--cache", tmp_path / "cache") for _ in range(2)]
    assert cached[0]["loss"] == cached[1]["loss"] == pytest.approx(plain["loss"], rel=1e-3)


def test_charades_frames(run, tmp_path):
    folder = charades_tree(tmp_path, pictures=True)
    assert run("charades", folder, "--fps", "24")["unreadable_videos"] == 0


@pytest.mark.parametrize("split", [1, 2, 3])
def test_the_splits_of_hmdb51(run, tree, split):
    assert run("hmdb51", tree("hmdb51"), "--split", split)["loss"] > 0


def test_a_corrupt_video_is_replaced_and_counted(run, tmp_path):
    folder = hmdb51_tree(tmp_path, train=10)
    victim = sorted(folder.glob("brush_hair/*.avi"))[0]
    (folder / "brush_hair" / victim.name).write_bytes(b"RIFF, and no more")
    report = run("hmdb51", folder, "--iterations", "12")
    assert report["unreadable_videos"] == 1


def test_too_many_corrupt_videos_fail_the_trial(run, tmp_path):
    folder = hmdb51_tree(tmp_path)
    for victim in folder.glob("sword/*.avi"):
        victim.write_bytes(b"RIFF, and no more")
    line = run("hmdb51", folder, "--iterations", "12", fails=True)
    assert "are unreadable, more than 5%; the first is" in line


def test_the_share_that_is_tolerated_can_be_set(run, tmp_path):
    folder = hmdb51_tree(tmp_path)
    for victim in sorted(folder.glob("sword/*.avi"))[:3]:
        victim.write_bytes(b"RIFF, and no more")
    report = run("hmdb51", folder, "--iterations", "12", "--max-unreadable", "0.5")
    assert 1 <= report["unreadable_videos"] <= 3


def test_odd_and_short_videos(run, tmp_path):
    folder = kinetics_tree(tmp_path)
    short, odd, *_ = sorted((folder / "train/abseiling").glob("*.mp4"))
    write_video(short, frames=1)
    write_video(odd, size=(62, 50))
    assert run("kinetics", folder, "--iterations", "6")["unreadable_videos"] == 0


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("hmdb51", ("--split", "4"), "split 4: hmdb51 has no such: expected 1 to 3"),
        ("charades", ("--split", "2"), "split 2: charades has no such"),
        ("moments", ("--modality", "flow", "--flow-path", "nowhere"), "nowhere"),
        ("kinetics", ("--training-clips", "99"), "99"),
    ],
)
def test_what_a_dataset_does_not_have_is_one_line(run, tree, name, arguments, message):
    assert message in run(name, tree(name), *arguments, fails=True)


@pytest.mark.parametrize("name", TREES)
def test_a_path_that_does_not_exist_is_one_line(run, tmp_path, name):
    assert "nowhere" in run(name, tmp_path / "nowhere", fails=True)


@pytest.mark.parametrize("name", TREES)
def test_a_search_never_reads_a_test_video(run, tree, name, monkeypatch):
    """Every file that a trial opens is one of the training subset."""
    opened = set()

    def spy(video, **options):
        opened.add(video.path)
        return open_video(video, **options)

    monkeypatch.setattr("nni_evanet.trial.opener", lambda decoder: spy)
    run(name, tree(name), "--iterations", "6")
    source = DataSource(dataset=name, data_path=tree(name))
    allowed = {video.path for video in source.load("train").videos}
    held_out = source.load("test" if name in ("hmdb51", "charades") else "val")
    assert opened and opened <= allowed
    assert not opened & {video.path for video in held_out.videos}
