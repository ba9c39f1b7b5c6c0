"""The command that tells a whole experiment on one page."""

from __future__ import annotations

from pathlib import Path

import click

from nni_evanet.commands.options import FILE, NEW_FILE


@click.command()
@click.argument("experiment", metavar="EXPERIMENT_ID_OR_FOLDER")
@click.option("--out", "-o", required=True, type=NEW_FILE, help="The HTML file.")
@click.option(
    "--results",
    type=FILE,
    multiple=True,
    help="Of trained networks and ensembles; may be given again.",
)
def report(experiment: str, out: Path, results: tuple[Path, ...]) -> None:
    """Write one HTML page about an experiment, running or finished."""
    from nni_evanet.report.html import write_report

    write_report(experiment, out, results=results)
    click.echo(out)
