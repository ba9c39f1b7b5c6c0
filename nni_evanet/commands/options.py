"""Option types and groups of options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nni_evanet.data.registry import DATASETS, MODALITIES, DataSource
from nni_evanet.decisions import METAS

META = click.Choice(list(METAS))
DECODER = click.Choice(("auto", "pyav", "torchcodec"))
POSITIVE = click.IntRange(min=1)
NOT_NEGATIVE = click.IntRange(min=0)
PositiveFloat = click.FloatRange(min=0, min_open=True)
PATH = click.Path(path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Name a dataset: the command gets a `DataSource` as its argument ``data``."""

    @click.option("--dataset", required=True, help=f"One of {', '.join(DATASETS)}.")
    @click.option("--data-path", required=True, type=PATH, help="The dataset's folder.")
    @click.option("--split", type=int, default=1, show_default=True, help="Of HMDB51: 1, 2 or 3.")
    @click.option("--modality", type=click.Choice(MODALITIES), default="rgb", show_default=True)
    @click.option("--flow-path", type=FOLDER, help="Optical flow. Default: below the data path.")
    @click.option("--exclude", type=FILE, help="Leave out what check-data found; its file.")
    @functools.wraps(command)
    def with_data(
        dataset: str,
        data_path: Path,
        split: int,
        modality: str,
        flow_path: Path | None,
        exclude: Path | None,
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

    return with_data
