"""NNI's own HPO tuners on our search-space files, with our trial on real clips."""

import shlex
import sys
from pathlib import Path

import pytest
from manager import SPACE_FILE, Manager, make_config

from nni_evanet.architecture import Architecture
from nni_evanet.data.moving_digits import make_moving_digits

TRIALS = 2
SMALL = "--frames 8 --size 16 --width 8 --iterations 2 --batch-size 4 --validation-clips 24"


def config_of(folder: Path, clips: Path, meta: str, tuner: dict[str, object]) -> dict[str, object]:
    """An experiment with one of NNI's tuners in place of ours."""
    trial = shlex.quote(str(Path(sys.executable).with_name("nni-evanet")))
    command = f"exec {trial} trial --dataset moving-digits --data-path {clips} --meta {meta}"
    config = make_config(folder, f"{command} {SMALL} --workers 0 --threads 1", trials=TRIALS)
    space = str(SPACE_FILE.with_name(f"evanet_{meta}.json"))
    return config | {"tuner": tuner, "searchSpaceFile": space}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A tiny set of real clips."""
    folder = tmp_path_factory.mktemp("clips") / "moving_digits"
    make_moving_digits(folder, clips_per_class=4, seed=0)
    return folder


@pytest.mark.parametrize("meta", ["resnet", "inception"])
@pytest.mark.parametrize(
    "tuner",
    [
        {"name": "Random", "classArgs": {"seed": 0}},
        {"name": "TPE", "classArgs": {"optimize_mode": "maximize", "seed": 0}},
        {"name": "Evolution", "classArgs": {"optimize_mode": "maximize", "population_size": 8}},
    ],
    ids=lambda tuner: tuner["name"],
)
def test_the_space_files_serve_nnis_tuners(tmp_path, clips, tuner, meta):
    manager = Manager(tmp_path, config_of(tmp_path, clips, meta, tuner))
    try:
        manager.create()
        assert manager.wait_for("DONE", "ERROR") == "DONE", manager.log()
        trials = manager.trials()
    finally:
        manager.stop()
    assert [trial["status"] for trial in trials] == ["SUCCEEDED"] * TRIALS
    for trial in trials:
        # Two ran at a time: each must have evaluated what the manager's record of it says.
        architecture = Architecture.from_sample(trial["sample"], meta)
        assert trial["metric"]["fingerprint"] == architecture.fingerprint
        assert 0 <= trial["metric"]["default"] <= 1
