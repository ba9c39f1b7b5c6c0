"""From nothing to an EvaNet and its report: what `make demo` runs.

Makes the moving-digits clips, starts NNI's manager with examples/moving_digits.yml, watches the
search, checks that NNI's records and the trials' reports speak of the same architectures, and
prints the best three. Trains these in full, evaluates them and their ensemble on the test clips
beside I3D, Inceptions of one op and random architectures, all trained alike, and writes the report.
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests
import yaml
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nni_evanet.architecture import Architecture
from nni_evanet.errors import InputError
from nni_evanet.report.plots import draw_fitness
from nni_evanet.report.top import read_evaluations

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "examples/moving_digits.yml"
OUT = ROOT / "demo"
CLIPS_PER_CLASS = 80
# The search's clips and width; all networks are trained alike, a little longer than in the search.
FULL_TRAINING = "--frames 32 --size 16 --width 8 --dropout 0 --iterations 100 --batch-size 16 "
FULL_TRAINING += "--micro-batch 16 --learning-rate 0.015 --workers 0"
COMPARED = "diverse,i3d,random"


def main() -> None:
    """The demo, from top to bottom."""
    clips = ("--clips-per-class", CLIPS_PER_CLASS)
    run("nni-evanet", "make-dataset", "moving-digits", OUT / "moving_digits", *clips)

    port = free_port()
    run("nnictl", "create", "--config", CONFIG, "--port", port)
    experiment = ask_manager(port, "experiment")["id"]
    print(f"\nExperiment {experiment}: watch it at http://127.0.0.1:{port}\n")
    try:
        watch(experiment, port)
        check_records(ask_manager(port, "trial-jobs"))
        run("nni-evanet", "top", experiment, "-k", 3, "--out", OUT)
        draw_fitness(read_evaluations(experiment), OUT / "progress.png")
    finally:
        run("nnictl", "stop", experiment)

    print("\nThe best three, trained in full, beside others of the same cost:\n")
    results = OUT / f"evanet_{experiment}"
    data = ("--dataset", "moving-digits", "--data-path", OUT / "moving_digits")
    # A video is one clip long: there is one view of it.
    views = ("--clips", 1, "--crops", 1)
    options = (*data, "--out", results, "--compare", COMPARED, *FULL_TRAINING.split(), *views)
    run("nni-evanet", "ensemble", experiment, *options)
    report = OUT / "report.html"
    run("nni-evanet", "report", experiment, "-o", report, "--results", results / "results.json")
    print(f"\nThe report: {report}")
    print(f"See the trials again in NNI's web page: nnictl view {experiment}")


def watch(experiment: str, port: int) -> None:
    """Show the progress until all trials have ended."""
    columns = (
        TextColumn("searching"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("best validation accuracy {task.fields[best]:.3f}"),
    )
    trials = yaml.safe_load(CONFIG.read_text())["maxTrialNumber"]
    with Progress(*columns) as progress:
        task = progress.add_task("", total=trials, best=0.0)
        while (status := ask_manager(port, "check-status")["status"]) not in ("DONE", "ERROR"):
            evaluations = evaluations_so_far(experiment)
            best = max((e["fitness"] or 0.0 for e in evaluations), default=0.0)
            progress.update(task, completed=len(evaluations), best=best)
            time.sleep(2)
        progress.update(task, completed=len(evaluations_so_far(experiment)))
    if status == "ERROR":
        sys.exit("the experiment ended in ERROR; its log/dispatcher.log says why")


def check_records(trials: list[dict[str, Any]]) -> None:
    """Every trial must have evaluated the parameters that the manager's record of it shows."""
    reported = 0
    for trial in trials:
        if not trial.get("finalMetricData"):
            continue
        parameters = json.loads(trial["hyperParameters"][0])["parameters"]
        metric = json.loads(json.loads(trial["finalMetricData"][0]["data"]))
        if metric["fingerprint"] != Architecture.from_sample(parameters).fingerprint:
            sys.exit(f"trial {trial['trialJobId']} evaluated something else than its record says")
        reported += 1
    print(f"{reported} trials reported the fingerprint of the manager's record of them\n")


def evaluations_so_far(experiment: str) -> list[dict[str, Any]]:
    """The experiment's journal, empty before the first evaluation."""
    try:
        return read_evaluations(experiment)
    except InputError:
        return []


def ask_manager(port: int, what: str) -> Any:
    """A value of the manager's REST interface."""
    response = requests.get(f"http://127.0.0.1:{port}/api/v1/nni/{what}", timeout=30)
    response.raise_for_status()
    return response.json()


def run(command: str, *arguments: object) -> None:
    """Run a command of this environment; end the demo where it fails."""
    environment = os.environ | {
        # The trials that NNI starts look for nni-evanet on the path.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        # nnictl would complain about pkg_resources at every call.
        "PYTHONWARNINGS": "ignore:pkg_resources is deprecated",
    }
    program = Path(sys.executable).with_name(command)
    subprocess.run([program, *map(str, arguments)], env=environment, check=True)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
