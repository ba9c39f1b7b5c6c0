"""Every workaround for a defect of NNI 3.0 or pytorchvideo 0.1.5, each with the defect it is for.

Neither project takes fixes any more. Nothing here is needed for any other reason.
"""

from __future__ import annotations

import functools
import importlib
import json
import logging
import os
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, ParamSpec, TypeVar

from nni_evanet.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

# NNI writes what is logged under "nni" to the experiment's log/dispatcher.log, and nothing else.
logger = logging.getLogger("nni.evanet")


def ends_experiment_on_error(method: Callable[P, R]) -> Callable[P, R]:
    """Let an error in a tuner's method end the experiment.

    Defect: the dispatcher swallows an exception of a tuner and leaves the experiment RUNNING for
    ever. When its process ends, the manager turns the experiment's status to ERROR.
    """
    import nni

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except nni.NoMoreTrialError:
            raise
        except Exception as error:
            _end_process(error)

    return guarded


def _end_process(error: Exception) -> NoReturn:
    logger.critical("the tuner ends the experiment: %s", error, exc_info=error)
    logging.shutdown()
    # sys.exit would end only the dispatcher's thread that called the tuner.
    os._exit(1)


def receive_parameters(patience_s: float = 20.0) -> dict[str, Any]:
    """What this trial has to evaluate.

    Defect (microsoft/nni#5726, #5689): with two or more trials at a time the manager hands out
    parameters in the order in which trials ask, so that a trial may be given another's. Its own
    are in the manager's record of the trial, which is also what the web page shows; NNI's module
    is told them, since it puts their number into every report.

    Raises:
        RuntimeError: the manager's record could not be read for `patience_s` seconds.
    """
    import nni
    import nni.trial

    handed_out = nni.get_next_parameter()
    if os.environ.get("NNI_PLATFORM") != "local":
        logger.warning("not a local trial: cannot check that the parameters are this trial's own")
        return handed_out
    # http://localhost:PORT[/PREFIX]/env/...: what comes first leads to the REST interface, too.
    manager = os.environ["NNI_TRIAL_COMMAND_CHANNEL"].partition("/env/")[0]
    record = _own_record(manager, os.environ["NNI_TRIAL_JOB_ID"], patience_s)
    nni.trial._params = record
    return record["parameters"]


def _own_record(manager: str, trial_id: str, patience_s: float) -> Any:
    url = f"{manager}/api/v1/nni/trial-jobs/{trial_id}"
    # A proxy in the environment is not for the manager, which is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + patience_s
    while True:
        try:
            with opener.open(url, timeout=patience_s) as response:
                return json.loads(json.load(response)["hyperParameters"][0])
        except (urllib.error.URLError, OSError, KeyError, IndexError, ValueError) as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"cannot read this trial's parameters: {url}: {error}") from None
            time.sleep(0.5)


def tolerate_import_data() -> None:
    """Keep a resumed NAS experiment alive.

    Defect: when an experiment is resumed, the manager sends commands that `nni.nas` does not know:
    the finished trials (ImportData) and the interrupted ones (AddCustomizedTrialJob). They raise
    "Unknown command type" in its listener thread, which ends, and the experiment waits for ever.
    The second command also comes when somebody adds a trial in the web page. They are skipped: a
    strategy restores itself from its own state.
    """
    from nni.runtime.tuner_command_channel.channel import TunerCommandChannel
    from nni.runtime.tuner_command_channel.command_type import CommandType

    receive = TunerCommandChannel._receive
    if getattr(receive, "skips_unknown", False):
        return

    def receive_known(self: TunerCommandChannel) -> Any:
        while True:
            command, data = receive(self)
            if command not in (CommandType.ImportData, CommandType.AddCustomizedTrialJob):
                return command, data

    setattr(receive_known, "skips_unknown", True)  # noqa: B010 (mypy: functions have no such field)
    TunerCommandChannel._receive = receive_known  # type: ignore[method-assign]


def experiment_folder(experiment_id: str) -> Path:
    """Where an experiment of this user keeps its files.

    Defect: NNI has no public call for it; `nnictl`'s own register of experiments knows it.

    Raises:
        InputError: no such experiment.
    """
    from nni.tools.nnictl.config_utils import Experiments

    known = Experiments().get_all_experiments()
    if experiment_id not in known:
        names = ", ".join(known) or "there is none"
        raise InputError(f"experiment {experiment_id}: not known to nnictl here; known: {names}")
    return Path(known[experiment_id]["logDir"], experiment_id)


def folder_of_own_experiment() -> Path | None:
    """Where the experiment of this trial keeps its files; None unless the trial is a local one.

    Defect: NNI has no public call for it. It tells a trial its own folder, which in a local
    experiment is somewhere below the experiment's, named by its id.
    """
    if os.environ.get("NNI_PLATFORM") != "local":
        return None
    above = Path(os.environ["NNI_SYS_DIR"]).parents
    return next((folder for folder in above if folder.name == os.environ["NNI_EXP_ID"]), None)


@dataclass(frozen=True)
class StoredTrial:
    """What the manager's database tells of a trial: its last status, and what it was to evaluate.

    The parameters are None where a trial never started.
    """

    id: str
    status: str
    parameters: dict[str, Any] | None


def stored_config(folder: Path) -> dict[str, Any] | None:
    """An experiment's configuration, its search space under "searchSpace"; None if unreadable.

    Defect: NNI has no public call for it once the manager has ended, and `nnictl`'s own reader
    creates a database where there is none.
    """
    rows = _query(folder, "select params from ExperimentProfile order by revision desc limit 1")
    return json.loads(rows[0][0]) if rows else None


def stored_trials(folder: Path) -> list[StoredTrial]:
    """The trials of an experiment in the order of their start; none if unreadable.

    Defect: as for `stored_config`.
    """
    statuses: dict[str, str] = {}
    parameters: dict[str, dict[str, Any]] = {}
    query = "select trialJobId, event, data from TrialJobEvent order by rowid"
    for trial, event, data in _query(folder, query):
        statuses[trial] = event
        if data:
            parameters[trial] = json.loads(data).get("parameters")
    return [StoredTrial(t, status, parameters.get(t)) for t, status in statuses.items()]


def _query(folder: Path, query: str) -> list[Any]:
    # Percent signs and the like in the path are no part of the URI's syntax. "ro": never create it.
    uri = f"{(folder / 'db' / 'nni.sqlite').absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.Error as error:
        logger.debug("%s: %s", uri, error)
        return []


def manager_runs(folder: Path) -> bool | None:
    """Whether the manager of the experiment in a folder runs; None for one unknown to `nnictl`.

    Defect: `nnictl`'s register of experiments says RUNNING for ever after a kill -9.
    """
    import psutil
    from nni.tools.nnictl.config_utils import Experiments

    entry = Experiments().get_all_experiments().get(folder.name)
    if entry is None or Path(entry["logDir"], folder.name).resolve() != folder.resolve():
        return None
    return entry["status"] != "STOPPED" and bool(entry["pid"]) and psutil.pid_exists(entry["pid"])


def import_pytorchvideo(*names: str) -> list[ModuleType]:
    """Import modules of ``pytorchvideo.data`` by name, and nothing beside them.

    Defect: ``import pytorchvideo.data`` imports every dataset there is and with them torchvision
    (2 s; the modules with the decoder and the clip samplers take 0.1 s). A search pays that in
    every trial. While these modules load, an empty package stands in for theirs; afterwards
    ``import pytorchvideo.data`` works as ever and finds them loaded.
    """
    package = "pytorchvideo.data"
    stand_in = None
    if package not in sys.modules:
        import pytorchvideo

        stand_in = ModuleType(package)
        stand_in.__path__ = [str(Path(pytorchvideo.__path__[0]) / "data")]
        sys.modules[package] = stand_in
    try:
        return [importlib.import_module(f"{package}.{name}") for name in names]
    finally:
        if stand_in is not None:
            del sys.modules[package]
            if getattr(pytorchvideo, "data", None) is stand_in:
                del pytorchvideo.data
