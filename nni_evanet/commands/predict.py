"""The command that says what is in a video."""

from __future__ import annotations

from pathlib import Path

import click

from nni_evanet.commands.evaluate import CLIPS, CROPS
from nni_evanet.commands.options import NOT_NEGATIVE, PATH, POSITIVE
from nni_evanet.errors import InputError

_NETWORK_SUFFIX = ".safetensors"


@click.command()
@click.argument("files", metavar="NETWORK... VIDEO...", nargs=-1, required=True, type=PATH)
@click.option("--top", type=POSITIVE, default=5, show_default=True, help="Classes to print.")
@CLIPS
@CROPS
@click.option("--workers", type=NOT_NEGATIVE, default=0, show_default=True)
def predict(files: tuple[Path, ...], top: int, clips: int, crops: str, workers: int) -> None:
    """Print the top classes of VIDEO files, by NETWORK files (.safetensors) or their ensemble.

    A network of optical flow computes the flow first.
    """
    networks = [path for path in files if path.suffix == _NETWORK_SUFFIX]
    videos = [path for path in files if path.suffix != _NETWORK_SUFFIX]
    if not networks or not videos:
        raise InputError(
            f"expected at least one network (*{_NETWORK_SUFFIX}) and one video, got "
            f"{len(networks)} and {len(videos)}"
        )
    from nni_evanet.data.clips import Views
    from nni_evanet.evaluation.predict import predict as predict_videos

    views = Views(clips=clips, crops=int(crops))
    classes, scores = predict_videos(networks, videos, views=views, workers=workers)
    for path, values in zip(videos, scores, strict=True):
        click.echo(path)
        best = values.topk(min(top, len(classes)))
        for value, label in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            click.echo(f"  {value:6.1%}  {classes[label]}")
