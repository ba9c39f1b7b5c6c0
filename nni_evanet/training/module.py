"""What Lightning trains: a network, its loss and its optimizer."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric

from nni_evanet.data.batches import normalise
from nni_evanet.errors import Diverged, InputError
from nni_evanet.evaluation.metrics import main_metric
from nni_evanet.training.recipe import loss_of, make_optimizer

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How the weights are found.

    Args:
        iterations: optimizer steps.
        learning_rate: the highest, reached after the warm-up.
        weight_decay: of AdamW.
        schedule: a name in `nni_evanet.training.recipe.SCHEDULES`.
        label_smoothing: share of the target that all classes divide among them; single-label only.
    """

    iterations: int
    learning_rate: float
    weight_decay: float = 0.02
    schedule: str = "cosine"
    label_smoothing: float = 0.0


class Training(pl.LightningModule):
    """Trains a network on micro-batches (clips (B, C, T, H, W) uint8, targets).

    Targets are (B,) int64, or (B, classes) float32 where a clip may have several classes. Random
    numbers (dropout) are a function of the seed, the micro-batch and the rank, so that training
    that is resumed draws the same ones.

    Attributes:
        validation: the last validation's `validation_loss` and `validation_accuracy` or, of
            multi-label data, `validation_map`.
        validated_at: the iteration after which that was.
    """

    def __init__(
        self, network: nn.Module, optimisation: Optimisation, *, multi_label: bool, seed: int
    ) -> None:
        super().__init__()
        if multi_label and optimisation.label_smoothing:
            raise InputError("label smoothing: for single-label data only")
        self.network = network
        self.optimisation = optimisation
        self.multi_label = multi_label
        self.seed = seed
        # Over the micro-batches and the processes of one iteration. A loss that is not a number is
        # not to be left out of the mean, as it would be by default.
        self.loss = MeanMetric(nan_strategy="disable")
        self.accuracy = MeanMetric()
        self.validation: dict[str, float] = {}
        self.validated_at = -1
        self._seen: list[Batch] = []

    def configure_optimizers(self) -> Any:
        plan = self.optimisation
        optimizer, schedule = make_optimizer(
            self.network,
            learning_rate=plan.learning_rate,
            iterations=plan.iterations,
            weight_decay=plan.weight_decay,
            schedule=plan.schedule,
            fused=self.trainer.precision != "16-mixed",
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed what this micro-batch draws."""
        place = f"{self.seed}/{batch_idx}/{self.global_rank}"
        torch.manual_seed(random.Random(place).getrandbits(63))

    def training_step(self, batch: Batch, batch_idx: int = 0) -> Tensor:
        """The mean loss of a micro-batch."""
        clips, targets = batch
        logits = self.network(normalise(clips))
        loss = self._loss(logits, targets)
        self.loss.update(loss.detach())
        if not self.multi_label:
            self.accuracy.update((logits.detach().argmax(1) == targets).float())
        return loss

    def read_iteration(self) -> dict[str, float]:
        """Loss and, of single-label data, accuracy of the iteration; then forget them.

        Raises:
            Diverged: the loss is not finite.
        """
        values = {"loss": self.loss.compute().item()}
        if not self.multi_label:
            values["accuracy"] = self.accuracy.compute().item()
        self.loss.reset()
        self.accuracy.reset()
        if not math.isfinite(values["loss"]):
            raise Diverged(f"the loss is {values['loss']} at iteration {self.global_step}")
        return values

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> None:
        """Keep the logits of a batch of centre clips."""
        clips, targets, _ = batch
        self._seen.append((self.network(normalise(clips)).float().cpu(), targets.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Put the logits of all processes together, and log the metrics."""
        logits, targets = (torch.cat(parts) for parts in zip(*self._gathered(), strict=True))
        self._seen = []
        name = "validation_map" if self.multi_label else "validation_accuracy"
        self.validation = {
            "validation_loss": loss_of(logits, targets).item(),
            name: main_metric(logits, targets),
        }
        self.validated_at = self.global_step
        for logger in self.loggers:
            logger.log_metrics(self.validation, self.global_step)

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        smoothing = self.optimisation.label_smoothing
        if smoothing:
            return F.cross_entropy(logits, targets, label_smoothing=smoothing)
        return loss_of(logits, targets)

    def _gathered(self) -> list[Batch]:
        world = self.trainer.world_size
        if world == 1:
            return self._seen
        parts: list[Any] = [None] * world
        torch.distributed.all_gather_object(parts, self._seen)
        return [batch for part in parts for batch in part]
