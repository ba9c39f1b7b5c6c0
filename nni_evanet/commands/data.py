"""Commands that make and inspect data."""

from __future__ import annotations

from pathlib import Path

import click

from nni_evanet.commands.options import FOLDER, POSITIVE


@click.command("make-dataset")
@click.argument("name", type=click.Choice(["moving-digits"]))
@click.argument("out", type=FOLDER)
@click.option("--clips-per-class", type=POSITIVE, required=True, help="In the training split.")
@click.option("--seed", type=int, default=0, show_default=True)
def make_dataset(name: str, out: Path, clips_per_class: int, seed: int) -> None:
    """Write a small dataset of real encoded clips to OUT."""
    from nni_evanet.data.moving_digits import make_moving_digits

    make_moving_digits(out, clips_per_class=clips_per_class, seed=seed)
    click.echo(f"{name}: {out}")
