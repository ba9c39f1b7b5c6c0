"""NNI's own HPO tuners on our search-space file, with the parameters taken as our trial does."""

import shlex
import sys
from pathlib import Path

import pytest
import yaml
from manager import Manager

from nni_evanet.architecture import Architecture

TRIAL = Path(__file__).with_name("synthetic_trial.py")
TRIALS = 4


class BuiltInManager(Manager):
    """An experiment with one of NNI's tuners in place of ours."""

    def __init__(self, folder: Path, tuner: str, **arguments: object) -> None:
        command = f"exec {shlex.quote(sys.executable)} {TRIAL} 0 -1"
        super().__init__(folder, command, trials=TRIALS)
        config = yaml.safe_load(self.config.read_text())
        config["tuner"] = {"name": tuner, "classArgs": arguments}
        self.config.write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("tuner", "arguments"),
    [
        ("Random", {"seed": 0}),
        ("TPE", {"optimize_mode": "maximize", "seed": 0}),
        ("Evolution", {"optimize_mode": "maximize", "population_size": 8}),
    ],
)
def test_the_space_file_serves_nnis_tuners(tmp_path, tuner, arguments):
    manager = BuiltInManager(tmp_path, tuner, **arguments)
    try:
        manager.create()
        assert manager.wait_for("DONE", "ERROR") == "DONE", manager.log()
        trials = manager.trials()
    finally:
        manager.stop()
    assert [trial["status"] for trial in trials] == ["SUCCEEDED"] * TRIALS
    for trial in trials:
        # Two ran at a time: each must have evaluated what the manager's record of it says.
        architecture = Architecture.from_sample(trial["sample"])
        assert trial["metric"]["fingerprint"] == architecture.fingerprint
        assert 0 < trial["metric"]["default"] <= 1
