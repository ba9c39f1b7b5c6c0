"""The command that turns searches into an EvaNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nni_evanet.commands.evaluate import CLIPS, CROPS
from nni_evanet.commands.options import (
    DECODER,
    FOLDER,
    NOT_NEGATIVE,
    POSITIVE,
    PositiveFloat,
    data_options,
)
from nni_evanet.commands.train import SHARE
from nni_evanet.data.registry import DataSource


@click.command()
@click.argument("experiments", metavar="EXPERIMENT_ID...", nargs=-1, required=True)
@data_options
@click.option("--out", type=FOLDER, required=True, help="Results. The same again resumes.")
@click.option("--top", type=click.IntRange(min=2), default=3, show_default=True)
@click.option(
    "--compare",
    default="3d,itgm,diverse,arch,random",
    show_default=True,
    help="Ensembles, or single baselines such as i3d; or none.",
)
@click.option("--frames", type=POSITIVE, default=64, show_default=True)
@click.option("--size", type=click.IntRange(min=16), default=224, show_default=True)
@click.option("--fps", type=PositiveFloat, default=25.0, show_default=True)
@click.option("--width", type=POSITIVE, default=64, show_default=True, help="The stem's filters.")
@click.option(
    "--baseline-width",
    type=POSITIVE,
    help="Default: 64, or with another --width what makes them cost as much as the evolved ones.",
)
@click.option("--dropout", type=SHARE, default=0.5, show_default=True)
@click.option("--iterations", type=POSITIVE, required=True, help="Of each network.")
@click.option("--batch-size", type=POSITIVE, default=144, show_default=True)
@click.option("--micro-batch", type=POSITIVE, help="Clips of a GPU at a time. Default: up to 12.")
@click.option("--learning-rate", type=PositiveFloat, default=0.004, show_default=True)
@click.option("--checkpoint-every", type=POSITIVE, default=500, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@CLIPS
@CROPS
@click.option("--decoder", type=DECODER, default="auto", show_default=True)
@click.option("--workers", type=NOT_NEGATIVE, default=4, show_default=True, help="Of each GPU.")
def ensemble(
    experiments: tuple[str, ...],
    data: DataSource,
    out: Path,
    top: int,
    compare: str,
    width: int,
    baseline_width: int | None,
    iterations: int,
    learning_rate: float,
    clips: int,
    crops: str,
    seed: int,
    **options: Any,
) -> None:
    """Train the best architectures of searches, and evaluate their ensemble: an EvaNet.

    It is compared with ensembles of the paper's tables 3 and 12, all networks trained alike:
    3d and itgm (one Inception with that op, trained as often as --top), diverse (Inceptions of 3D,
    (2+1)D and iTGM), arch (I3D, ResNet-50 and ResNet-101 (2+1)D), random (random architectures).
    """
    from rich.console import Console

    from nni_evanet import evanet
    from nni_evanet.data.clips import Views
    from nni_evanet.evaluation.comparison import show
    from nni_evanet.evaluation.evaluate import Settings as Evaluation
    from nni_evanet.evaluation.listing import official_subset
    from nni_evanet.training.module import Optimisation
    from nni_evanet.training.train import Settings as Training

    evolved = evanet.best_of_searches(experiments, top)
    videos = data.load("train")
    plan = evanet.make_plan(
        evolved,
        [] if compare == "none" else [name.strip() for name in compare.split(",")],
        width=width,
        baseline_width=baseline_width,
        clip=(videos.channels, options["frames"], options["size"], options["size"]),
        num_classes=len(videos.classes),
        seed=seed,
    )
    training = Training(
        data=data,
        out=out,
        blueprint=None,
        optimisation=Optimisation(iterations=iterations, learning_rate=learning_rate),
        seed=seed,
        **options,
    )
    evaluation = Evaluation(
        data=data,
        subset=official_subset(data.dataset),
        views=Views(clips=clips, crops=int(crops)),
        out=out,
        workers=options["workers"],
        decoder=options["decoder"],
    )
    console = Console()
    evanet.show_plan(plan, training, videos, console)
    comparison = evanet.run(plan, training, evaluation)
    show(comparison, console)
    console.print(f"{out / 'results.json'}\n{out / evanet.PICTURE}", highlight=False)
