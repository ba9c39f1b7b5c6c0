"""`nni-evanet ...`: the command line, from the commands in `nni_evanet.commands`."""

from __future__ import annotations

import logging
from typing import Any

import click

from nni_evanet import __version__
from nni_evanet.commands import (
    caching,
    checking,
    data,
    ensemble,
    evaluate,
    export,
    flow,
    networks,
    predict,
    report,
    search,
    train,
)
from nni_evanet.errors import Diverged, InputError


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


for _command in (
    data.make_dataset,
    checking.check_data,
    flow.flow,
    caching.cache,
    search.export_space,
    search.trial,
    search.top,
    train.train,
    evaluate.evaluate,
    evaluate.combine,
    evaluate.average,
    ensemble.ensemble,
    predict.predict,
    report.report,
    networks.describe,
    networks.draw,
    networks.import_release,
    export.export,
):
    main.add_command(_command)
