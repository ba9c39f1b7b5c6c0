"""The evolution's door for `nnictl`: an NNI tuner around `Evolution`.

Imports neither torch nor nni.nas: the manager gives a tuner 10 s to connect.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nni.tuner import Tuner

from nni_evanet.architecture import Architecture, ArchitectureError, check_value
from nni_evanet.compat import ends_experiment_on_error, logger
from nni_evanet.space import SearchSpace
from nni_evanet.strategies.evolution import Evolution, Proposal
from nni_evanet.strategies.journal import FILE_NAME, Journal
from nni_evanet.strategies.metrics import read_metric
from nni_evanet.strategies.schedules import Annealed, Constant, Schedule
from nni_evanet.strategies.spaces import ArchitectureSpace

OPTIMIZE_MODES = ("maximize", "minimize")
PENDING_FILE = "pending.json"
RESULT_GRACE_S = 2.0


class EvaNetTuner(Tuner):
    """Tournament evolution with annealed mutation (algorithm 1) as an NNI tuner.

    Its results are in `evaluations.jsonl` in the experiment's folder, from which a resumed
    experiment goes on. The fitness there is to be maximised, whatever the mode.

    Args:
        space: the meta-architecture, "resnet" or "inception".
        population_size: P.
        sample_size: S, the individuals among which a parent is chosen.
        schedule: "annealed" or "constant".
        max_mutations: d, the mutations of the first children; of all, if the schedule is constant.
        rounds: r, after how many children `max_mutations` falls by one; 100 if not given. Only
            for the annealed schedule.
        removal: who leaves a full population, "least_fit" or "oldest".
        seed: of the search.
        optimize_mode: whether "maximize" or "minimize" the trials' `default` metric.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    def __init__(
        self,
        space: str = "resnet",
        *,
        population_size: int,
        sample_size: int = 25,
        schedule: str = "annealed",
        max_mutations: int = 7,
        rounds: int | None = None,
        removal: str = "least_fit",
        seed: int = 0,
        optimize_mode: str = "maximize",
    ) -> None:
        super().__init__()
        if optimize_mode not in OPTIMIZE_MODES:
            allowed = ", ".join(OPTIMIZE_MODES)
            raise ValueError(f"optimize_mode: {optimize_mode!r} is not one of {allowed}")
        self._sign = 1.0 if optimize_mode == "maximize" else -1.0
        self._meta = space
        self._evolution = Evolution(
            space,
            population_size=population_size,
            sample_size=sample_size,
            schedule=_make_schedule(schedule, max_mutations, rounds),
            removal=removal,
            seed=seed,
        )
        self._proposals: dict[int, Proposal] = {}
        # Requests and results come on one thread of the dispatcher, ends of trials on another.
        self._changed = threading.Condition(threading.RLock())
        checkpoint = os.environ.get("NNI_CHECKPOINT_DIRECTORY")
        self._pending = Path(checkpoint, PENDING_FILE) if checkpoint else None
        self._journal = Journal(Path(checkpoint).parent / FILE_NAME) if checkpoint else None

    @ends_experiment_on_error
    def update_search_space(self, search_space: dict[str, Any]) -> None:
        """Evolve in the experiment's search space: that of the meta-architecture or a part of it.

        Raises:
            ArchitectureError: naming the first label that is not as in such a space.
        """
        choices = {label: choice.get("_value", ()) for label, choice in search_space.items()}
        try:
            space = SearchSpace.from_choices(choices)
            check_value("meta", space.meta, (self._meta,))
        except ArchitectureError as error:
            raise ArchitectureError(
                f"search space: {error}; write it with: nni-evanet export-space {self._meta}"
            ) from None
        with self._changed:
            self._evolution.space = ArchitectureSpace(space)

    @ends_experiment_on_error
    def generate_parameters(self, parameter_id: int, **kwargs: Any) -> dict[str, Any]:
        """Propose an architecture: its flat sample, as the web page shows it."""
        with self._changed:
            proposal = self._evolution.ask()
            self._proposals[parameter_id] = proposal
            self._save_pending()
        logger.info(
            "parameters %d: %s, parent %s, mutations: %s",
            parameter_id,
            proposal.architecture.fingerprint,
            proposal.parent or "none",
            ", ".join(proposal.mutations) or "none",
        )
        return proposal.architecture.to_sample()

    @ends_experiment_on_error
    def receive_trial_result(
        self, parameter_id: int, parameters: dict[str, Any], value: Any, **kwargs: Any
    ) -> None:
        """Take a trial's final metric: a number, or a dict whose `default` is one."""
        with self._changed:
            proposal = self._proposals.pop(parameter_id, None)
            if proposal is None:
                logger.warning("parameters %d: a second result, ignored: %s", parameter_id, value)
                return
            self._tell_metric(proposal, value)
            self._changed.notify_all()

    @ends_experiment_on_error
    def trial_end(self, parameter_id: int, success: bool, **kwargs: Any) -> None:
        """Count a trial that ended without a result as failed."""
        with self._changed:
            # The result may still be waiting on the dispatcher's other thread.
            self._changed.wait_for(lambda: parameter_id not in self._proposals, RESULT_GRACE_S)
            proposal = self._proposals.pop(parameter_id, None)
            if proposal is not None:
                logger.warning("parameters %d: the trial ended without a result", parameter_id)
                self._tell(proposal, None, {})

    @ends_experiment_on_error
    def load_checkpoint(self) -> None:
        """Go on from the journal; called when an experiment is resumed."""
        if self._journal is None or self._pending is None:
            return
        with self._changed:
            self._journal.repair()
            self._evolution.replay(self._journal.read())
            if self._pending.exists():
                self._evolution.load_pending_state(json.loads(self._pending.read_text()))
        logger.info("resumed with %d evaluations", len(self._evolution.history))

    @ends_experiment_on_error
    def import_data(self, data: list[dict[str, Any]]) -> None:
        """Take the results of a resumed experiment that the journal does not have.

        NNI sends all finished trials once, then one by one those that were interrupted and ran
        again. What was evaluated already is not counted twice.
        """
        with self._changed:
            for entry in data:
                try:
                    architecture = Architecture.from_sample(entry["parameter"], self._meta)
                except ArchitectureError as error:
                    # Only a trial that somebody added by hand can be outside the space.
                    logger.error("a finished trial is left out: %s", error)
                    continue
                if not self._evolution.was_evaluated(architecture):
                    self._tell_metric(architecture, entry["value"])

    def _tell_metric(self, proposal: Any, value: Any) -> None:
        fitness, metrics = read_metric(value)
        self._tell(proposal, None if fitness is None else self._sign * fitness, metrics)

    def _tell(self, proposal: Any, fitness: float | None, metrics: Mapping[str, Any]) -> None:
        evaluation = self._evolution.tell(proposal, fitness, metrics)
        if self._journal is not None:
            self._journal.append(self._evolution.dump(evaluation))
        self._save_pending()

    def _save_pending(self) -> None:
        if self._pending is None:
            return
        temporary = self._pending.with_suffix(".tmp")
        temporary.write_text(json.dumps(self._evolution.pending_state()))
        temporary.replace(self._pending)


def _make_schedule(name: str, max_mutations: int, rounds: int | None) -> Schedule:
    if name == "annealed":
        return Annealed(max_mutations, 100 if rounds is None else rounds)
    if name != "constant":
        raise ValueError(f"schedule: {name!r} is not one of annealed, constant")
    if rounds is not None:
        raise ValueError("rounds: a constant schedule has none")
    return Constant(max_mutations)
