"""An experiment as its folder tells it: NNI's own, or a copy of it taken elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nni_evanet.compat import (
    StoredTrial,
    experiment_folder,
    manager_runs,
    stored_config,
    stored_trials,
)
from nni_evanet.strategies.journal import FILE_NAME, Journal


@dataclass(frozen=True)
class Experiment:
    """A search at one moment.

    Attributes:
        folder: its folder, which is named by its id.
        records: its journal.
        config: NNI's configuration of it, without the search space; None if it is not there.
        search_space: as NNI has it, None likewise.
        trials: NNI's records of the trials; empty likewise.
        running: whether its manager runs; None if that cannot be known, as for a copy.
    """

    folder: Path
    records: list[dict[str, Any]]
    config: dict[str, Any] | None
    search_space: dict[str, Any] | None
    trials: list[StoredTrial]
    running: bool | None

    @property
    def id(self) -> str:
        """NNI's name of it."""
        return self.folder.name

    @property
    def tuner(self) -> dict[str, Any]:
        """The arguments of the tuner; empty if the configuration is not there."""
        tuner = (self.config or {}).get("tuner") or {}
        return tuner.get("classArgs") or {}


def find_experiment(experiment: str) -> Path:
    """The folder of an experiment, given its id or the path of its folder.

    Raises:
        InputError: neither.
    """
    folder = Path(experiment)
    if (folder / FILE_NAME).is_file() or (folder / "db").is_dir():
        return folder.resolve()
    return experiment_folder(experiment)


def open_experiment(experiment: str) -> Experiment:
    """Read everything; the experiment may be running, and may have no results yet.

    Raises:
        InputError: no such experiment, or its journal is damaged.
    """
    folder = find_experiment(experiment)
    config = stored_config(folder)
    search_space = config.pop("searchSpace", None) if config else None
    return Experiment(
        folder=folder,
        records=Journal(folder / FILE_NAME).read(),
        config=config,
        search_space=search_space,
        trials=stored_trials(folder),
        running=manager_runs(folder),
    )
