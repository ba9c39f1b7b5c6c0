"""The loss curve on disk: one row an iteration, never lost and never twice."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from nni_evanet.atomic import replacing
from nni_evanet.training.module import Training

COLUMNS = (
    "iteration",
    "loss",
    "accuracy",
    "learning_rate",
    "validation_loss",
    "validation_accuracy",
    "validation_map",
)


class CsvCurve(Logger):
    """Appends to a csv file with `COLUMNS`.

    Lightning's own csv logger starts anew when training is resumed.

    Args:
        path: of the file.
        first: iterations done when this training starts: later rows, of an attempt that was
            killed, are removed.
    """

    def __init__(self, path: Path, first: int) -> None:
        super().__init__()
        self._path, self._first = path, first

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing: they are in settings.json."""

    @rank_zero_only
    def start(self) -> None:
        """Keep what belongs to the training so far."""
        rows = [row for row in read_curve(self._path) if int(row["iteration"]) <= self._first]
        with replacing(self._path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write a row."""
        with open(self._path, "a", newline="") as file:
            row = {"iteration": step, **metrics}
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)


def read_curve(path: Path) -> list[dict[str, str]]:
    """The complete rows of a curve's file; none if there is no file."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        lines = [line for line in file if line.endswith("\n")]
    return [row for row in csv.DictReader(lines) if None not in row.values()]


class WriteCurve(pl.Callback):
    """Logs each iteration when its last micro-batch is done, before a checkpoint is written."""

    def __init__(self) -> None:
        self._logged = 0
        self._learning_rate = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._logged = trainer.global_step
        for logger in trainer.loggers:
            if isinstance(logger, CsvCurve):
                logger.start()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # At the batch's end it is the next iteration's already.
        self._learning_rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.global_step == self._logged:
            return
        self._logged = trainer.global_step
        assert isinstance(pl_module, Training)
        values = pl_module.read_iteration()
        pl_module.log_dict(values, prog_bar=True, logger=False)
        for logger in trainer.loggers:
            row = values | {"learning_rate": self._learning_rate}
            logger.log_metrics(row, trainer.global_step)
