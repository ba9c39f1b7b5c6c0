"""The evolution's door for `NasExperiment`: an NNI strategy around `Evolution`."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from nni.nas.execution import ExecutionEngine, TrainingServiceExecutionEngine
from nni.nas.execution.engine import Middleware
from nni.nas.execution.event import FinalMetricEvent, ModelEvent, ModelEventType, TrainingEndEvent
from nni.nas.space import ExecutableModelSpace, ModelStatus
from nni.nas.strategy.base import Strategy

from nni_evanet.compat import logger, tolerate_import_data
from nni_evanet.strategies.evolution import Evolution, Proposal, Selection, tournament
from nni_evanet.strategies.journal import FILE_NAME, Journal
from nni_evanet.strategies.metrics import read_metric
from nni_evanet.strategies.nni_space import SampleSpace, sample_space
from nni_evanet.strategies.schedules import Annealed, Schedule

RESULT_GRACE_S = 2.0


class DiversityAnnealedEvolution(Strategy):
    """Tournament evolution with annealed mutation (algorithm 1) as an NNI strategy.

    On the paper's spaces it applies the paper's mutation operators. On any other space a mutation
    draws one active decision anew. Fitness, the final metric or its `default`, is maximised.

    Every result goes to a journal, from which a resumed experiment goes on even after kill -9;
    `nni-evanet top` reads it. What was in flight when the experiment was interrupted is submitted
    again.

    Args:
        population_size: P, the individuals kept and the random ones to start from.
        sample_size: S, the individuals among which a parent is chosen.
        schedule: the mutations of a child, by the number of children evaluated.
        removal: who leaves a full population: "least_fit" or "oldest".
        seed: of the search.
        selection: chooses a parent from (population, sample_size, generator).
        revisit: whether a child that was already evaluated may be evaluated again.
        journal: the journal's file; a search that it already holds is continued. By default
            `evaluations.jsonl` in the experiment's folder. The sequential engine does not know
            that folder: with it there is a journal only where a file is given.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    def __init__(
        self,
        *,
        population_size: int,
        sample_size: int = 25,
        schedule: Schedule = Annealed(max_mutations=7, rounds=100),  # noqa: B008 (immutable)
        removal: str = "least_fit",
        seed: int = 0,
        selection: Selection = tournament,
        revisit: bool = False,
        journal: str | Path | None = None,
    ) -> None:
        super().__init__()
        self._options: dict[str, Any] = {
            "population_size": population_size,
            "sample_size": sample_size,
            "schedule": schedule,
            "removal": removal,
            "selection": selection,
            "revisit": revisit,
        }
        self._seed = seed
        # The space is known later, but a wrong argument should fail here.
        Evolution("resnet", **self._options, seed=seed)
        self._journal_path = Path(journal) if journal is not None else None
        self._journal: Journal | None = None
        self._evolution: Evolution | None = None
        self._space: SampleSpace | None = None
        self._trials = _Trials()
        self._lock = threading.RLock()  # an engine's events may come on another thread
        self._error: Exception | None = None
        # Here and not later: the engine's listener may be running before `initialize` is called.
        tolerate_import_data()

    @property
    def evolution(self) -> Evolution:
        """The search itself: its population, its history, its best.

        Raises:
            RuntimeError: the strategy was not initialised with a model space.
        """
        if self._evolution is None:
            raise RuntimeError("the strategy has no model space yet")
        return self._evolution

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self._options.items())

    def list_models(
        self, sort: bool = True, limit: int | None = None
    ) -> Iterator[ExecutableModelSpace]:
        """The evaluated models, of an earlier run too, with their metric.

        From the evolution rather than from the engine: NNI's database pairs samples with the
        metrics of other trials when two or more run at a time, and is gone once the engine stops.

        Args:
            sort: the fittest first, and different architectures only.
            limit: how many at most.
        """
        history = self.evolution.history
        if sort:
            evaluations = self.evolution.best(len(history))
        else:
            evaluations = [e for e in history if e.fitness is not None]
        for evaluation in evaluations[:limit]:
            model = self._freeze(evaluation)
            model.metrics.final = evaluation.fitness  # type: ignore[assignment]
            model.status = ModelStatus.Trained
            yield model

    def state_dict(self) -> dict[str, Any]:
        """The search in builtin types: torch.load refuses others in a checkpoint."""
        with self._lock:
            return self.evolution.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint, which `NasExperiment` writes at its start and stop only.

        What the journal has restored already is not counted twice.
        """
        state: Mapping[str, Any] = state_dict
        with self._lock:
            restored = len(self.evolution.history)
            if restored == 0:
                self.evolution.replay(state["history"])
                for evaluation in self.evolution.history:
                    self._write(evaluation)
            elif restored > len(state["history"]):
                # After a crash. The old generator would propose what it has proposed before.
                state = {**state, "rng": self.evolution.pending_state()["rng"]}
            self.evolution.load_pending_state(state)
        logger.info("resumed with %d evaluations", len(self.evolution.history))

    def _initialize(
        self, model_space: ExecutableModelSpace, engine: ExecutionEngine
    ) -> ExecutableModelSpace:
        self._space = sample_space(model_space)
        path = self._journal_path or _default_journal(engine)
        records = []
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(path)
            records = self._journal.read()
        # A continued search does not start with the same proposals again.
        seed = Random(f"{self._seed} {len(records)}").getrandbits(32) if records else self._seed
        self._evolution = Evolution(self._space, **self._options, seed=seed)
        self._evolution.replay(records)
        engine.register_model_event_callback(ModelEventType.FinalMetric, self._on_final_metric)
        engine.register_model_event_callback(ModelEventType.TrainingEnd, self._on_training_end)
        return model_space

    def _cleanup(self) -> None:
        engine = self.engine
        engine.unregister_model_event_callback(ModelEventType.FinalMetric, self._on_final_metric)
        engine.unregister_model_event_callback(ModelEventType.TrainingEnd, self._on_training_end)
        with self._lock:
            self._tell_failures(self._trials.failures())

    def _run(self) -> None:
        interrupted = list(self.evolution.in_flight)
        while self.wait_for_resource():
            self._raise_error()
            with self._lock:
                proposal = interrupted.pop(0) if interrupted else self.evolution.ask()
            self._submit(proposal)
        self.engine.wait_models()
        self._wait_for_late_results()
        self._tell_ended()
        self._raise_error()

    def _submit(self, proposal: Proposal) -> None:
        model = self._freeze(proposal)
        with self._lock:
            self._trials.submitted(model, proposal)
        logger.info(
            "%s submitted, parent %s, mutations: %s",
            self.evolution.space.fingerprint(proposal.architecture),
            proposal.parent or "none",
            ", ".join(proposal.mutations) or "none",
        )
        self.engine.submit_models(model)
        if model.status.completed():
            # The engine ran it in this process: no event can come later.
            self._tell_ended()

    def _freeze(self, proposal: Proposal) -> ExecutableModelSpace:
        assert self._space is not None
        return self.model_space.freeze(self._space.sample(proposal.architecture))

    def _wait_for_late_results(self) -> None:
        deadline = time.monotonic() + RESULT_GRACE_S
        while self._trials.untold and time.monotonic() < deadline:
            time.sleep(0.1)

    def _on_final_metric(self, event: FinalMetricEvent) -> None:
        # The population grows here and not when training ends: with two or more trials at a time
        # NNI may run a trial with another's parameters (microsoft/nni#5726), and then only a
        # metric, reported with the number of what the trial really ran, names the right model.
        self._handle(self._take_metric, event)

    def _on_training_end(self, event: TrainingEndEvent) -> None:
        self._handle(self._take_end, event)

    def _handle(self, take: Callable[[Any], None], event: ModelEvent) -> None:
        try:
            with self._lock:
                take(event)
                self._tell_failures(self._trials.failures())
        except Exception as error:
            # It would end NNI's listener thread, and the experiment would wait for ever.
            logger.critical("the strategy ends the experiment: %s", error, exc_info=error)
            self._error = error

    def _take_metric(self, event: FinalMetricEvent) -> None:
        fitness, metrics = read_metric(event.metric)
        if fitness is None:
            event.prevent_default()  # the engine would raise an error in its own thread
        proposal = self._trials.reported(event.model)
        if proposal is not None:
            self._tell(proposal, fitness, metrics)

    def _take_end(self, event: TrainingEndEvent) -> None:
        # An interrupted model did not fail: it stays in flight, for the resumed experiment.
        self._trials.ended(event.model, interrupted=event.status == ModelStatus.Interrupted)

    def _tell_ended(self) -> None:
        with self._lock:
            self._tell_failures(self._trials.ended_without_result())

    def _tell_failures(self, failed: list[Proposal]) -> None:
        for proposal in failed:
            fingerprint = self.evolution.space.fingerprint(proposal.architecture)
            logger.warning("%s ended without a result", fingerprint)
            self._tell(proposal, None, {})

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _tell(self, proposal: Proposal, fitness: float | None, metrics: Mapping[str, Any]) -> None:
        plain = {str(name): _plain(value) for name, value in metrics.items()}
        self._write(self.evolution.tell(proposal, fitness, plain))

    def _write(self, evaluation: Proposal) -> None:
        if self._journal is not None:
            self._journal.append(self.evolution.dump(evaluation))


class _Trials:
    """Which submitted models have no result yet, and which of these have failed.

    The model that NNI names when a trial ends is not always the one that it ran
    (microsoft/nni#5726): trials get the models in the order of submission, at the moment they
    ask, and a trial that dies before it asks shifts all later ones. What is certain is this: when
    a model reports, those submitted before it have been handed out. Once every trial that was
    running at that moment has ended, those of them without a result have failed.
    """

    def __init__(self) -> None:
        self.untold: dict[ExecutableModelSpace, Proposal] = {}
        """In the order of submission."""
        self._running: set[ExecutableModelSpace] = set()
        self._ended: set[ExecutableModelSpace] = set()
        self._overtaken: dict[ExecutableModelSpace, _Overtaken] = {}

    def submitted(self, model: ExecutableModelSpace, proposal: Proposal) -> None:
        self.untold[model] = proposal
        self._running.add(model)

    def reported(self, model: ExecutableModelSpace) -> Proposal | None:
        """A result came: its proposal, or None if it is not the first or not ours."""
        if model not in self.untold:
            return None
        for earlier in itertools.takewhile(lambda other: other is not model, self.untold):
            self._overtaken.setdefault(earlier, _Overtaken(set(self._running), time.monotonic()))
        return self._take([model])[0]

    def ended(self, model: ExecutableModelSpace, *, interrupted: bool) -> None:
        self._running.discard(model)
        for overtaken in self._overtaken.values():
            if model in overtaken.by:
                overtaken.by.remove(model)
                overtaken.since = time.monotonic()
        if model in self.untold and not interrupted:
            self._ended.add(model)

    def failures(self) -> list[Proposal]:
        """Take out what has certainly failed. NNI may pass a result on after its trial's end."""
        latest = time.monotonic() - RESULT_GRACE_S
        failed = [m for m, o in self._overtaken.items() if not o.by and o.since <= latest]
        return self._take(failed)

    def ended_without_result(self) -> list[Proposal]:
        """Take out all that has ended; right only where no result can come any more."""
        return self._take([model for model in self.untold if model in self._ended])

    def _take(self, models: list[ExecutableModelSpace]) -> list[Proposal]:
        for model in models:
            self._overtaken.pop(model, None)
            self._ended.discard(model)
        return [self.untold.pop(model) for model in models]


@dataclass
class _Overtaken:
    """The trials that ran when a later model reported and have not ended, and the last change."""

    by: set[ExecutableModelSpace]
    since: float


def _default_journal(engine: ExecutionEngine) -> Path | None:
    while isinstance(engine, Middleware):
        engine = engine.engine
    if not isinstance(engine, TrainingServiceExecutionEngine):
        return None
    experiment = engine.nodejs_binding
    config = experiment.config.canonical_copy()
    return Path(config.experiment_working_directory) / experiment.id / FILE_NAME


def _plain(value: Any) -> float | int | str | bool | None:
    if value is None or type(value) in (bool, int, float, str):
        return value
    return float(value) if isinstance(value, int | float) else str(value)
