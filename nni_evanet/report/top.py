"""What a search found so far: a summary, and its best architectures drawn and saved."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, median
from typing import Any

from rich.console import Console

from nni_evanet.architecture import Architecture
from nni_evanet.errors import InputError
from nni_evanet.report.experiment import find_experiment
from nni_evanet.report.text import draw_text
from nni_evanet.strategies.journal import FILE_NAME, Journal


def read_evaluations(experiment_id: str) -> list[dict[str, Any]]:
    """An experiment's journal, in the order of the evaluations, running or not.

    The experiment is named by its id or by the path of its folder, here and below.

    Raises:
        InputError: no such experiment, or it has no results of the evolution.
    """
    path = find_experiment(experiment_id) / FILE_NAME
    records = Journal(path).read()
    if not records:
        raise InputError(f"experiment {experiment_id}: no evaluation in {path} yet")
    return records


def show_top(experiment_id: str, *, k: int, out: Path) -> None:
    """Print the summary and the k best; write `<id>_top<n>.json` for each into `out`."""
    records = read_evaluations(experiment_id)
    name = find_experiment(experiment_id).name
    console = Console(highlight=False, soft_wrap=True)
    console.print(summarise(records))
    out.mkdir(parents=True, exist_ok=True)
    for place, record in enumerate(best(records, k), 1):
        architecture = Architecture.from_json(record["architecture"])
        path = out / f"{name}_top{place}.json"
        path.write_text(architecture.to_json() + "\n")
        console.print(f"\n[bold]Top {place}[/bold]  {_describe(record)}  ->  {path}")
        console.print(draw_text(architecture), markup=False)


def best_architectures(experiment_id: str, k: int) -> list[tuple[str, Architecture]]:
    """The k best so far, each with a title for a picture.

    Raises:
        InputError: no such experiment, or nothing was evaluated with success.
    """
    records = best(read_evaluations(experiment_id), k)
    if not records:
        raise InputError(f"experiment {experiment_id}: no trial has succeeded yet")
    return [
        (f"top {n}: {record['fitness']:.3f}", Architecture.from_json(record["architecture"]))
        for n, record in enumerate(records, 1)
    ]


def best(records: list[dict[str, Any]], k: int) -> list[dict[str, Any]]:
    """The k fittest records of different architectures, the fittest first."""
    fittest: dict[str, dict[str, Any]] = {}
    for record in sorted(_successes(records), key=lambda r: r["fitness"], reverse=True):
        fittest.setdefault(record["fingerprint"], record)
    return list(fittest.values())[:k]


def summarise(records: list[dict[str, Any]]) -> str:
    """How many were evaluated, and how the children compare with the initial population."""
    successes = _successes(records)
    initial = [r["fitness"] for r in successes if r["parent"] is None]
    children = [r["fitness"] for r in successes if r["parent"] is not None]
    lines = [f"{len(successes)} architectures evaluated, {len(records) - len(successes)} failed"]
    for name, values in (("initial population", initial), ("children", children)):
        if values:
            lines.append(
                f"{name:<20}{len(values):>5}   mean {fmean(values):.3f}   "
                f"median {median(values):.3f}   best {max(values):.3f}"
            )
    return "\n".join(lines)


def _successes(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record["fitness"] is not None]


def _describe(record: dict[str, Any]) -> str:
    metrics = record["metrics"]
    parts = [f"fitness {record['fitness']:.3f}"]
    if "params" in metrics:
        parts.append(f"{metrics['params'] / 1e6:.2f} M parameters")
    if "gmacs" in metrics:
        parts.append(f"{metrics['gmacs']:.3f} GMACs")
    return "  ".join([*parts, record["fingerprint"]])
