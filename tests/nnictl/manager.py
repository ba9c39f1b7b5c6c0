"""NNI's real manager under test: started by nnictl, watched through its REST interface."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import requests
import yaml

from nni_evanet.strategies.journal import FILE_NAME, Journal

SPACE_FILE = Path(__file__).parents[2] / "search_spaces/evanet_resnet.json"
NNICTL = Path(sys.executable).with_name("nnictl")


def make_config(folder: Path, trial_command: str, *, trials: int, **tuner: Any) -> dict[str, Any]:
    """An experiment of our tuner on the whole ResNet-like space, two trials at a time."""
    return {
        "searchSpaceFile": str(SPACE_FILE),
        "trialCommand": trial_command,
        "trialCodeDirectory": str(folder),
        "trialConcurrency": 2,
        "maxTrialNumber": trials,
        "tuner": {
            "className": "nni_evanet.strategies.EvaNetTuner",
            "codeDirectory": str(folder),
            "classArgs": tuner,
        },
        "trainingService": {"platform": "local"},
    }


class Manager:
    """One experiment in a folder of its own."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        self.port = _free_port()
        working = {"experimentWorkingDirectory": str(folder / "experiments")}
        self.config = folder / "experiment.yml"
        self.config.write_text(yaml.safe_dump(config | working))
        self.id = ""

    def create(self) -> None:
        self._nnictl("create", "--config", str(self.config), "--port", str(self.port))
        self.id = self.get("experiment")["id"]

    def resume(self) -> None:
        self.port = _free_port()
        self._nnictl("resume", self.id, "--port", str(self.port))

    def stop(self) -> None:
        if self.id:
            subprocess.run([NNICTL, "stop", self.id], capture_output=True, timeout=60)

    def kill(self) -> None:
        """kill -9 of the manager's process, and of nothing else."""
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if any(part.endswith("main.js") for part in command) and str(self.port) in command:
                process.send_signal(signal.SIGKILL)
                process.wait(10)
                return
        raise AssertionError("no manager to kill")

    def get(self, what: str) -> Any:
        """A value of the REST interface; the manager may take a while to be there."""
        url = f"http://127.0.0.1:{self.port}/api/v1/nni/{what}"
        for _ in range(60):
            try:
                response = requests.get(url, timeout=10)
                if response.ok:
                    return response.json()
            except requests.ConnectionError:
                pass
            time.sleep(0.5)
        raise AssertionError(f"no answer from {url}")

    @property
    def status(self) -> str:
        return self.get("check-status")["status"]

    def wait_for(self, *statuses: str, timeout_s: float = 240) -> str:
        deadline = time.monotonic() + timeout_s
        while (status := self.status) not in statuses:
            assert time.monotonic() < deadline, f"{status} after {timeout_s} s\n{self.log()}"
            time.sleep(1)
        return status

    def trials(self) -> list[dict[str, Any]]:
        """The manager's records, each with its parameters and its final metric, if any, parsed."""
        records = self.get("trial-jobs")
        for record in records:
            record["sample"] = json.loads(record["hyperParameters"][0])["parameters"]
            final = record.get("finalMetricData")
            # The manager keeps the metric as JSON in a JSON string.
            record["metric"] = json.loads(json.loads(final[0]["data"])) if final else None
        return records

    def evaluations(self) -> list[dict[str, Any]]:
        return Journal(self.root / FILE_NAME).read()

    def log(self) -> str:
        return (self.root / "log/dispatcher.log").read_text()

    @property
    def root(self) -> Path:
        return self.folder / "experiments" / self.id

    def _nnictl(self, *arguments: str) -> None:
        result = subprocess.run([NNICTL, *arguments], capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stdout + result.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
