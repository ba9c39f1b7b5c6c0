"""What it takes to repeat a search: versions, seeds, configuration, space, data and commands."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import yaml

from nni_evanet import __version__
from nni_evanet.architecture import ArchitectureError
from nni_evanet.report.experiment import Experiment
from nni_evanet.space import SearchSpace

_PACKAGES = ("nni", "torch", "torchvision", "pytorchvideo", "pytorch-lightning", "av", "numpy")
PARTITION_FILE = "validation.json"


@dataclass(frozen=True)
class Fact:
    """One line: what it is, its value, and what the value means where that needs saying."""

    name: str
    value: str
    note: str = ""


def versions() -> list[Fact]:
    """Of this environment: an experiment does not record those that it ran with."""
    facts = [Fact("nni_evanet", __version__), Fact("Python", platform.python_version())]
    for package in _PACKAGES:
        try:
            facts.append(Fact(package, version(package)))
        except PackageNotFoundError:
            facts.append(Fact(package, "not installed"))
    return facts


def seeds(experiment: Experiment) -> list[Fact]:
    """Of the search and of its trials, as far as the configuration tells them."""
    if experiment.config is None:
        return []
    facts = [Fact("search", str(experiment.tuner.get("seed", 0)))]
    option = trial_option(experiment, "--seed")
    if option is not None:
        return [*facts, Fact("trials", option)]
    ours = "nni-evanet trial" in trial_command(experiment)
    return [*facts, Fact("trials", "0", "the default")] if ours else facts


def trial_option(experiment: Experiment, name: str) -> str | None:
    """An option of the trial command; None where it is not given."""
    try:
        words = shlex.split(trial_command(experiment))
    except ValueError:  # the shell's own syntax, such as a quotation mark left open
        return None
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == name:
            return following
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return None


def trial_command(experiment: Experiment) -> str:
    """What NNI runs for each trial; empty if the configuration is not there."""
    return str((experiment.config or {}).get("trialCommand") or "").strip()


def configuration_text(experiment: Experiment) -> str | None:
    """NNI's configuration of the experiment, without the search space, as YAML."""
    if experiment.config is None:
        return None
    return yaml.safe_dump(experiment.config, sort_keys=False, allow_unicode=True, width=88)


def search_space_facts(search_space: dict[str, Any] | None) -> list[Fact]:
    """What was searched, and a hash by which equal spaces are known."""
    if not search_space:
        return []
    canonical = json.dumps(search_space, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    facts = [
        Fact("sha256", digest, "of the JSON with sorted keys and no spaces"),
        Fact("decisions", str(len(search_space)), "inactive ones included"),
    ]
    try:
        choices = {label: choice["_value"] for label, choice in search_space.items()}
        space = SearchSpace.from_choices(choices)
    except (ArchitectureError, KeyError, TypeError):
        return [*facts, Fact("space", "another than the paper's")]
    whole = space == SearchSpace(space.meta)
    extent = "the whole space" if whole else "a part of the space"
    return [Fact("space", f"{extent} of the {space.meta} meta-architecture"), *facts]


def data_facts(experiment: Experiment) -> list[Fact]:
    """Where the clips lay, and which were held out to measure the fitness."""
    facts = [
        Fact(name.removeprefix("--"), value)
        for name in ("--dataset", "--data-path", "--split", "--modality")
        if (value := trial_option(experiment, name)) is not None
    ]
    path = experiment.folder / PARTITION_FILE
    if path.is_file():
        content = path.read_bytes()
        facts.append(Fact("held-out videos", _counts(content), path.name))
        facts.append(Fact("sha256", hashlib.sha256(content).hexdigest(), f"of {path.name}"))
    return facts


def commands(experiment: Experiment) -> list[Fact]:
    """To search again, to look at the results, and to run the best trial by itself."""
    best = f"{experiment.id}_top1.json"
    lines = [
        Fact("search again", "nnictl create --config experiment.yml", "with the file below"),
        Fact("save the best", f"nni-evanet top {experiment.id} -k 3"),
        Fact("this page", f"nni-evanet report {experiment.id} -o report.html"),
    ]
    command = trial_command(experiment).removeprefix("exec ")
    if command.startswith("nni-evanet trial"):
        lines.append(Fact("train the best as its trial did", f"{command} --architecture {best}"))
    return lines


def _counts(content: bytes) -> str:
    try:
        parts = dict(json.loads(content))
    except (ValueError, TypeError):
        return "unreadable"
    lists = {name: len(value) for name, value in parts.items() if isinstance(value, list)}
    return ", ".join(f"{count} ({name})" for name, count in lists.items()) or "unreadable"
