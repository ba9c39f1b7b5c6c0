"""Commands of a search: its space, its trials, its results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nni_evanet.commands.options import (
    DECODER,
    FILE,
    FOLDER,
    MAX_UNREADABLE,
    META,
    NEW_FILE,
    NOT_NEGATIVE,
    POSITIVE,
    PositiveFloat,
    data_options,
)


@click.command("export-space")
@click.argument("meta", type=META)
@click.option("--out", type=NEW_FILE, help="Default: stdout.")
def export_space(meta: str, out: Path | None) -> None:
    """Print a meta-architecture as an NNI search-space file."""
    from nni_evanet.search_spaces import json_space_text

    text = json_space_text(meta)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text)


@click.command()
@data_options
@click.option("--architecture", type=FILE, help="Train this one, without NNI.")
@click.option("--meta", type=META, default="resnet", show_default=True)
@click.option("--frames", type=POSITIVE, default=32, show_default=True)
@click.option("--size", type=click.IntRange(min=16), default=176, show_default=True)
@click.option("--fps", type=PositiveFloat, default=25.0, show_default=True)
@click.option("--iterations", type=POSITIVE, default=1000, show_default=True)
@click.option("--batch-size", type=POSITIVE, default=144, show_default=True)
@click.option("--micro-batch", type=POSITIVE, help="Clips at a time. Default: the whole batch.")
@click.option("--learning-rate", type=PositiveFloat, default=0.015, show_default=True)
@click.option("--width", type=POSITIVE, default=64, show_default=True, help="The stem's filters.")
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.5)
@click.option("--training-clips", type=POSITIVE, help="Videos to train on. Default: all others.")
@click.option("--validation-clips", type=POSITIVE, default=1000, show_default=True)
@MAX_UNREADABLE
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--workers", type=NOT_NEGATIVE, default=4, show_default=True)
@click.option("--cache", type=FOLDER, help="Clips decoded once; made if it is not there.")
@click.option("--decoder", type=DECODER, default="auto", show_default=True)
@click.option("--threads", type=POSITIVE, help="Of the CPU. Default: PyTorch's choice.")
@click.option("--gpus", type=POSITIVE, help="Claim that many GPUs that NNI did not assign.")
def trial(**options: Any) -> None:
    """Train and evaluate one architecture: what NNI runs for each trial."""
    from nni_evanet.trial import Settings, run

    run(Settings(**options))


@click.command()
@click.argument("experiment_id")
@click.option("-k", type=POSITIVE, default=3, show_default=True, help="How many.")
@click.option("--out", type=FOLDER, default=Path(), help="Folder of the JSON files.")
def top(experiment_id: str, k: int, out: Path) -> None:
    """Show the best architectures of an experiment, and write each to a JSON file."""
    from nni_evanet.report.top import show_top

    show_top(experiment_id, k=k, out=out)
