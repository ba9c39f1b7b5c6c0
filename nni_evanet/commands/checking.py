"""The command that finds broken data before a training does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nni_evanet.commands.options import (
    NEW_FILE,
    POSITIVE,
    PositiveFloat,
    data_options,
    present_subsets,
)
from nni_evanet.data.registry import DATASETS, DataSource
from nni_evanet.data.videos import DataError, VideoSet

if TYPE_CHECKING:
    from nni_evanet.data.checking import Problem

SHOWN = 20


@click.command("check-data")
@data_options
@click.option("--frames", type=POSITIVE, default=32, show_default=True, help="Of a clip.")
@click.option("--fps", type=PositiveFloat, default=25.0, show_default=True)
@click.option("--workers", type=POSITIVE, help="Default: one for each core.")
@click.option("--out", type=NEW_FILE, help="A file of the problems, for --exclude.")
def check_data(
    data: DataSource, frames: int, fps: float, workers: int | None, out: Path | None
) -> None:
    """Decode every file of a dataset and tell what is missing or wrong; exit code 1 if so."""
    from rich.progress import track

    from nni_evanet.data.checking import check_files, check_lists, write_problems
    from nni_evanet.data.source import frame_rate

    if out is not None and not out.absolute().parent.is_dir():
        raise DataError(f"{out.absolute().parent}: no such folder, for {out.name}")
    subsets = present_subsets(data)
    everything = present_subsets(replace(data, exclude=None)) if data.exclude else subsets
    problems = check_lists(
        subsets,
        annotated(everything),
        recordings_apart=DATASETS[data.dataset].recordings_apart,
    )
    total = sum(len(subset.videos) for subset in subsets)
    found = check_files(
        subsets,
        frames=frames,
        fps=frame_rate(fps),
        workers=workers or os.cpu_count() or 1,
    )
    problems += [p for p in track(found, "decoding", total=total) if p is not None]
    _show(problems, total)
    if out is not None:
        write_problems(out, problems)
        click.echo(f"{out}: take it with --exclude")
    # A short video is looped: worth knowing, and no fault.
    click.get_current_context().exit(any(p.problem != "too short" for p in problems))


def annotated(subsets: Sequence[VideoSet]) -> list[Path]:
    """All files that the annotations name."""
    return [path for s in subsets for path in (*(v.path for v in s.videos), *s.unused)]


def _show(problems: Sequence[Problem], total: int) -> None:
    from rich.console import Console
    from rich.table import Table

    from nni_evanet.data.checking import KINDS

    console = Console(soft_wrap=True, markup=False, highlight=False)
    by_kind = {kind: [p for p in problems if p.problem == kind] for kind in KINDS}
    for kind, found in by_kind.items():
        for problem in found[:SHOWN]:
            line = f"{kind}: {problem.subset}: {problem.path}  {problem.detail}".rstrip()
            # A file's name need not be UTF-8.
            console.print(os.fsencode(line).decode(errors="replace"))
        if len(found) > SHOWN:
            console.print(f"{kind}: and {len(found) - SHOWN} more")
    table = Table("problem", "videos", "", title=f"{total} videos decoded")
    for kind, meaning in KINDS.items():
        table.add_row(kind, str(len(by_kind[kind])), meaning)
    console.print(table)
