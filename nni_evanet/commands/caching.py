"""The command that decodes a search's clips once."""

from __future__ import annotations

from pathlib import Path

import click

from nni_evanet.commands.options import (
    DECODER,
    FOLDER,
    NOT_NEGATIVE,
    POSITIVE,
    PositiveFloat,
    data_options,
)
from nni_evanet.data.registry import DataSource


@click.command()
@data_options
@click.option("--out", type=FOLDER, required=True, help="The cache's folder. Again: brings it up.")
@click.option("--frames", type=POSITIVE, default=32, show_default=True)
@click.option("--size", type=click.IntRange(min=16), default=176, show_default=True)
@click.option("--fps", type=PositiveFloat, default=25.0, show_default=True)
@click.option(
    "--training-clips", type=POSITIVE, help="As of the trials. Default: the whole training subset."
)
@click.option(
    "--validation-clips",
    type=POSITIVE,
    default=1000,
    help="As of the trials, with --training-clips.",
)
@click.option("--decoder", type=DECODER, default="auto", show_default=True)
@click.option("--workers", type=NOT_NEGATIVE, help="Default: one for each core.")
def cache(
    data: DataSource,
    out: Path,
    frames: int,
    size: int,
    fps: float,
    training_clips: int | None,
    validation_clips: int,
    decoder: str,
    workers: int | None,
) -> None:
    """Decode the clips of a search once; its trials then take --cache."""
    import os

    from nni_evanet.data.cache import Origin
    from nni_evanet.data.cache_making import make_cache, missing_bytes
    from nni_evanet.data.clips import Geometry
    from nni_evanet.data.opening import opener
    from nni_evanet.data.partition import search_parts

    videos = data.load("train")
    wanted = videos.videos
    if training_clips is not None:
        parts = search_parts(
            videos.videos, training_clips=training_clips, validation_clips=validation_clips
        )
        wanted = parts.training + parts.validation
    geometry = Geometry.of(videos, frames=frames, size=size, fps=fps)
    origin = Origin.of(videos, geometry)
    growth = missing_bytes(out, origin, wanted, root=videos.root)
    click.echo(
        f"{out}: {len(wanted)} videos of up to {origin.slot_bytes / 1e6:.2f} MB each; "
        f"up to {growth / 1e9:.2f} GB are still to be written"
    )
    make_cache(
        out,
        origin,
        wanted,
        root=videos.root,
        open_source=opener(decoder),
        workers=(os.cpu_count() or 1) if workers is None else workers,
    )
    click.echo(f"{out}: complete")
