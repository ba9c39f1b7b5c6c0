"""The trial, run as a person runs it and called as the command line calls it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from nni_evanet import Architecture, build_network
from nni_evanet.architecture import Module, ResNetStem, Stream
from nni_evanet.cli import main
from nni_evanet.data.moving_digits import make_moving_digits
from nni_evanet.training.recipe import make_optimizer
from nni_evanet.trial import Scores

SMALL = ["--frames", "8", "--size", "16", "--width", "4", "--iterations", "4", "--batch-size", "4"]
SMALL += ["--validation-clips", "24", "--workers", "0", "--threads", "1", "--dropout", "0"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A tiny set of real clips."""
    folder = tmp_path_factory.mktemp("clips") / "moving_digits"
    make_moving_digits(folder, clips_per_class=4, seed=0)
    return folder


@pytest.fixture(scope="module")
def architecture(tmp_path_factory):
    """The file of a shallow architecture with every type of stream and op."""
    streams = (
        Stream("conv1x1x1"),
        Stream("conv", "conv3d", 3),
        Stream("conv_conv", "conv2plus1d", 3, "itgm", 5),
        Stream("pool", time=3),
    )
    value = Architecture("resnet", ResNetStem("itgm", 5, 1, 3, 1), (Module(2, streams),) * 4)
    path = tmp_path_factory.mktemp("architecture") / "architecture.json"
    path.write_text(value.to_json())
    return path


def call(*arguments):
    """Run the command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def train(clips, architecture, *arguments):
    base = ["trial", "--dataset", "moving-digits", "--data-path", clips]
    return call(*base, "--architecture", architecture, *SMALL, *arguments)


def final_report(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_a_person_can_run_a_trial_without_nni(clips, architecture):
    command = [Path(sys.executable).with_name("nni-evanet"), "trial", "--dataset", "moving-digits"]
    command += ["--data-path", clips, "--architecture", architecture, *SMALL]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout.splitlines()[-1])
    value = Architecture.from_json(architecture.read_text())
    assert report["fingerprint"] == value.fingerprint
    assert 0 <= report["default"] <= 1 and report["loss"] > 0
    network = build_network(value, num_classes=len(list((clips / "train").iterdir())), width=4)
    assert report["params"] == sum(p.numel() for p in network.parameters())
    assert report["gmacs"] > 0 and report["clips_per_second"] > 0
    assert report["peak_memory_mib"] > 0 and report["unreadable_videos"] == 0
    # One intermediate report for each iteration where there are fewer than ten.
    assert process.stderr.count("training accuracy") == 4


def test_the_same_seed_gives_the_same_result(clips, architecture):
    first, second = (final_report(train(clips, architecture)) for _ in range(2))
    other = final_report(train(clips, architecture, "--seed", "1"))
    assert first["loss"] == second["loss"] != other["loss"]


def test_micro_batches_give_the_whole_batchs_gradient(clips, architecture, monkeypatch):
    """With batch norm out of the way, 4 clips at once and 4 times 1 train the same network."""
    monkeypatch.setattr("nni_evanet.trial.build_network", _LinearNetwork)
    whole = final_report(train(clips, architecture))
    parts = final_report(train(clips, architecture, "--micro-batch", "1"))
    uneven = final_report(train(clips, architecture, "--micro-batch", "3"))
    assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert uneven["loss"] == pytest.approx(whole["loss"], rel=1e-5)


class _LinearNetwork(torch.nn.Module):
    """Without batch norm, whose statistics depend on what passes through at once."""

    def __init__(self, architecture, *, num_classes, in_channels, width, dropout):
        super().__init__()
        self.head = torch.nn.Module()
        self.head.classifier = torch.nn.Conv3d(in_channels, num_classes, 3)

    def forward(self, clips):
        return self.head.classifier(clips).mean((2, 3, 4))


def test_divergence_is_a_failure_and_no_score(clips, architecture):
    result = train(clips, architecture, "--learning-rate", "1e30")
    assert result.exit_code == 1
    assert "diverged: the" in result.stderr and "default" not in result.stdout


def test_training_learns(clips, architecture, caplog):
    """Forty iterations on forty clips are enough to remember some of them."""
    caplog.set_level("INFO")
    final_report(train(clips, architecture, "--iterations", "40", "--batch-size", "16"))
    losses = [record.args[1] for record in caplog.records if "training acc" in record.msg]
    assert len(losses) == 10 and losses[-1] < 0.8 * losses[0]


def test_the_search_reads_only_the_training_split(clips, architecture, tmp_path):
    import shutil

    only_train = tmp_path / "clips"
    shutil.copytree(clips, only_train)
    for split in ("val", "test"):
        shutil.rmtree(only_train / split)
        (only_train / f"{split}.csv").unlink()
    assert final_report(train(only_train, architecture))["default"] >= 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "imagenet"], "dataset 'imagenet' is unknown: expected one of"),
        (["--data-path", "nowhere"], "nowhere"),
        (["--learning-rate", "-1"], "'--learning-rate': -1.0 is not in the range x>0"),
        (["--size", "8"], "'--size': 8 is not in the range x>=16"),
        (["--validation-clips", "100000"], "validation part of 100000 videos: expected"),
        (["--architecture", "nowhere.json"], "'--architecture'"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(clips, architecture, arguments, message):
    assert_one_line(train(clips, architecture, *arguments), message)


def test_a_bad_architecture_file_is_one_line(clips, architecture, tmp_path):
    data = json.loads(architecture.read_text())
    data["modules"][2]["streams"][1]["time"] = 4
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(data))
    place = f"{path}: modules[2].streams[1].time: 4 is not one of 1, 3, 5, 7, 9, 11"
    assert_one_line(train(clips, path), place)


def test_an_empty_csv_is_one_line(architecture, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train.csv").touch()
    assert_one_line(train(tmp_path, architecture, "--dataset", "kinetics"), "train.csv")


def test_without_nni_and_without_a_file_it_says_what_is_missing(clips, monkeypatch):
    monkeypatch.delenv("NNI_TRIAL_JOB_ID", raising=False)
    result = call("trial", "--dataset", "moving-digits", "--data-path", clips)
    assert_one_line(result, "give --architecture FILE, or start it with nnictl")


def assert_one_line(result, message):
    lines = [line for line in result.stderr.splitlines() if " INFO " not in line]
    assert result.exit_code == 2 and len(lines) == 1, result.output
    assert lines[0].startswith("nni-evanet trial: ") and message in lines[0]


def test_a_trial_imports_neither_lightning_nor_nas():
    code = (
        "import sys, nni_evanet.trial;"
        "print([m for m in ('pytorch_lightning', 'nni', 'torchvision') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == "[]", output.stderr


def test_the_learning_rate_warms_up_and_decays_to_zero():
    network = torch.nn.Linear(1, 1)
    optimizer, schedule = make_optimizer(network, learning_rate=0.5, iterations=100)
    rates = []
    for _ in range(100):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.05) and max(rates) == pytest.approx(0.5)
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert schedule.get_last_lr()[0] == pytest.approx(0, abs=1e-6)


def test_means_weigh_clips_not_batches():
    mean = Scores()
    logits = torch.eye(3)
    mean.add(logits, torch.tensor([0, 1, 2]), torch.tensor(1.0))
    mean.add(logits[:1], torch.tensor([1]), torch.tensor(5.0))
    assert mean.read() == pytest.approx((3 / 4, 2.0))
