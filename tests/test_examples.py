"""The example configurations: NNI accepts them, our tuner and our trial accept what they say."""

import shlex
from pathlib import Path

import pytest
from nni.experiment.config import ExperimentConfig

from nni_evanet.cli import main
from nni_evanet.strategies import EvaNetTuner

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.yml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_accepted_by_all_who_read_it(path):
    config = ExperimentConfig.load(path)
    config.validate()
    assert config.tuner.class_name == "nni_evanet.strategies.EvaNetTuner"
    tuner = EvaNetTuner(**config.tuner.class_args)
    # The tuner ends the process where the space is not its own.
    tuner.update_search_space(config.canonical_copy().search_space)
    start, command, name, *options = shlex.split(config.trial_command)
    assert (start, command, name) == ("exec", "nni-evanet", "trial")
    parsed = main.commands["trial"].make_context(name, options)
    assert parsed.params["meta"] == config.tuner.class_args["space"]


@pytest.mark.parametrize(
    ("name", "frames"), [("kinetics", 32), ("hmdb51", 32), ("charades", 64), ("moments", 32)]
)
def test_an_example_is_the_paper_s_appendix_b(name, frames):
    config = ExperimentConfig.load(next(p for p in EXAMPLES if p.stem == name))
    arguments = config.tuner.class_args
    assert (arguments["population_size"], arguments["sample_size"]) == (100, 25)
    assert (arguments["max_mutations"], arguments["rounds"]) == (7, 100)
    assert config.max_trial_number == 2100 and config.trial_gpu_number is None
    trial = main.commands["trial"].make_context("trial", shlex.split(config.trial_command)[3:])
    paper = {"frames": frames, "size": 176, "iterations": 1000, "batch_size": 144}
    paper |= {"validation_clips": 1000, "width": 64, "dataset": name, "modality": "rgb"}
    assert {name: trial.params[name] for name in paper} == paper
