"""One self-contained HTML page about an experiment: no script, no font, no request."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from nni_evanet.architecture import Architecture, ArchitectureError
from nni_evanet.atomic import replacing
from nni_evanet.errors import InputError
from nni_evanet.evaluation.results import Results, read_results
from nni_evanet.networks import build_network
from nni_evanet.report import plots, reproduction
from nni_evanet.report.drawing import draw_figure
from nni_evanet.report.experiment import Experiment, open_experiment
from nni_evanet.report.paper import LAYER_STATISTICS, PUBLISHED
from nni_evanet.report.pareto import pareto_front
from nni_evanet.report.progress import (
    Record,
    Step,
    effects_by_count,
    effects_by_operator,
    is_child,
    replay,
    successes_of,
)
from nni_evanet.report.receptive_field import temporal_receptive_field
from nni_evanet.report.statistics import count_layers
from nni_evanet.report.svg import inline_svg
from nni_evanet.report.text import draw_text
from nni_evanet.report.top import best
from nni_evanet.strategies.schedules import Annealed, Constant

TOP = 3
"""The networks of the paper's ensembles."""

RESULTS_FILE = "results.json"
_LAST_LINES = 4096  # bytes of a failed trial's stderr that are looked at
_COLOURS = {plots.INK: "var(--ink)", plots.LINE: "var(--line)"}


def write_report(experiment: str, out: Path, *, results: Sequence[Path] = ()) -> None:
    """Write the page; a reader finds the old page or the new one, never a part.

    Args:
        experiment: its id, or the path of its folder.
        out: the HTML file.
        results: files of `nni_evanet.evaluation.results`; if none is given, the experiment's own
            `results.json`, if there is one.

    Raises:
        InputError: no such experiment, a damaged journal, a file that holds no results, or a page
            that cannot be written.
    """
    opened = open_experiment(experiment)
    own = opened.folder / RESULTS_FILE
    files = list(results) or ([own] if own.is_file() else [])
    page = render(opened, [(path.name, read_results(path)) for path in files])
    try:
        with replacing(out) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from None


def render(experiment: Experiment, results: Sequence[tuple[str, Results]] = ()) -> str:
    """The page as text.

    Raises:
        InputError: the journal holds what is no architecture of this package.
    """
    successes = successes_of(experiment.records)
    steps = _steps(experiment)
    template = _environment().get_template("report.html")
    return template.render(
        experiment=experiment,
        now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        name=(experiment.config or {}).get("experimentName") or f"Experiment {experiment.id}",
        summary=_summary(experiment, successes),
        progress=_progress(experiment, successes, steps),
        top=_top(experiment),
        paper_layers=LAYER_STATISTICS,
        cost=_cost(successes),
        failures=_failures(experiment),
        results=[_evaluated(number, name, r) for number, (name, r) in enumerate(results, 1)],
        reproduction=reproduction,
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nni_evanet.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    return environment


def _number(value: Any, digits: int = 3, scale: float = 1.0) -> str:
    """A number for a table, or a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    return f"{value * scale:,.{digits}f}"


@dataclass(frozen=True)
class _Summary:
    """The first lines of the page."""

    state: str
    dataset: str | None
    best: Record | None
    initial: list[float]
    children: list[float]
    failed: int
    first: str | None
    last: str | None

    @property
    def gain(self) -> float | None:
        """How much the best child is above the best of the initial population."""
        if not self.initial or not self.children:
            return None
        return max(self.children) - max(self.initial)


def _summary(experiment: Experiment, successes: list[Record]) -> _Summary:
    leaders = best(experiment.records, 1)
    times = [record["time"] for record in experiment.records if "time" in record]
    return _Summary(
        state=_state(experiment),
        dataset=reproduction.trial_option(experiment, "--dataset"),
        best=leaders[0] if leaders else None,
        initial=[r["fitness"] for r in successes if not is_child(r)],
        children=[r["fitness"] for r in successes if is_child(r)],
        failed=len(experiment.records) - len(successes),
        first=_minute(times[0]) if times else None,
        last=_minute(times[-1]) if times else None,
    )


def _state(experiment: Experiment) -> str:
    planned = (experiment.config or {}).get("maxTrialNumber")
    done = len(experiment.records)
    of = f" of {planned} trials" if planned else ""
    if experiment.running:
        return f"running, {done}{of} done"
    if planned and done >= planned:
        return "finished"
    if experiment.running is None:
        return f"{done}{of} done; whether it still runs is not known here"
    return f"stopped after {done}{of}"


def _minute(time: str) -> str:
    return str(time).replace("T", " ")[:16] + " UTC"


def _steps(experiment: Experiment) -> list[Step]:
    """Empty where the population's size is not known."""
    size = experiment.tuner.get("population_size")
    if type(size) is not int or size < 1:
        return []
    removal = str(experiment.tuner.get("removal", "least_fit"))
    return list(replay(experiment.records, population_size=size, removal=removal))


def _schedule(tuner: Mapping[str, Any]) -> Callable[[int], int] | None:
    if not tuner:
        return None
    most = tuner.get("max_mutations", 7)
    if tuner.get("schedule", "annealed") == "constant":
        return Constant(most)
    return Annealed(most, tuner.get("rounds") or 100)


@dataclass(frozen=True)
class _Progress:
    """The section about the course of the search."""

    fitness: Markup
    exploration: Markup
    effects: Markup | None
    by_operator: list[Any]
    by_count: list[Any]
    mean: float
    steps: list[Step]


def _progress(
    experiment: Experiment, successes: list[Record], steps: list[Step]
) -> _Progress | None:
    if not successes:
        return None
    records = experiment.records
    by_operator, by_count = effects_by_operator(records), effects_by_count(records)
    effects = None
    if by_operator:
        panels = [("By operator", by_operator), ("By number of mutations", by_count)]
        figure = plots.plot_effects(panels)
        effects = _chart(figure, "effects", "Gains of children over their parents")
    fitness = plots.plot_fitness(records, steps)
    exploration = plots.plot_exploration(records, steps, _schedule(experiment.tuner))
    return _Progress(
        fitness=_chart(fitness, "fitness", "Fitness of every architecture evaluated, in order"),
        exploration=_chart(exploration, "exploration", "Mutations a child, and diversity"),
        effects=effects,
        by_operator=by_operator,
        by_count=by_count,
        mean=fmean(record["fitness"] for record in successes),
        steps=steps,
    )


@dataclass(frozen=True)
class _Leader:
    """One of the best architectures."""

    place: int
    record: Record
    text: str
    json: str
    file: str
    link: str
    counts: Mapping[str, Any]
    receptive_field: int


@dataclass(frozen=True)
class _Top:
    """The section about the best architectures."""

    picture: Markup
    leaders: list[_Leader]


def _top(experiment: Experiment) -> _Top | None:
    records = best(experiment.records, TOP)
    if not records:
        return None
    architectures = [Architecture.from_json(record["architecture"]) for record in records]
    titles = [f"top {n}: {record['fitness']:.3f}" for n, record in enumerate(records, 1)]
    figure = draw_figure(list(zip(titles, architectures, strict=True)))
    picture = inline_svg(figure, name="top", title="The best architectures, side by side")
    leaders = [
        _leader(experiment, place, record, architecture)
        for place, (record, architecture) in enumerate(zip(records, architectures, strict=True), 1)
    ]
    return _Top(Markup(picture), leaders)


def _leader(
    experiment: Experiment, place: int, record: Record, architecture: Architecture
) -> _Leader:
    text = architecture.to_json()
    encoded = base64.b64encode(text.encode()).decode()
    # The receptive field does not depend on the number of filters or classes.
    with torch.device("meta"):
        network = build_network(architecture, num_classes=1)
    return _Leader(
        place=place,
        record=record,
        text=draw_text(architecture),
        json=text,
        file=f"{experiment.id}_top{place}.json",
        link=f"data:application/json;base64,{encoded}",
        counts=count_layers(architecture, with_repeats=False),
        receptive_field=temporal_receptive_field(network),
    )


@dataclass(frozen=True)
class _Cost:
    """The section about fitness and cost."""

    picture: Markup
    front: list[Record]
    without: int


def _cost(successes: list[Record]) -> _Cost | None:
    measured = [r for r in successes if isinstance(r["metrics"].get("gmacs"), int | float)]
    if not measured:
        return None
    front = pareto_front(measured, "gmacs")
    named = [(f"top {n}", r) for n, r in enumerate(best(measured, TOP), 1)]  # type: ignore[arg-type]
    figure = plots.plot_cost(measured, front, named)
    picture = _chart(figure, "cost", "Fitness against multiply-adds, with the Pareto front")
    return _Cost(picture, front[::-1], len(successes) - len(measured))


@dataclass(frozen=True)
class _Failure:
    """A failed trial."""

    number: int
    record: Record
    time: str
    trial: str
    status: str
    reason: str


def _failures(experiment: Experiment) -> list[_Failure]:
    failed = [(n, r) for n, r in enumerate(experiment.records, 1) if r["fitness"] is None]
    trials = _trials_by_fingerprint(experiment) if failed else {}
    found = []
    for number, record in failed:
        trial, status = trials.get(record["fingerprint"], ("", ""))
        reason = _last_line(experiment.folder, trial) if trial else ""
        time = _minute(record["time"]) if "time" in record else ""
        found.append(_Failure(number, record, time, trial, status, reason))
    return found


def _trials_by_fingerprint(experiment: Experiment) -> dict[str, tuple[str, str]]:
    """(id, status) of NNI's trials that did not succeed."""
    trials = {}
    meta = str(experiment.tuner.get("space", "resnet"))
    for trial in experiment.trials:
        if trial.status != "SUCCEEDED" and trial.parameters is not None:
            try:
                architecture = Architecture.from_sample(trial.parameters, meta)
            except ArchitectureError:  # added by hand in the web page
                continue
            trials[architecture.fingerprint] = (trial.id, trial.status)
    return trials


def _last_line(folder: Path, trial: str) -> str:
    """The last that a trial wrote to stderr, which names its error."""
    for path in folder.glob(f"environments/*/trials/{trial}/trial.stderr"):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LAST_LINES))
            lines = file.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    return ""


@dataclass(frozen=True)
class _Evaluated:
    """One file of results."""

    file: str
    results: Results
    metric: str
    rows: list[Any]
    picture: Markup | None
    published: Any


def _evaluated(number: int, file: str, results: Results) -> _Evaluated:
    rows = sorted(results.rows, key=lambda row: row.metrics[results.metric], reverse=True)
    picture = None
    if rows:
        title = f"Results on {results.dataset} with 95 % intervals"
        picture = _chart(plots.plot_results(results), f"results{number}", title)
    metric = plots.METRIC_NAMES[results.metric]
    return _Evaluated(file, results, metric, rows, picture, PUBLISHED.get(results.dataset))


def _chart(figure: Figure, name: str, title: str) -> Markup:
    # Names of rows and experiments are drawn as outlines, and the title is escaped.
    return Markup(inline_svg(figure, name=name, title=title, colours=_COLOURS))
