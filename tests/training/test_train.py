"""`nni-evanet train`, run as a person runs it, killed, and resumed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from nni_evanet import load_network
from nni_evanet.commands.train import train
from nni_evanet.data import load_dataset
from nni_evanet.errors import Diverged, InputError

torch.set_num_threads(1)

OPTIONS = ["--width", "4", "--frames", "8", "--size", "16", "--iterations", "7"]
OPTIONS += ["--batch-size", "6", "--micro-batch", "3", "--workers", "0", "--checkpoint-every", "2"]


def arguments(digits, architecture, out, *more):
    data = ["--dataset", "moving-digits", "--data-path", digits, "--architecture", architecture]
    return [str(value) for value in (*data, "--out", out, *OPTIONS, *more)]


def run(*values):
    result = CliRunner().invoke(train, arguments(*values), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def start(*values):
    """Run it in another process: a script, since Lightning starts further processes with it."""
    script = values[2].parent / "nni_evanet_train.py"
    script.write_text("from nni_evanet.commands.train import train\ntrain()\n")
    return subprocess.Popen(
        [sys.executable, script, *arguments(*values)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def curve(out):
    with open(out / "curve.csv", newline="") as file:
        return list(csv.DictReader(file))


def same_weights(some, other):
    some, other = load_file(some), load_file(other)
    return some.keys() == other.keys() and all(torch.equal(some[k], other[k]) for k in some)


EXTRA = ("--ema", "0.8", "--validation-clips", "6", "--dropout", "0.5")


@pytest.fixture(scope="module")
def whole(digits, architecture_file, tmp_path_factory):
    """The folder of a training that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    run(digits, architecture_file, out, *EXTRA)
    return out


def test_the_file_is_enough_to_use_the_network(whole, digits):
    network = load_network(whole / "network.safetensors")
    card = network.card
    assert card.classes == load_dataset("moving-digits", digits).classes
    assert (card.frames, card.size, card.margin, card.dataset) == (8, 16, 1, "moving-digits")
    assert network(torch.zeros(1, 3, 8, 16, 16)).shape == (1, 12)
    last = [row for row in curve(whole) if row["validation_loss"]][-1]
    assert card.metrics["validation_loss"] == float(last["validation_loss"])
    assert card.metrics["training_loss"] == float(curve(whole)[-2]["loss"])
    assert card.provenance["settings"]["batch_size"] == 6
    assert len(list((whole / "tensorboard").glob("events*"))) > 0


def test_every_iteration_is_in_the_curve_with_its_learning_rate(whole):
    rows = [row for row in curve(whole) if row["loss"]]
    assert [int(row["iteration"]) for row in rows] == list(range(1, 8))
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates[0] == 0.004 and rates[1:] == sorted(rates[1:], reverse=True)
    validated = [int(row["iteration"]) for row in curve(whole) if row["validation_loss"]]
    assert validated == [2, 4, 6, 7]
    assert [path.name for path in sorted((whole / "checkpoints").iterdir())] == [
        "iteration_00000004.ckpt",
        "iteration_00000006.ckpt",
    ]


def test_a_killed_training_goes_on_as_if_it_had_not_been(
    digits, architecture_file, whole, tmp_path
):
    out = tmp_path / "killed"
    process = start(digits, architecture_file, out, *EXTRA)
    # Killed within the iterations that follow the second checkpoint.
    while not (out / "checkpoints" / "iteration_00000004.ckpt").exists():
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (out / "network.safetensors").exists()
    run(digits, architecture_file, out, *EXTRA)
    assert [r for r in curve(out) if r["loss"]] == [r for r in curve(whole) if r["loss"]]
    assert same_weights(out / "network.safetensors", whole / "network.safetensors")


def interrupted(whole, folder):
    """A copy of the finished training without its end."""
    (folder / "checkpoints").mkdir()
    for path in (
        "settings.json",
        "curve.csv",
        *(f"checkpoints/{p.name}" for p in checkpoints(whole)),
    ):
        (folder / path).write_bytes((whole / path).read_bytes())
    return folder


def checkpoints(folder):
    return sorted((folder / "checkpoints").iterdir())


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_after_a_damaged_checkpoint_the_one_before_is_used(
    digits, architecture_file, whole, tmp_path, caplog, damage
):
    out = interrupted(whole, tmp_path)
    last = checkpoints(out)[-1]
    content = bytearray(last.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    else:
        middle = len(content) // 2
        content[middle : middle + 64] = bytes(byte ^ 255 for byte in content[middle : middle + 64])
    last.write_bytes(content)
    with caplog.at_level("INFO"):
        run(digits, architecture_file, out, *EXTRA)
    assert f"checkpoint {last}: unusable" in caplog.text
    assert "resumed after iteration 4" in caplog.text
    assert curve(out) == curve(whole)
    assert same_weights(out / "network.safetensors", whole / "network.safetensors")


def test_without_a_good_checkpoint_it_says_so(digits, architecture_file, whole, tmp_path):
    out = interrupted(whole, tmp_path)
    for path in checkpoints(out):
        path.write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="no checkpoint can be read; remove the folder"):
        run(digits, architecture_file, out, *EXTRA)


def test_a_pickle_in_a_checkpoints_place_is_not_run(digits, architecture_file, whole, tmp_path):
    out = interrupted(whole, tmp_path)
    for path in checkpoints(out):
        torch.save({"global_step": _Trap(str(tmp_path / "sprung"))}, path)
    with pytest.raises(InputError, match="no checkpoint can be read"):
        run(digits, architecture_file, out, *EXTRA)
    assert not (tmp_path / "sprung").exists()


class _Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_changed_setting_is_named(digits, architecture_file, whole):
    changed = ("--ema", "0.8", "--validation-clips", "6", "--learning-rate", "0.1")
    with pytest.raises(InputError, match=r"learning_rate was 0\.004, is 0\.1$"):
        run(digits, architecture_file, whole, *changed)


def test_a_finished_training_is_left_alone(digits, architecture_file, whole, caplog):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    with caplog.at_level("INFO"):
        run(digits, architecture_file, whole, *EXTRA)
    assert "finished already" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_two_processes_have_the_batches_of_one(digits, architecture_file, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    # Of one clip at a time, whose batch norm is the same in any process.
    options = ("--iterations", "2", "--learning-rate", "1e-9", "--dropout", "0")
    options += ("--micro-batch", "1", "--validation-clips", "5")
    process = start(digits, architecture_file, two, *options, "--devices", "2")
    run(digits, architecture_file, one, *options)
    output, _ = process.communicate()
    assert process.returncode == 0, output.decode()
    for some, other in zip(curve(one), curve(two), strict=True):
        for name in ("loss", "accuracy", "learning_rate"):
            assert some[name] == other[name] == "" or float(some[name]) == pytest.approx(
                float(other[name]), rel=1e-5
            )
    settings = [json.loads((out / "settings.json").read_text()) for out in (one, two)]
    assert [s["processes"] for s in settings] == [1, 2]
    assert settings[0]["batch_size"] == settings[1]["batch_size"] == 6


def test_divergence_is_told(digits, architecture_file, tmp_path):
    with pytest.raises(Diverged, match="the loss is"):
        run(digits, architecture_file, tmp_path, "--learning-rate", "1e30")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--batch-size", "7"], "micro-batch 3: 7 clips are 7 a process"),
        (["--devices", "4"], "batch size 6: not a multiple of the 4 processes"),
        (["--baseline", "i3d"], "--architecture and --baseline: give one"),
        (["--top", "2"], "--top: for an experiment's architectures only"),
        (["--stretch", "11"], "--stretch is for the network of --init"),
        (["--validation-clips", "10000"], "validation part of 10000 videos"),
    ],
)
def test_bad_options_are_told(digits, architecture_file, tmp_path, more, message):
    with pytest.raises(InputError, match=message):
        run(digits, architecture_file, tmp_path, *more)
    assert list(tmp_path.iterdir()) == []


def test_a_trial_does_not_import_lightning():
    code = "import sys, nni_evanet.trial; print('pytorch_lightning' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == "False", output.stderr
