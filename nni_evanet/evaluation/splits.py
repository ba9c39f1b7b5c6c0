"""The mean over official splits: how results on HMDB51 are reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from rich.table import Table

from nni_evanet.errors import InputError
from nni_evanet.evaluation.results import Results, read_results


def average_splits(files: Sequence[Path]) -> dict[str, list[float]]:
    """The metric that counts of every network and ensemble, on each split and their mean.

    Networks of different splits are matched by their names.

    Raises:
        InputError: a file that has no results; other data, metrics, views or names; a split twice.
    """
    results = [read_results(path) for path in files]
    first = results[0]
    splits: dict[int, Path] = {}
    for path, other in zip(files, results, strict=True):
        if other.split in splits:
            raise InputError(f"{path}: split {other.split}, as {splits[other.split]}")
        splits[other.split] = path
        for name in ("dataset", "subset", "metric", "views"):
            if getattr(other, name) != getattr(first, name):
                raise InputError(
                    f"{path}: {name} {getattr(other, name)}, in {files[0]} {getattr(first, name)}"
                )
        if odd := _names(first) ^ _names(other):
            raise InputError(
                f"{path}: {min(odd)!r} is here or in {files[0]}, not in both; networks of different"
                " splits are matched by their names"
            )
    found = {}
    for row in first.rows:
        values = [_value(other, row.name) for other in results]
        found[row.name] = [*values, fmean(values)]
    return found


def splits_table(files: Sequence[Path]) -> Table:
    """`average_splits` for people."""
    means = average_splits(files)
    results = [read_results(path) for path in files]
    table = Table(title=f"{results[0].dataset}: {results[0].metric}", title_justify="left")
    table.add_column("network")
    for heading in (*(f"split {each.split}" for each in results), "mean"):
        table.add_column(heading, justify="right")
    for name, values in means.items():
        table.add_row(name, *(f"{value:.1%}" for value in values))
    return table


def _names(results: Results) -> set[str]:
    return {row.name for row in results.rows}


def _value(results: Results, name: str) -> float:
    (row,) = (row for row in results.rows if row.name == name)
    return row.metrics[results.metric]
