"""`nnictl create` with a small copy of each example: the file as it is, its numbers smaller."""

import shlex
import sys
from pathlib import Path

import pytest
import yaml
from manager import Manager
from trees import charades_tree, hmdb51_tree, kinetics_tree, moments_tree

EXAMPLES = Path(__file__).parents[2] / "examples"
TREES = {
    "kinetics": kinetics_tree,
    "hmdb51": hmdb51_tree,
    "charades": charades_tree,
    "moments": moments_tree,
}
SMALLER = {
    "--frames": "6",
    "--size": "16",
    "--iterations": "2",
    "--batch-size": "4",
    "--micro-batch": "2",
    "--validation-clips": "3",
    "--workers": "0",
}


def small_copy(name: str, folder: Path) -> dict:
    """The example's configuration for two trials on a small tree, without a GPU."""
    config = yaml.safe_load((EXAMPLES / f"{name}.yml").read_text())
    start, _, *words = shlex.split(config["trialCommand"])
    options = dict(zip(words[1::2], words[2::2], strict=True))
    del options["--gpus"]
    options |= SMALLER | {"--data-path": str(TREES[name](folder / "data"))}
    options |= {"--width": "8", "--threads": "1"}
    if "--cache" in options:
        options["--cache"] = str(folder / "cache")
    if "--training-clips" in options:
        options["--training-clips"] = "6"
    program = str(Path(sys.executable).with_name("nni-evanet"))
    command = [start, program, words[0], *(word for pair in options.items() for word in pair)]
    config["trialCommand"] = shlex.join(command)
    for key in ("searchSpaceFile", "trialCodeDirectory"):
        config[key] = str(EXAMPLES / config[key])
    config["tuner"]["codeDirectory"] = str(folder)
    config["tuner"]["classArgs"] |= {"population_size": 2, "sample_size": 2}
    return config | {"maxTrialNumber": 2, "trialConcurrency": 2}


@pytest.mark.parametrize("name", TREES)
def test_a_small_copy_of_the_example_runs(tmp_path, name):
    manager = Manager(tmp_path, small_copy(name, tmp_path))
    try:
        manager.create()
        assert manager.wait_for("DONE", "ERROR") == "DONE", manager.log()
        trials = manager.trials()
    finally:
        manager.stop()
    assert [trial["status"] for trial in trials] == ["SUCCEEDED"] * 2
    for trial in trials:
        assert 0 <= trial["metric"]["default"] <= 1
        assert trial["metric"]["unreadable_videos"] == 0
    assert (manager.root / "validation.json").is_file()
