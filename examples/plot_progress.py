"""Draw a search's progress: every evaluation a point, and the best so far.

    python examples/plot_progress.py EXPERIMENT_ID progress.png

Works while the search runs, and on any experiment of EvaNetTuner.
"""

import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib

from nni_evanet.report.top import read_evaluations

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Okabe and Ito's colours, which colour-blind people can tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#999999"


def plot_progress(records: list[dict[str, Any]], path: Path) -> None:
    """Write the picture; records in the order of the journal."""
    successes = [record for record in records if record["fitness"] is not None]
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for label, colour, marker, is_child in (
        ("initial population", ORANGE, "s", False),
        ("children", BLUE, "o", True),
    ):
        points = [
            (n, record["fitness"])
            for n, record in enumerate(successes, 1)
            if (record["parent"] is not None) is is_child
        ]
        if points:
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, s=24, c=colour, marker=marker, label=label)
    best = list(accumulate((record["fitness"] for record in successes), max))
    axes.step(range(1, len(best) + 1), best, where="post", c=GREY, label="best so far")
    axes.set(xlabel="architectures evaluated", ylabel="fitness (validation accuracy)")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    plot_progress(read_evaluations(sys.argv[1]), Path(sys.argv[2]))
