"""What several commands share: option types, groups of options, the data that they name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nni_evanet.data.registry import DATASETS, MODALITIES, DataSource
from nni_evanet.data.source import DECODERS
from nni_evanet.data.videos import AbsentData, VideoSet
from nni_evanet.decisions import METAS

META = click.Choice(list(METAS))
MODALITY = click.Choice(MODALITIES)
DECODER = click.Choice(DECODERS)
POSITIVE = click.IntRange(min=1)
NOT_NEGATIVE = click.IntRange(min=0)
PositiveFloat = click.FloatRange(min=0, min_open=True)
PATH = click.Path(path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

MAX_UNREADABLE = click.option(
    "--max-unreadable",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Share of unreadable videos that is tolerated.",
)


def data_options(
    command: Callable[..., Any] | None = None, *, modality: bool = True
) -> Callable[..., Any]:
    """Name a dataset: the command gets a `DataSource` as its argument ``data``.

    Args:
        command: what is decorated.
        modality: whether it is the user who chooses between RGB and flow.
    """
    if command is None:
        return functools.partial(data_options, modality=modality)

    @click.option("--dataset", required=True, help=f"One of {', '.join(DATASETS)}.")
    @click.option("--data-path", required=True, type=PATH, help="The dataset's folder.")
    @click.option("--split", type=int, default=1, show_default=True, help="Of HMDB51: 1, 2 or 3.")
    @click.option("--flow-path", type=FOLDER, help="Optical flow. Default: below the data path.")
    @click.option("--exclude", type=FILE, help="Leave out what check-data found; its file.")
    @functools.wraps(command)
    def with_data(
        dataset: str,
        data_path: Path,
        split: int,
        flow_path: Path | None,
        exclude: Path | None,
        modality: str = "rgb",
        **options: Any,
    ) -> Any:
        data = DataSource(
            dataset=dataset,
            data_path=data_path,
            split=split,
            modality=modality,
            flow_path=flow_path,
            exclude=exclude,
        )
        return command(data=data, **options)

    if not modality:
        return with_data
    option = click.option("--modality", type=MODALITY, default="rgb", show_default=True)
    return option(with_data)


def present_subsets(data: DataSource) -> list[VideoSet]:
    """What there is of a dataset, its training subset at least: few people have all of it."""
    training = data.load("train")
    found = [training]
    for subset in DATASETS[data.dataset].subsets[1:]:
        try:
            loaded = data.load(subset)
        except AbsentData as error:
            click.echo(f"subset {subset} is left out: {error}", err=True)
            continue
        # A list file does not say of which subset it is: it is one, whatever it is asked for.
        if loaded.videos != training.videos:
            found.append(loaded)
    return found
