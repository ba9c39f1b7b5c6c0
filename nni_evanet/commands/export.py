"""The command that exports a trained network."""

from __future__ import annotations

from pathlib import Path

import click

from nni_evanet.commands.options import FILE, NEW_FILE


@click.command()
@click.argument("network", type=FILE)
@click.option("--out", "-o", required=True, type=NEW_FILE, help="Ends in .pt2 or .onnx.")
def export(network: Path, out: Path) -> None:
    """Write a trained NETWORK for torch.export or ONNX, and compare it with the original."""
    from nni_evanet.networks.export import export_network

    difference = export_network(network, out)
    click.echo(f"{out}: the largest difference of a logit is {difference:.2g}")
