"""Commands that evaluate trained networks and combine their scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nni_evanet.commands.options import DECODER, FOLDER, NOT_NEGATIVE, PATH, POSITIVE, data_options
from nni_evanet.data.registry import DataSource
from nni_evanet.errors import InputError

if TYPE_CHECKING:
    from nni_evanet.evaluation.comparison import Ensemble
    from nni_evanet.evaluation.scores import Scores

CLIPS = click.option("--clips", type=POSITIVE, default=10, show_default=True, help="Of a video.")
CROPS = click.option(
    "--crops", type=click.Choice(("1", "3")), default="3", show_default=True, help="Of a clip."
)


@click.command()
@click.argument("networks", metavar="NETWORK...", nargs=-1, required=True, type=PATH)
@data_options(modality=False)
@click.option("--subset", type=click.Choice(("train", "val", "test")), help="Default: official.")
@CLIPS
@CROPS
@click.option("--out", type=FOLDER, required=True, help="Results. The same again resumes.")
@click.option("--batch-size", type=POSITIVE, default=16, show_default=True, help="Clips at a time.")
@click.option("--workers", type=NOT_NEGATIVE, default=4, show_default=True, help="Of each GPU.")
@click.option("--decoder", type=DECODER, default="auto", show_default=True)
def evaluate(
    networks: tuple[Path, ...],
    data: DataSource,
    subset: str | None,
    clips: int,
    crops: str,
    out: Path,
    batch_size: int,
    workers: int,
    decoder: str,
) -> None:
    """Evaluate network files and the ensemble of all, on several views of each video.

    Clips, size and modality are those that each network was trained on. The scores are kept in
    OUT/scores: a network that is scored already is not run again.
    """
    from nni_evanet.data.clips import Views
    from nni_evanet.evaluation.evaluate import Settings, evaluate_networks
    from nni_evanet.evaluation.listing import official_subset

    settings = Settings(
        data=data,
        subset=subset or official_subset(data.dataset),
        views=Views(clips=clips, crops=int(crops)),
        out=out,
        batch_size=batch_size,
        workers=workers,
        decoder=decoder,
    )
    scores = evaluate_networks(networks, settings)
    from nni_evanet.evaluation.comparison import ensembles_of

    _report(scores, ensembles_of(scores), out)


@click.command()
@click.argument("scores", metavar="SCORES...", nargs=-1, required=True, type=PATH)
@click.option("--weights", help="One for each, such as 2,1,1. Default: equal.")
@click.option("--out", type=FOLDER, required=True, help="Folder of the results.")
def combine(scores: tuple[Path, ...], weights: str | None, out: Path) -> None:
    """Make an ensemble of score files that evaluate wrote, without running the networks."""
    from nni_evanet.evaluation.comparison import ensembles_of
    from nni_evanet.evaluation.scores import read_scores

    read = [read_scores(path) for path in scores]
    _report(read, ensembles_of(read, _parse_weights(weights) if weights else None), out)


@click.command()
@click.argument("results", metavar="RESULTS...", nargs=-1, required=True, type=PATH)
def average(results: tuple[Path, ...]) -> None:
    """Print the mean over splits of results.json files, for HMDB51's three."""
    from rich.console import Console

    from nni_evanet.evaluation.splits import splits_table

    Console().print(splits_table(results))


def _report(scores: list[Scores], ensembles: list[Ensemble], out: Path) -> None:
    from rich.console import Console

    from nni_evanet.evaluation.comparison import compare, save, show

    comparison = compare(scores, ensembles)
    written = save(comparison, out)
    show(comparison, Console())
    for path in written:
        click.echo(path)


def _parse_weights(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--weights {text}: expected numbers, such as 2,1,1") from None
