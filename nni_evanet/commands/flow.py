"""The command that computes optical flow."""

from __future__ import annotations

from pathlib import Path

import click

from nni_evanet.commands.options import (
    FILE,
    FOLDER,
    POSITIVE,
    PositiveFloat,
    data_options,
    present_subsets,
)
from nni_evanet.data import DataError, DataSource, Video
from nni_evanet.data.flow_folders import flow_folder_of


@click.command()
@data_options(modality=False)
@click.option("--out", type=FOLDER, required=True, help="What --flow-path takes afterwards.")
@click.option(
    "--algorithm", type=click.Choice(("tvl1", "dis", "raft")), default="tvl1", show_default=True
)
@click.option("--weights", type=FILE, help="Of RAFT: torchvision's raft_small or raft_large.")
@click.option("--fps", type=PositiveFloat, default=25, show_default=True)
@click.option("--short-side", type=POSITIVE, default=256, show_default=True, help="In pixels.")
@click.option(
    "--bound", type=PositiveFloat, default=20, show_default=True, help="In pixels; clipped there."
)
@click.option("--workers", type=POSITIVE, default=1, show_default=True, help="Processes.")
def flow(
    data: DataSource,
    out: Path,
    algorithm: str,
    weights: Path | None,
    fps: float,
    short_side: int,
    bound: float,
    workers: int,
) -> None:
    """Compute the optical flow of a dataset's videos, of all subsets; resumes where it ended."""
    from nni_evanet.data.flow import FlowSettings, compute_flow

    videos = _videos_by_folder(data, out)
    settings = FlowSettings(algorithm=algorithm, bound=bound, fps=fps, short_side=short_side)
    failed = compute_flow(videos, out, settings=settings, weights=weights, workers=workers)
    click.echo(f"{out}: flow of {len(videos) - len(failed)} of {len(videos)} videos")
    for path, reason in failed.items():
        click.echo(f"unreadable: {path}: {reason}", err=True)
    if failed:
        click.get_current_context().exit(1)


def _videos_by_folder(data: DataSource, out: Path) -> dict[Path, Video]:
    """All videos of a dataset, by the folder that their flow goes to."""
    videos: dict[Path, Video] = {}
    for found in present_subsets(data):
        for video in found.videos:
            folder = flow_folder_of(video, found.root, out)
            other = videos.setdefault(folder, video).path
            if other != video.path:
                raise DataError(f"{video.path}: its flow would be in the folder of that of {other}")
    return videos
