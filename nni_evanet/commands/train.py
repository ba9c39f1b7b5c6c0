"""The command that trains a network in full."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nni_evanet.commands.options import (
    DECODER,
    FILE,
    FOLDER,
    MAX_UNREADABLE,
    NOT_NEGATIVE,
    POSITIVE,
    PositiveFloat,
    data_options,
)
from nni_evanet.errors import InputError

if TYPE_CHECKING:
    from nni_evanet.networks.blueprint import Blueprint

SHARE = click.FloatRange(0, 1, max_open=True)


@click.command()
@data_options
@click.option("--architecture", metavar="FILE_OR_EXPERIMENT_ID", help="A file, or a search's best.")
@click.option("--top", type=POSITIVE, help="Of the experiment: 1, the default, is the best.")
@click.option("--baseline", help="A network of the paper's tables, such as i3d.")
@click.option("--init", type=FILE, help="Start from this network's weights.")
@click.option("--init-2d", type=FILE, help="Start from a 2D network's weights, inflated.")
@click.option("--stretch", type=click.IntRange(min=2), help="iTGM's time in the network of --init.")
@click.option("--out", type=FOLDER, required=True, help="Results. The same again resumes.")
@click.option("--frames", type=POSITIVE, default=64, show_default=True)
@click.option("--size", type=click.IntRange(min=16), default=224, show_default=True)
@click.option("--fps", type=PositiveFloat, default=25.0, show_default=True)
@click.option("--width", type=POSITIVE, help="The stem's filters. Default: 64, or that of --init.")
@click.option("--dropout", type=SHARE, default=0.5, show_default=True)
@click.option("--iterations", type=POSITIVE, required=True, help="Optimizer steps.")
@click.option("--batch-size", type=POSITIVE, default=144, show_default=True, help="Of all GPUs.")
@click.option("--micro-batch", type=POSITIVE, help="Clips of a GPU at a time. Default: up to 12.")
@click.option("--learning-rate", type=PositiveFloat, default=0.004, show_default=True)
@click.option("--weight-decay", type=click.FloatRange(0), default=0.02, show_default=True)
@click.option(
    "--schedule", type=click.Choice(("cosine", "step")), default="cosine", show_default=True
)
@click.option("--label-smoothing", type=SHARE, default=0.0, show_default=True)
@click.option("--ema", type=SHARE, help="Average the weights, with this decay: 0.999.")
@click.option("--validation-clips", type=NOT_NEGATIVE, default=0, show_default=True)
@click.option("--checkpoint-every", type=POSITIVE, default=500, show_default=True)
@MAX_UNREADABLE
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--decoder", type=DECODER, default="auto", show_default=True)
@click.option("--workers", type=NOT_NEGATIVE, default=4, show_default=True, help="Of each GPU.")
@click.option("--devices", type=POSITIVE, help="GPUs, or CPU processes. Default: all GPUs.")
@click.option("--num-nodes", type=POSITIVE, default=1, show_default=True, help="Machines.")
def train(
    architecture: str | None,
    top: int | None,
    baseline: str | None,
    width: int | None,
    iterations: int,
    learning_rate: float,
    weight_decay: float,
    schedule: str,
    label_smoothing: float,
    **options: Any,
) -> None:
    """Train a network in full: a search's find, a baseline, or one that was trained elsewhere."""
    if options["init"] and options["init_2d"]:
        raise InputError("--init and --init-2d: give one of them")
    blueprint = choose_network(architecture, top, baseline, width)
    from nni_evanet.training.module import Optimisation
    from nni_evanet.training.train import Settings
    from nni_evanet.training.train import train as train_network

    optimisation = Optimisation(
        iterations=iterations,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        schedule=schedule,
        label_smoothing=label_smoothing,
    )
    train_network(Settings(blueprint=blueprint, optimisation=optimisation, **options))


def choose_network(
    architecture: str | None, top: int | None, baseline: str | None, width: int | None
) -> Blueprint | None:
    """The network that the options name, None if they name none.

    Raises:
        InputError: they name two; a file or an experiment that is none.
    """
    from nni_evanet.architecture import read_architecture
    from nni_evanet.networks.blueprint import Blueprint

    if architecture and baseline:
        raise InputError("--architecture and --baseline: give one of them")
    if top and (not architecture or Path(architecture).is_file()):
        raise InputError("--top: for an experiment's architectures only")
    if baseline:
        return Blueprint(baseline=baseline, width=width or 64)
    if not architecture:
        if width:
            raise InputError("--width: the network of --init has its own")
        return None
    if Path(architecture).is_file():
        return Blueprint(architecture=read_architecture(Path(architecture)), width=width or 64)
    if Path(architecture).suffix:
        raise InputError(f"--architecture: no file {architecture}")
    from nni_evanet.report.top import best_architectures

    found = best_architectures(architecture, top or 1)
    if len(found) < (top or 1):
        raise InputError(f"--top {top}: experiment {architecture} has {len(found)} so far")
    return Blueprint(architecture=found[-1][1], width=width or 64)
