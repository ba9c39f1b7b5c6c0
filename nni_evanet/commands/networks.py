"""Commands about single architectures and networks."""

from __future__ import annotations

from pathlib import Path

import click

from nni_evanet.architecture import read_architecture
from nni_evanet.commands.options import FILE, NEW_FILE, PATH, POSITIVE


@click.command()
@click.argument("architecture", type=FILE)
@click.option("--frames", type=POSITIVE, default=64, show_default=True)
@click.option("--size", type=click.IntRange(min=16), default=224, show_default=True)
@click.option("--num-classes", type=POSITIVE, default=400, show_default=True)
@click.option("--width", type=POSITIVE, default=64, show_default=True, help="The stem's filters.")
def describe(architecture: Path, frames: int, size: int, num_classes: int, width: int) -> None:
    """Tell an ARCHITECTURE file's layers, cost, receptive field and memory."""
    from nni_evanet.report.statistics import describe as describe_architecture

    text = describe_architecture(
        read_architecture(architecture),
        frames=frames,
        size=size,
        num_classes=num_classes,
        width=width,
    )
    click.echo(text)


@click.command()
@click.argument("what", metavar="FILE_OR_EXPERIMENT_ID")
@click.option("--out", "-o", required=True, type=NEW_FILE)
def draw(what: str, out: Path) -> None:
    """Draw an architecture file, or the best three of an experiment, as svg, png or pdf."""
    from nni_evanet.report.drawing import draw as draw_architectures
    from nni_evanet.report.top import best_architectures

    if Path(what).is_file():
        titled = [(Path(what).stem, read_architecture(Path(what)))]
    else:
        titled = best_architectures(what, 3)
    draw_architectures(titled, out)
    click.echo(out)


@click.command("import-release")
@click.argument("checkpoint", type=PATH)
@click.option("--network", required=True, help="rgb1, rgb2 or a base64 DNA string.")
@click.option("--out", required=True, type=NEW_FILE)
def import_release(checkpoint: Path, network: str, out: Path) -> None:
    """Turn a TensorFlow CHECKPOINT of the authors' release into a safetensors file."""
    from nni_evanet import release

    click.echo(str(release.import_release(checkpoint, network, out)))
