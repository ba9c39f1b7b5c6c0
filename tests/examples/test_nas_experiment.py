"""examples/nas_experiment.py on NNI's real manager, interrupted with Ctrl-C and resumed."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nni_evanet.architecture import Architecture
from nni_evanet.data.moving_digits import make_moving_digits
from nni_evanet.strategies.journal import FILE_NAME, Journal

EXAMPLE = Path(__file__).parents[2] / "examples/nas_experiment.py"
# One at a time. NNI counts what it has started: the trial that Ctrl-C ends counts twice.
TRIALS = 4


class Run:
    """The example as a process, with a home folder of its own for NNI's files."""

    def __init__(self, home: Path, *arguments: object) -> None:
        self.home = home
        self.output = home / f"output{time.monotonic_ns()}.txt"
        command = [sys.executable, EXAMPLE, home / "clips", "--port", _free_port(), *arguments]
        command += ["--frames", 8, "--iterations", 2, "--batch-size", 4, "--validation-clips", 24]
        command += ["--trials", TRIALS, "--concurrency", 1, "--population-size", 2]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "HOME": str(home)},
                # Where the tests run in the background, their children would ignore Ctrl-C.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def evaluations(self) -> list[dict]:
        journals = list(self.home.glob(f"nni-experiments/*/{FILE_NAME}"))
        return Journal(journals[0]).read() if journals else []

    def submitted(self) -> list[str]:
        """The fingerprints of what the strategy has given to NNI."""
        return re.findall(r"(\w{16}) submitted", self.text())

    def wait_until_one_is_done_and_one_in_training(self) -> None:
        deadline = time.monotonic() + 240
        while not self.evaluations() or len(self.submitted()) < 2:
            assert self.process.poll() is None and time.monotonic() < deadline, self.text()
            time.sleep(0.2)

    def finish(self) -> str:
        assert self.process.wait(240) == 0, self.text()
        return self.text()

    def stop(self) -> None:
        """Ctrl-C, for it stops NNI's manager as well."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)

    def text(self) -> str:
        return self.output.read_text()


@pytest.fixture
def start(tmp_path):
    make_moving_digits(tmp_path / "clips", clips_per_class=4, progress=False)
    runs = []

    def start(*arguments):
        runs.append(Run(tmp_path, *arguments))
        return runs[-1]

    yield start
    for run in runs:
        run.stop()


@pytest.mark.parametrize("evaluator", ["function", "lightning"])
def test_interrupted_and_resumed_with_nothing_lost(start, evaluator):
    first = start("--evaluator", evaluator)
    first.wait_until_one_is_done_and_one_in_training()
    first.process.send_signal(signal.SIGINT)
    experiment = re.search(r"--resume (\w+)", first.finish())
    assert experiment, first.text()
    before = first.evaluations()
    assert 1 <= len(before) < TRIALS

    second = start("--evaluator", evaluator, "--resume", experiment[1])
    text = second.finish()
    after = second.evaluations()
    assert after[: len(before)] == before
    fingerprints = {evaluation["fingerprint"] for evaluation in after}
    assert len(fingerprints) == len(after) > len(before)
    # What was in training at Ctrl-C, too.
    assert len(first.submitted()) > len(before)
    assert fingerprints.issuperset(first.submitted())
    assert f"{len(after)} networks evaluated, 0 failed" in text
    ranked = re.findall(r"^accuracy (\S+)  (\w+)  (.*)$", text, re.MULTILINE)
    assert [accuracy for accuracy, _, _ in ranked] == [
        f"{fitness:.3f}" for fitness in sorted((e["fitness"] for e in after), reverse=True)[:3]
    ]
    for _, fingerprint, json in ranked:
        assert Architecture.from_json(json).fingerprint == fingerprint


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
