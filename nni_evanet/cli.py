"""`nni-evanet ...`: the command line. Each command imports what it needs only when it runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from nni_evanet import __version__
from nni_evanet.architecture import read_architecture
from nni_evanet.decisions import METAS
from nni_evanet.errors import Diverged, InputError

META = click.Choice(list(METAS))
POSITIVE = click.IntRange(min=1)
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
PositiveFloat = click.FloatRange(min=0, min_open=True)


class OneLineErrors(click.Group):
    """Bad input, wherever it is found, is one line on stderr and exit code 2."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (InputError, click.UsageError) as error:
            text = error.format_message() if isinstance(error, click.UsageError) else str(error)
            message = " ".join(text.split())
            click.echo(f"nni-evanet {context.invoked_subcommand}: {message}", err=True)
            context.exit(2)
        except Diverged as error:
            click.echo(f"nni-evanet {context.invoked_subcommand}: diverged: {error}", err=True)
            context.exit(1)


@click.group(cls=OneLineErrors)
@click.version_option(__version__)
def main() -> None:
    """Evolve video architectures with NNI, after EvaNet (ICCV 2019)."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)


@main.command("make-dataset")
@click.argument("name", type=click.Choice(["moving-digits"]))
@click.argument("out", type=FOLDER)
@click.option("--clips-per-class", type=POSITIVE, required=True, help="In the training split.")
@click.option("--seed", type=int, default=0, show_default=True)
def make_dataset(name: str, out: Path, clips_per_class: int, seed: int) -> None:
    """Write a small dataset of real encoded clips to OUT."""
    from nni_evanet.data.moving_digits import make_moving_digits

    make_moving_digits(out, clips_per_class=clips_per_class, seed=seed)
    click.echo(f"{name}: {out}")


@main.command("export-space")
@click.argument("meta", type=META)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Default: stdout.")
def export_space(meta: str, out: Path | None) -> None:
    """Print a meta-architecture as an NNI search-space file."""
    from nni_evanet.search_spaces import json_space_text

    text = json_space_text(meta)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text)


@main.command()
@click.option("--dataset", required=True, help="kinetics or moving-digits.")
@click.option("--data-path", required=True, type=click.Path(path_type=Path))
@click.option("--architecture", type=FILE, help="Train this one, without NNI.")
@click.option("--meta", type=META, default="resnet", show_default=True)
@click.option("--frames", type=POSITIVE, default=32, show_default=True)
@click.option("--size", type=click.IntRange(min=16), default=176, show_default=True)
@click.option("--fps", type=PositiveFloat, default=25.0, show_default=True)
@click.option("--iterations", type=POSITIVE, default=1000, show_default=True)
@click.option("--batch-size", type=POSITIVE, default=144, show_default=True)
@click.option("--micro-batch", type=POSITIVE, help="Clips at a time. Default: the whole batch.")
@click.option("--learning-rate", type=PositiveFloat, default=0.015, show_default=True)
@click.option("--width", type=POSITIVE, default=64, show_default=True, help="The stem's filters.")
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.5)
@click.option("--validation-clips", type=POSITIVE, default=1000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--workers", type=click.IntRange(min=0), default=4, show_default=True)
@click.option("--threads", type=POSITIVE, help="Of the CPU. Default: PyTorch's choice.")
@click.option("--gpus", type=click.IntRange(1, 1), help="Claim a GPU that NNI did not assign.")
def trial(**options: Any) -> None:
    """Train and evaluate one architecture: what NNI runs for each trial."""
    from nni_evanet.trial import Settings, run

    run(Settings(**options))


@main.command()
@click.argument("experiment_id")
@click.option("-k", type=POSITIVE, default=3, show_default=True, help="How many.")
@click.option("--out", type=FOLDER, default=Path(), help="Folder of the JSON files.")
def top(experiment_id: str, k: int, out: Path) -> None:
    """Show the best architectures of an experiment, and write each to a JSON file."""
    from nni_evanet.report.top import show_top

    show_top(experiment_id, k=k, out=out)


@main.command()
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


@main.command()
@click.argument("what", metavar="FILE_OR_EXPERIMENT_ID")
@click.option("--out", "-o", required=True, type=click.Path(dir_okay=False, path_type=Path))
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


@main.command("import-release")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--network", required=True, help="rgb1, rgb2 or a base64 DNA string.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
def import_release(checkpoint: Path, network: str, out: Path) -> None:
    """Turn a TensorFlow CHECKPOINT of the authors' release into a safetensors file."""
    from nni_evanet import release

    click.echo(str(release.import_release(checkpoint, network, out)))
