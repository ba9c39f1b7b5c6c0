"""The tuner, driven as NNI's dispatcher drives it. The real manager is in tests/test_nnictl.py."""

import json
import subprocess
import sys
import threading

import pytest

from nni_evanet.architecture import Architecture
from nni_evanet.space import SearchSpace
from nni_evanet.strategies import EvaNetTuner
from nni_evanet.strategies.journal import Journal

SEARCH_SPACE = {
    label: {"_type": "choice", "_value": list(choices)}
    for label, choices in SearchSpace("resnet").choices().items()
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An experiment's folder, given as NNI gives it."""
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    monkeypatch.setenv("NNI_CHECKPOINT_DIRECTORY", str(checkpoint))
    return tmp_path


def make(**arguments):
    tuner = EvaNetTuner(**{"population_size": 2, "sample_size": 2, **arguments})
    tuner.update_search_space(SEARCH_SPACE)
    return tuner


def evaluations(folder):
    return Journal(folder / "evaluations.jsonl").read()


def test_results_go_to_the_journal_with_their_metrics(folder):
    tuner = make()
    samples = tuner.generate_multiple_parameters([0, 1])
    tuner.receive_trial_result(1, samples[1], {"default": 0.25, "params": 9})
    tuner.receive_trial_result(0, samples[0], 0.5)
    records = evaluations(folder)
    assert [r["fitness"] for r in records] == [0.25, 0.5]
    assert records[0]["metrics"] == {"default": 0.25, "params": 9}
    for record, sample in zip(records, reversed(samples), strict=True):
        assert Architecture.from_json(record["architecture"]).to_sample() == sample
    child = tuner.generate_parameters(2)
    tuner.receive_trial_result(2, child, 0.75)
    assert evaluations(folder)[2]["parent"] == records[1]["fingerprint"]
    assert evaluations(folder)[2]["mutations"]


@pytest.mark.parametrize("value", [float("nan"), {"default": None}, {"loss": 1.0}, "high", True])
def test_what_is_no_finite_metric_is_a_failure(folder, value):
    tuner = make()
    tuner.receive_trial_result(0, tuner.generate_parameters(0), value)
    assert [r["fitness"] for r in evaluations(folder)] == [None]


def test_minimising_turns_the_fitness_around(folder):
    tuner = make(optimize_mode="minimize")
    tuner.receive_trial_result(0, tuner.generate_parameters(0), 3.0)
    (record,) = evaluations(folder)
    assert record["fitness"] == -3.0 and record["metrics"] == {"default": 3.0}


def test_a_crash_is_a_failure_and_an_end_after_a_result_is_nothing(folder):
    tuner = make()
    samples = tuner.generate_multiple_parameters([0, 1])
    tuner.trial_end(0, False)
    tuner.receive_trial_result(1, samples[1], 0.5)
    tuner.trial_end(1, True)
    assert [r["fitness"] for r in evaluations(folder)] == [None, 0.5]


def test_an_end_that_overtakes_its_result_waits_for_it(folder):
    tuner = make()
    sample = tuner.generate_parameters(0)
    end = threading.Thread(target=tuner.trial_end, args=(0, True))
    end.start()
    tuner.receive_trial_result(0, sample, 0.5)
    end.join()
    assert [r["fitness"] for r in evaluations(folder)] == [0.5]


def test_a_success_without_a_result_is_a_failure(folder):
    tuner = make()
    tuner.generate_parameters(0)
    tuner.trial_end(0, True)
    assert [r["fitness"] for r in evaluations(folder)] == [None]


def test_a_trial_that_was_added_by_hand_is_left_alone(folder):
    tuner = make()
    tuner.trial_end(None, True)
    assert evaluations(folder) == []


def test_a_resumed_tuner_has_every_evaluation_once(folder):
    first = make(max_mutations=3, rounds=1)
    for i in range(4):
        first.receive_trial_result(i, first.generate_parameters(i), 0.1 * i)
    running, lost = first.generate_parameters(4), first.generate_parameters(5)
    before = evaluations(folder)
    with (folder / "evaluations.jsonl").open("a") as file:
        file.write('{"architecture": ')

    second = make(max_mutations=3, rounds=1)
    second.load_checkpoint()
    finished = [{"parameter": _sample(r), "value": r["metrics"]} for r in before]
    second.import_data(finished)
    assert evaluations(folder) == before
    # A trial that was running runs again, and comes as an import too.
    second.import_data([{"parameter": running, "value": {"default": 0.9}}])
    records = evaluations(folder)
    assert len(records) == 5 and records[4]["fitness"] == 0.9
    assert records[4]["parent"] in {r["fingerprint"] for r in before}
    # The schedule goes on: three children are in, so the next has one mutation, and is new.
    child = Architecture.from_sample(second.generate_parameters(0))
    known = {r["fingerprint"] for r in records} | {Architecture.from_sample(lost).fingerprint}
    assert child.fingerprint not in known
    second.receive_trial_result(0, child.to_sample(), 1.0)
    assert len(evaluations(folder)[5]["mutations"]) == 1


def test_an_import_that_the_journal_lacks_is_taken_and_a_foreign_one_left_out(folder):
    tuner = make()
    tuner.load_checkpoint()
    sample = make().generate_parameters(0)
    tuner.import_data(
        [{"parameter": {"lr": 0.1}, "value": 0.4}, {"parameter": sample, "value": 0.5}]
    )
    assert [r["fitness"] for r in evaluations(folder)] == [0.5]


def _sample(record):
    return Architecture.from_json(record["architecture"]).to_sample()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"space": "vgg"}, "meta: 'vgg' is not one of"),
        ({"population_size": -1}, "population_size: -1"),
        ({"schedule": "cosine"}, "schedule: 'cosine' is not one of annealed, constant"),
        ({"schedule": "constant", "rounds": 5}, "rounds: a constant schedule has none"),
        ({"optimize_mode": "max"}, "optimize_mode: 'max' is not one of maximize, minimize"),
        ({"removal": "none"}, "removal: 'none' is not one of"),
        ({"max_mutations": 0}, "max_mutations: 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError) as error:
        make(**arguments)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    "change",
    [
        {"stem/conv/time": {"_type": "choice", "_value": [1, 3]}},
        {"learning_rate": {"_type": "uniform", "_value": [0, 1]}},
    ],
)
def test_another_search_space_ends_the_process_with_the_reason(change):
    code = (
        "import json, sys; from nni_evanet.strategies import EvaNetTuner;"
        "EvaNetTuner(population_size=2).update_search_space(json.load(sys.stdin));"
        "print('survived')"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(SEARCH_SPACE | change),
        capture_output=True,
        text=True,
    )
    output = process.stdout + process.stderr
    assert process.returncode == 1 and "survived" not in output
    assert f"the tuner ends the experiment: search space: {next(iter(change))}:" in output


def test_the_tuner_imports_neither_torch_nor_nas():
    code = (
        "import sys; from nni_evanet.strategies import EvaNetTuner;"
        "EvaNetTuner(population_size=2);"
        "print([m for m in ('torch', 'nni.nas') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == "[]", output.stderr


def test_it_evolves_the_inception_like_space_and_narrowed_ones():
    narrow = SearchSpace("inception", ops=("conv3d", "conv2plus1d"), modules=3)
    tuner = EvaNetTuner("inception", population_size=2, sample_size=2)
    tuner.update_search_space(
        {label: {"_value": list(choices)} for label, choices in narrow.choices().items()}
    )
    for number in range(8):
        sample = tuner.generate_parameters(number)
        narrow.check(Architecture.from_sample(sample, "inception"))
        tuner.receive_trial_result(number, sample, {"default": number / 10})
