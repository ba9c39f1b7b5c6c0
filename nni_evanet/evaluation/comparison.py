"""Networks and their ensembles on the same videos: tables, files and pictures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from nni_evanet.errors import InputError
from nni_evanet.evaluation.combining import align, average
from nni_evanet.evaluation.intervals import bootstrap_interval, wilson_interval
from nni_evanet.evaluation.metrics import (
    average_precisions,
    class_accuracies,
    mean_average_precision,
    top_k_accuracy,
)
from nni_evanet.evaluation.pictures import draw_confusion
from nni_evanet.evaluation.results import Results, Row, write_results
from nni_evanet.evaluation.scores import Scores

RESULTS, PER_CLASS, CONFUSION = "results.json", "per_class.csv", "confusion.png"
ENSEMBLE = "ensemble"

_HEADINGS = {"top1": "top-1", "top5": "top-5", "map": "mAP"}


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Networks whose scores are averaged.

    Args:
        name: of the ensemble.
        group: what it is compared as.
        members: the names of its networks.
        weights: one for each; None for equal ones.
    """

    name: str
    group: str
    members: tuple[str, ...]
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Evaluated networks and ensembles.

    Args:
        results: a row for each.
        values: scores (N, classes) of each, in the rows' order.
        targets: of the videos.
        classes: names.
        left_out: the videos that some network has no scores of, each with the reason.
    """

    results: Results
    values: tuple[Tensor, ...]
    targets: Tensor
    classes: tuple[str, ...]
    left_out: dict[str, str]


def compare(scores: Sequence[Scores], ensembles: Sequence[Ensemble]) -> Comparison:
    """Evaluate networks and ensembles on the videos that all have scores of.

    Raises:
        InputError: scores that cannot be compared; nothing to compare them with: no video has a
            label; two rows of one name.
    """
    aligned = align(scores)
    by_name = {each.origin.network: each for each in aligned}
    names = [each.origin.network for each in scores] + [e.name for e in ensembles]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"two networks or ensembles called {twice!r}")
    rows = [_network_row(each) for each in aligned]
    values = [each.values for each in aligned]
    for ensemble in ensembles:
        members = [by_name[name] for name in ensemble.members]
        mean = average(members, ensemble.weights)
        rows.append(_ensemble_row(ensemble, members, mean))
        values.append(mean)
    first = aligned[0].origin
    results = Results(
        dataset=first.dataset,
        subset=first.subset,
        split=first.split,
        metric="map" if first.multi_label else "top1",
        classes=len(first.classes),
        videos=len(aligned[0].videos),
        views={"clips": first.clips, "crops": first.crops},
        rows=tuple(rows),
    )
    return Comparison(
        results=results,
        values=tuple(values),
        targets=aligned[0].targets,
        classes=first.classes,
        left_out=dict(aligned[0].left_out),
    )


def ensembles_of(
    scores: Sequence[Scores], weights: Sequence[float] | None = None
) -> list[Ensemble]:
    """That of all networks and, where some are RGB and some flow, of each modality's (table 12).

    Raises:
        InputError: not one weight for each network.
    """
    if weights is not None and len(weights) != len(scores):
        raise InputError(f"{len(weights)} weights for {len(scores)} networks")
    if len(scores) < 2:
        return []
    modalities = dict.fromkeys(each.origin.modality for each in scores)
    chosen = [(f"{ENSEMBLE} {m}", [m]) for m in modalities] if len(modalities) > 1 else []
    found = []
    for name, wanted in [*chosen, (ENSEMBLE, list(modalities))]:
        places = [k for k, each in enumerate(scores) if each.origin.modality in wanted]
        if len(places) < 2:
            continue
        groups = {scores[k].origin.group for k in places}
        found.append(
            Ensemble(
                name=name,
                group=groups.pop() if len(groups) == 1 else "other",
                members=tuple(scores[k].origin.network for k in places),
                weights=tuple(weights[k] for k in places) if weights else None,
            )
        )
    return found


def save(comparison: Comparison, out: Path) -> list[Path]:
    """Write the results, the table of classes and, for single-label data, the confusion picture.

    The picture is of the last row: of the ensemble of all networks, if there is one.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = [out / RESULTS, out / PER_CLASS]
    write_results(written[0], comparison.results)
    _write_classes(written[1], comparison)
    if comparison.results.metric == "top1":
        written.append(out / CONFUSION)
        name = comparison.results.rows[-1].name
        draw_confusion(
            comparison.values[-1], comparison.targets, comparison.classes, written[-1], title=name
        )
    return written


def show(comparison: Comparison, console: Console) -> None:
    """Print the results, and the videos that are not in them."""
    results = comparison.results
    metrics = list(results.rows[0].metrics)
    title = (
        f"{results.dataset} {results.subset}"
        + (f" split {results.split}" if results.dataset == "hmdb51" else "")
        + f": {results.videos} videos, {results.classes} classes, "
        f"{results.views['clips']} clips x {results.views['crops']} crops"
    )
    # Narrow enough for a terminal of 80 columns, with names in full.
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("network", no_wrap=True)
    table.add_column("input")
    for heading in ("params", "GMACs", *(_HEADINGS[name] for name in metrics), "95 %"):
        table.add_column(heading, justify="right")
    for row in results.rows:
        low, high = row.ci95 or (float("nan"),) * 2
        table.add_row(
            row.name,
            row.modality,
            f"{row.params / 1e6:.2f} M",
            f"{row.gmacs:.3g}",
            *(f"{row.metrics[name]:.1%}" for name in metrics),
            f"{low * 100:.1f}-{high:.1%}",
            style="bold" if row.kind == "ensemble" else None,
        )
    console.print(table)
    if comparison.left_out:
        console.print(f"{len(comparison.left_out)} videos are left out for all networks:")
        for name, why in comparison.left_out.items():
            console.print(f"  {name}: {why}", markup=False)


def _network_row(scores: Scores) -> Row:
    origin = scores.origin
    return Row(
        name=origin.network,
        kind="network",
        group=origin.group,
        members=(),
        modality=origin.modality,
        params=origin.params,
        gmacs=origin.gmacs,
        **_measure(scores.values, scores.targets),
    )


def _ensemble_row(ensemble: Ensemble, members: Sequence[Scores], values: Tensor) -> Row:
    modalities = {member.origin.modality for member in members}
    return Row(
        name=ensemble.name,
        kind="ensemble",
        group=ensemble.group,
        members=ensemble.members,
        modality="+".join(sorted(modalities, reverse=True)),
        params=sum(member.origin.params for member in members),
        gmacs=sum(member.origin.gmacs for member in members),
        **_measure(values, members[0].targets),
    )


def _measure(values: Tensor, targets: Tensor) -> dict:
    """Metrics and the interval of the one that counts."""
    if targets.dim() == 2:
        return {
            "metrics": {"map": mean_average_precision(values, targets)},
            "ci95": bootstrap_interval(values, targets),
        }
    top1 = top_k_accuracy(values, targets)
    metrics = {"top1": top1, "top5": top_k_accuracy(values, targets, 5)}
    return {"metrics": metrics, "ci95": wilson_interval(top1, len(targets))}


def _write_classes(path: Path, comparison: Comparison) -> None:
    """A row for each class: how many videos, and each network's accuracy or average precision."""
    targets, classes = comparison.targets, comparison.classes
    single = targets.dim() == 1
    counts = targets.bincount(minlength=len(classes)) if single else targets.sum(0).long()
    measure = class_accuracies if single else average_precisions
    columns = [measure(values, targets).tolist() for values in comparison.values]
    names = [row.name for row in comparison.results.rows]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "videos", *names])
        for label, name in enumerate(classes):
            shares = ("" if x[label] != x[label] else f"{x[label]:.4f}" for x in columns)
            writer.writerow([name, int(counts[label]), *shares])
