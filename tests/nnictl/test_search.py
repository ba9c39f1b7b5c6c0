"""A search on NNI's real manager: parameters, failures, kill -9 and errors of the tuner."""

import shlex
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from manager import Manager, make_config

from nni_evanet.architecture import Architecture
from nni_evanet.cli import main
from nni_evanet.data import load_dataset, read_partition, split_validation
from nni_evanet.data.moving_digits import make_moving_digits

SYNTHETIC = f"exec {shlex.quote(sys.executable)} {Path(__file__).with_name('synthetic_trial.py')}"


@pytest.fixture
def start(tmp_path):
    """Start experiments, and stop them whatever happens."""
    managers = []

    def start(trial_command, **arguments):
        manager = Manager(tmp_path, make_config(tmp_path, trial_command, **arguments))
        managers.append(manager)
        manager.create()
        return manager

    yield start
    for manager in managers:
        manager.stop()


def check_that_all_records_agree(manager):
    """The manager's parameters, the trials' reports and the journal speak of the same."""
    journal = {r["fingerprint"]: r["fitness"] for r in manager.evaluations()}
    for trial in manager.trials():
        fingerprint = Architecture.from_sample(trial["sample"]).fingerprint
        if trial["status"] == "SUCCEEDED":
            assert trial["metric"]["fingerprint"] == fingerprint
            assert journal[fingerprint] == trial["metric"]["default"]
        else:
            assert trial["status"] == "FAILED" and journal[fingerprint] is None


def test_two_at_a_time_and_one_that_crashes(start):
    manager = start(f"{SYNTHETIC} 0.5 2", trials=8, population_size=3, sample_size=2)
    assert manager.wait_for("DONE", "ERROR") == "DONE"
    evaluations = manager.evaluations()
    assert len(evaluations) == 8
    assert [e["fitness"] for e in evaluations].count(None) == 1
    assert sum(e["parent"] is not None for e in evaluations) >= 3
    check_that_all_records_agree(manager)


def test_real_trials_on_real_clips(start, tmp_path):
    clips = tmp_path / "clips"
    make_moving_digits(clips, clips_per_class=4, seed=0)
    trial = Path(sys.executable).with_name("nni-evanet")
    command = f"exec {shlex.quote(str(trial))} trial --dataset moving-digits --data-path clips "
    command += "--frames 8 --size 16 --width 8 --iterations 3 --batch-size 4 --workers 0 "
    command += "--threads 1 --validation-clips 24"
    manager = start(command, trials=4, population_size=2, sample_size=2)
    assert manager.wait_for("DONE", "ERROR") == "DONE"
    check_that_all_records_agree(manager)
    # The validation part is saved with the experiment: a later trial holds out the same.
    videos = load_dataset("moving-digits", clips)
    parts = split_validation(videos.videos, count=24)
    saved = read_partition(manager.root / "validation.json", videos.videos, root=clips)
    assert saved == parts
    for evaluation in manager.evaluations():
        metrics = evaluation["metrics"]
        assert 0 <= metrics["default"] <= 1 and metrics["params"] > 0 and metrics["gmacs"] > 0
        assert metrics["seconds"] > 0 and metrics["peak_memory_mib"] > 0
    # `top` shows what the search found, by the experiment's name alone.
    result = CliRunner().invoke(main, ["top", manager.id, "-k", "2", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "4 architectures evaluated, 0 failed" in result.output
    fitness = {e["fingerprint"]: e["fitness"] for e in manager.evaluations()}
    saved = [(tmp_path / f"{manager.id}_top{place}.json").read_text() for place in (1, 2)]
    ranked = [fitness[Architecture.from_json(text).fingerprint] for text in saved]
    assert ranked == sorted(fitness.values(), reverse=True)[:2]


def test_kill_9_of_the_manager_loses_no_evaluation(start):
    manager = start(f"{SYNTHETIC} 1 -1", trials=14, population_size=3, max_mutations=2, rounds=2)
    while len(manager.evaluations()) < 5:
        time.sleep(0.5)
    manager.kill()
    # The dispatcher of the killed manager lives on for about 20 s.
    time.sleep(35)
    before = manager.evaluations()
    manager.resume()
    assert manager.wait_for("DONE", "ERROR") == "DONE", manager.log()
    after = manager.evaluations()
    assert after[: len(before)] == before
    assert len({e["fingerprint"] for e in after}) == len(after) == 14
    check_that_all_records_agree(manager)
    # d = 2, r = 2: with two or more children evaluated, a child has one mutation.
    assert all(len(e["mutations"]) == 1 for e in after[8:])


def test_an_error_in_the_tuner_ends_the_experiment_with_the_reason(start):
    manager = start(f"{SYNTHETIC} 0.5 -1", trials=4, population_size=2)
    manager.wait_for("RUNNING")
    # A journal that cannot be written is the tuner's own failure.
    journal = manager.root / "evaluations.jsonl"
    journal.unlink(missing_ok=True)
    journal.mkdir()
    assert manager.wait_for("DONE", "ERROR") == "ERROR"
    assert "the tuner ends the experiment" in manager.log()
    assert "Is a directory" in manager.log()
