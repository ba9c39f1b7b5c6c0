"""Checkpoints that survive a kill: whole or not there, the last two kept, the newest good one used.

They hold tensors and plain values alone, so that they are read without unpickling anything else.
"""

from __future__ import annotations

import logging
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities import rank_zero_only

from nni_evanet.atomic import replacing
from nni_evanet.errors import InputError

KEPT = 2
_PATTERN = "iteration_*.ckpt"
_UNREADABLE = (
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
)

_logger = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the file and renames. Lightning writes in /tmp first: often another disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())


class SaveCheckpoints(Checkpoint):
    """Saves every so many iterations, but not after the last one, and keeps `KEPT` of them.

    Lightning calls callbacks of this type after all others, when the state is complete.
    """

    def __init__(self, folder: Path, *, every: int, iterations: int) -> None:
        self._folder, self._every, self._iterations = folder, every, iterations
        self._saved = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        done = trainer.global_step
        if done == self._saved or done % self._every or done == self._iterations:
            return
        self._saved = done
        trainer.save_checkpoint(self._folder / f"iteration_{done:08d}.ckpt")
        self._remove_old(done)

    @rank_zero_only
    def _remove_old(self, done: int) -> None:
        paths = _checkpoints(self._folder)
        # What is newer was unusable: training would have gone on from there.
        kept = [path for path in paths if _iteration(path) <= done][-KEPT:]
        for path in set(paths) - set(kept):
            path.unlink()


def find_checkpoint(folder: Path) -> tuple[Path | None, int]:
    """The newest checkpoint that can be read, and its iterations; None and 0 if there is none.

    Raises:
        InputError: there are checkpoints, and none can be read.
    """
    paths = _checkpoints(folder)
    for path in reversed(paths):
        if reason := _defect(path):
            _logger.warning("checkpoint %s: unusable, trying an older one: %s", path, reason)
        else:
            return path, _iteration(path)
    if paths:
        raise InputError(
            f"{folder}: no checkpoint can be read; remove the folder to train from the start"
        )
    return None, 0


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob(_PATTERN))


def _iteration(path: Path) -> int:
    return int(path.stem.removeprefix("iteration_"))


def _defect(path: Path) -> str | None:
    """Why a checkpoint cannot be used, in one line."""
    try:
        with zipfile.ZipFile(path) as parts:  # which PyTorch reads without looking at the checksums
            if part := parts.testzip():
                return f"{part} is damaged"
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        return " ".join(str(error).split())[:200]
    if not isinstance(content, Mapping) or content.get("global_step") != _iteration(path):
        return "not a checkpoint of this iteration"
    return None
