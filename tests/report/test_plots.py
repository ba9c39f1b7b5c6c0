"""Charts: what is drawn is what was measured, and words do not lie on each other."""

import itertools

import matplotlib.image
import pytest
from matplotlib.text import Text

from nni_evanet.evaluation.results import Results, Row
from nni_evanet.report import plots
from nni_evanet.report.progress import MutationEffect, Step, effects_by_count, effects_by_operator
from nni_evanet.strategies import Annealed


def record(number, fitness, parent=None, mutations=()):
    return {
        "fingerprint": str(number), "fitness": fitness, "parent": parent,
        "mutations": list(mutations), "metrics": {"gmacs": 1 + number % 5},
    }  # fmt: skip


RECORDS = [
    record(0, 0.5),
    record(1, None),
    record(2, 0.3),
    record(3, 0.4, "0", ["change_op", "change_time"]),
    record(4, 0.9, "0", ["change_op"]),
    record(5, 0.6, "4", ["change_repeats"]),
]


def lines_of(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def points_of(axes):
    return {c.get_label(): c.get_offsets().tolist() for c in axes.collections}


def test_every_success_is_a_point_and_the_best_so_far_a_line():
    steps = [Step(mean, None) for mean in (0.5, 0.4, 0.4, 0.6, 0.6)]
    axes = plots.plot_fitness(RECORDS, steps).axes[0]
    points = points_of(axes)
    assert points["initial population"] == [[1, 0.5], [2, 0.3]]
    assert points["children"] == [[3, 0.4], [4, 0.9], [5, 0.6]]
    lines = lines_of(axes)
    assert [y for _, y in lines["best so far"]] == [0.5, 0.5, 0.5, 0.9, 0.9]
    assert [y for _, y in lines["mean of the population"]] == [0.5, 0.4, 0.4, 0.6, 0.6]


def test_mutations_stand_beside_their_schedule():
    steps = [Step(0.5, None), *(Step(0.5, d) for d in (0.9, 0.8, 0.7, 0.6))]
    upper, lower = plots.plot_exploration(RECORDS, steps, Annealed(2, 2)).axes
    assert points_of(upper)["a child"] == [[3, 2], [4, 1], [5, 1]]
    assert lines_of(upper)["schedule"] == [[3, 2], [4, 2], [5, 1]]
    assert lower.lines[0].get_xydata().tolist() == [[2, 0.9], [3, 0.8], [4, 0.7], [5, 0.6]]


def row(name, value, group="baseline", kind="network"):
    return Row(
        name=name, kind=kind, group=group, members=(), modality="rgb", params=1, gmacs=1.0,
        metrics={"top1": value}, ci95=(value - 0.02, value + 0.02),
    )  # fmt: skip


RESULTS = Results(
    dataset="a", subset="test", split=1, metric="top1", classes=2, videos=9,
    views={"clips": 1, "crops": 1},
    rows=(row("I3D", 0.5), row("EvaNet " * 9, 0.75, "evanet", "ensemble"), row("$y_$", 0.25)),
)  # fmt: skip


def test_results_stand_by_their_value_the_best_at_the_top():
    axes = plots.plot_results(RESULTS).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert [name.split(" ")[0] for name in names] == ["$y_$", "I3D", "EvaNet"]
    intervals = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    assert [tuple(ci) for ci in intervals] == [row.ci95 for row in sorted(
        RESULTS.rows, key=lambda row: row.metrics["top1"]
    )]  # fmt: skip


SUCCESSES = [r for r in RECORDS if r["fitness"] is not None]
FIGURES = {
    "fitness": lambda: plots.plot_fitness(RECORDS),
    "exploration": lambda: plots.plot_exploration(RECORDS, [Step(0.5, 0.5)] * 5, Annealed(7, 1)),
    "effects": lambda: plots.plot_effects(
        [("By operator", effects_by_operator(RECORDS)), ("By number", effects_by_count(RECORDS))]
    ),
    "effects of next to nothing": lambda: plots.plot_effects(
        [(n, [MutationEffect("a", (-0.015, -0.01, 0.0))]) for n in ("a", "b")]
    ),
    # Three labels at nearly the same place.
    "cost": lambda: plots.plot_cost(
        SUCCESSES, SUCCESSES[-1:], [(f"top {n}", SUCCESSES[-1]) for n in (1, 2, 3)]
    ),
    "results": lambda: plots.plot_results(RESULTS),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_words_overlap_or_leave_the_figure(name):
    figure = FIGURES[name]()
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    boxes = {}
    for axes in figure.axes:
        legend = axes.get_legend()
        visible = [
            label
            for axis in (axes.xaxis, axes.yaxis)
            for tick in axis.get_major_ticks()
            for label in [tick.label1]
            if label.get_visible() and label.get_text()
            and axis.get_view_interval()[0] <= tick.get_loc() <= axis.get_view_interval()[1]
        ]  # fmt: skip
        words = [*visible, axes.xaxis.label, axes.yaxis.label, *axes.texts, axes._left_title]
        words += legend.get_texts() if legend else []
        for text in words:
            if text.get_visible() and text.get_text():
                # An annotation's own extent holds its arrow.
                boxes[text] = Text.get_window_extent(text, renderer)
    width, height = figure.canvas.get_width_height()
    for box in boxes.values():
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
    for (a, box), (b, other) in itertools.combinations(boxes.items(), 2):
        assert not box.overlaps(other), (a.get_text(), b.get_text())


def test_a_picture_of_its_own(tmp_path):
    plots.draw_fitness(RECORDS, tmp_path / "a.png")
    picture = matplotlib.image.imread(tmp_path / "a.png")
    assert picture[0, 0, :3].tolist() == [1, 1, 1] and picture.min() < 0.5
