"""The report's charts. Each function returns a matplotlib figure, which nothing else holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nni_evanet.evaluation.results import Results
from nni_evanet.report.progress import MutationEffect, Record, Step, is_child, successes_of

INK, LINE = "#24292f", "#c9ced6"
"""Of text and axes, and of grids: a page may give them other values in the dark."""

# Okabe and Ito's colours, which colour-blind people can tell apart.
ORANGE, SKY, GREEN, BLUE, VERMILION, GREY = (
    "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#8A8F98",
)  # fmt: skip
GROUP_COLOURS = {"evanet": GREEN, "baseline": BLUE, "random": ORANGE, "other": GREY}
_WIDTH = 8.6  # inches

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "text.parse_math": False,
}


def plot_fitness(records: Sequence[Record], steps: Sequence[Step] = ()) -> Figure:
    """Every evaluation a point, the best so far and the population's mean (as figure 7).

    Args:
        records: of the journal; those without a fitness are not drawn.
        steps: one for each success; none where the population is not known.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(3.9)
        successes = successes_of(records)
        numbers = range(1, len(successes) + 1)
        for label, colour, marker, wanted in (
            ("initial population", ORANGE, "s", False),
            ("children", SKY, "o", True),
        ):
            points = [
                (n, record["fitness"])
                for n, record in zip(numbers, successes, strict=True)
                if is_child(record) is wanted
            ]
            if points:
                size = 18 if len(successes) < 500 else 7
                axes.scatter(*zip(*points, strict=True), s=size, c=colour, marker=marker, lw=0,
                             label=label)  # fmt: skip
        best = list(accumulate((record["fitness"] for record in successes), max))
        axes.step(numbers, best, where="post", c=BLUE, lw=1.8, label="best so far")
        if steps:
            mean = [step.mean for step in steps]
            axes.plot(numbers, mean, c=VERMILION, lw=1.5, label="mean of the population")
        axes.set(xlabel="architectures evaluated", ylabel="fitness", xlim=(0, len(successes) + 1))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend_above(axes)
        return figure


def plot_exploration(
    records: Sequence[Record], steps: Sequence[Step], schedule: Callable[[int], int] | None
) -> Figure:
    """How many mutations children had (figure 8's schedule), and how diverse the population was.

    Args:
        records: of the journal.
        steps: one for each success; without them the diversity is left out.
        schedule: what the search was told: the mutations of a child by its round.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(4.6 if steps else 2.5, rows=2 if steps else 1)
        upper = axes[0] if steps else axes
        successes = successes_of(records)
        children = [(n, r) for n, r in enumerate(successes, 1) if is_child(r)]
        counts = [len(record["mutations"]) for _, record in children]
        upper.scatter([n for n, _ in children], counts, s=14, c=SKY, lw=0, label="a child")
        if schedule and children:
            planned = [schedule(i) for i in range(len(children))]
            upper.step([n for n, _ in children], planned, where="post", c=BLUE, lw=1.6,
                       label="schedule")  # fmt: skip
        upper.set(ylabel="mutations", ylim=(0, max(counts, default=1) + 0.7))
        upper.yaxis.set_major_locator(MaxNLocator(integer=True))
        if children:
            _legend_above(upper)
        lowest = upper
        if steps:
            lowest = axes[1]
            points = [(n, s.diversity) for n, s in enumerate(steps, 1) if s.diversity is not None]
            if points:
                lowest.plot(*zip(*points, strict=True), c=GREEN, lw=1.8)
            lowest.set(ylabel="diversity", ylim=(0, 1.03))
        lowest.set(xlabel="architectures evaluated", xlim=(0, len(successes) + 1))
        lowest.xaxis.set_major_locator(MaxNLocator(integer=True))
        return figure


def plot_effects(groups: Sequence[tuple[str, Sequence[MutationEffect]]]) -> Figure:
    """Gains of children over their parents: each group of effects as boxes in its own panel."""
    with matplotlib.rc_context(_STYLE):
        sizes = [len(effects) for _, effects in groups]
        figure = Figure(figsize=(_WIDTH, 0.42 * max(sizes) + 1.3), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(groups), sharex=True, squeeze=False)[0]
        for axes, (title, effects) in zip(panels, groups, strict=True):
            axes.axvline(0, c=INK, lw=0.8)
            axes.boxplot(
                [effect.gains for effect in effects],
                orientation="horizontal",
                widths=0.55,
                whis=(5, 95),
                showfliers=False,
                patch_artist=True,
                boxprops={"facecolor": SKY, "edgecolor": SKY, "alpha": 0.55},
                medianprops={"color": BLUE, "lw": 2},
                whiskerprops={"color": GREY},
                capprops={"color": GREY},
            )
            axes.set_yticks(range(1, len(effects) + 1), [effect.name for effect in effects])
            axes.invert_yaxis()
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.grid(axis="y", visible=False)
            axes.set_title(title, loc="left", fontsize=10)
            axes.set_xlabel("fitness of the child minus its parent's")
        return figure


def plot_cost(
    records: Sequence[Record], front: Sequence[Record], named: Sequence[tuple[str, Record]]
) -> Figure:
    """Fitness against GMACs: all that were evaluated, the Pareto front, and some by name."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(4.1)
        size = 18 if len(records) < 500 else 7
        axes.scatter(*_costs(records), s=size, c=SKY, lw=0, label="evaluated")
        axes.step(*_costs(front), where="post", c=BLUE, lw=1.5, marker="o", ms=4,
                  label="Pareto front")  # fmt: skip
        for offset, (name, record) in enumerate(named):
            place = (record["metrics"]["gmacs"], record["fitness"])
            axes.scatter(*place, s=70, facecolors="none", edgecolors=VERMILION, linewidths=1.6,
                         zorder=4)  # fmt: skip
            # Labels stand above the cloud, each at a height of its own.
            axes.annotate(name, place, (0, 14 + 15 * (len(named) - 1 - offset)),
                          textcoords="offset points", ha="center", color=INK,
                          arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.7})  # fmt: skip
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.17 * (high - low))
        axes.set(xlabel="GMACs of one clip", ylabel="fitness")
        _legend_above(axes)
        return figure


def plot_results(results: Results) -> Figure:
    """The metric that counts of every row, with its 95 % interval, the best at the top."""
    rows = sorted(results.rows, key=lambda row: row.metrics[results.metric])
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(0.34 * len(rows) + 1.2)
        for height, row in enumerate(rows):
            value, colour = row.metrics[results.metric], GROUP_COLOURS[row.group]
            if row.ci95:
                axes.plot(row.ci95, (height, height), c=colour, lw=2.2, solid_capstyle="butt")
            marker = "D" if row.kind == "ensemble" else "o"
            axes.plot(value, height, marker, c=colour, ms=8)
        for group in dict.fromkeys(row.group for row in reversed(rows)):
            axes.plot([], [], "o", c=GROUP_COLOURS[group], label=group)
        axes.plot([], [], "D", c=INK, mfc="none", label="ensemble")
        names = [_shortened(f"{row.name} ({row.modality})") for row in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel(METRIC_NAMES[results.metric])
        _legend_above(axes)
        return figure


METRIC_NAMES = {"top1": "top-1 accuracy", "map": "mean average precision"}


def draw_fitness(records: Sequence[Record], path: Path) -> None:
    """Write `plot_fitness` as a picture of its own on white; the suffix is the format."""
    figure = plot_fitness(records)
    figure.savefig(path, dpi=150, facecolor="white")


def _figure(height: float, rows: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, sharex=True)


def _legend_above(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, borderaxespad=0.2,
                handletextpad=0.4, columnspacing=1.6)  # fmt: skip


def _costs(records: Sequence[Record]) -> tuple[list[float], list[float]]:
    return [r["metrics"]["gmacs"] for r in records], [r["fitness"] for r in records]


def _shortened(name: str, length: int = 44) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
