"""One trial: train an architecture for a few iterations and report its accuracy.

A search starts thousands of these processes, so this file imports neither Lightning nor nni.nas,
and NNI only where NNI is the caller.
"""

from __future__ import annotations

import json
import logging
import math
import os
import resource
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nni_evanet.architecture import Architecture, read_architecture
from nni_evanet.data import DataSource, VideoSet, split_validation
from nni_evanet.data.batches import evaluation_batches, normalise, train_batches
from nni_evanet.data.clips import ClipDataset, Geometry
from nni_evanet.errors import Diverged, InputError
from nni_evanet.gpus import claim_gpu, visible_gpus
from nni_evanet.networks import build_network
from nni_evanet.networks.cost import count_macs, count_parameters
from nni_evanet.training.recipe import (
    GRADIENT_NORM,
    loss_of,
    make_optimizer,
    zero_classifier_,
)

REPORTS = 10
# Whatever a trial's seed, all trials of all searches hold out the same validation videos.
PARTITION_SEED = 0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of `nni-evanet trial`."""

    data: DataSource
    architecture: Path | None
    meta: str
    frames: int
    size: int
    fps: float
    iterations: int
    batch_size: int
    micro_batch: int | None
    learning_rate: float
    width: int
    dropout: float
    validation_clips: int
    seed: int
    workers: int
    threads: int | None
    gpus: int | None


def run(settings: Settings) -> dict[str, Any]:
    """Take an architecture from NNI or from a file, train it, evaluate it, report the result.

    Returns:
        The final report: `default` (the accuracy), loss, fingerprint, params, gmacs, clips a
        second in training, peak memory, seconds, unreadable videos.

    Raises:
        InputError: unusable options, data or architecture.
        Diverged: the loss stopped being finite; NNI counts the trial as failed.
    """
    started = time.monotonic()
    architecture = _read_architecture(settings)
    reporter = Reporter(to_nni=settings.architecture is None)
    _logger.info("architecture %s", architecture.fingerprint)
    videos = settings.data.load("train")
    device = _prepare_device(settings)
    training, validation = _make_datasets(videos, settings)

    torch.manual_seed(settings.seed)
    network = build_network(
        architecture,
        num_classes=len(videos.classes),
        width=settings.width,
        dropout=settings.dropout,
    ).to(device)
    zero_classifier_(network)
    _logger.info("training on %d videos, %s", len(training), device)
    speed = train(network, training, settings, reporter)
    accuracy, loss = evaluate(network, validation, settings)
    if not math.isfinite(loss):
        raise Diverged(f"the validation loss is {loss}")

    result = {
        "default": accuracy,
        "loss": loss,
        "fingerprint": architecture.fingerprint,
        "params": count_parameters(network),
        "gmacs": count_macs(network, (3, settings.frames, settings.size, settings.size)) / 1e9,
        "clips_per_second": speed,
        "peak_memory_mib": _peak_memory_mib(device),
        "seconds": time.monotonic() - started,
        "unreadable_videos": len(training.unreadable | validation.unreadable),
    }
    reporter.final(result)
    return result


def train(
    network: nn.Module, dataset: ClipDataset, settings: Settings, reporter: Reporter
) -> float:
    """Train for the set iterations; report the training accuracy ten times on the way.

    A batch goes through the network in micro-batches whose gradients add up. Batch normalisation
    sees one at a time, as it saw the 12 of 144 clips of one GPU in the paper.

    Returns:
        Clips a second, loading included.

    Raises:
        Diverged: the loss is not finite.
    """
    device = next(network.parameters()).device
    autocast, scaler = _precision(device)
    optimizer, schedule = make_optimizer(
        network, learning_rate=settings.learning_rate, iterations=settings.iterations
    )
    batches = train_batches(
        dataset,
        batch_size=settings.batch_size,
        iterations=settings.iterations,
        workers=settings.workers,
    )
    reports = {round(settings.iterations * n / REPORTS) for n in range(1, REPORTS + 1)}
    network.train()
    recent = Mean(device)
    started = time.monotonic()
    for iteration, (clips, labels) in enumerate(batches, 1):
        for part, part_labels in _to_device(clips, labels, settings, device):
            with autocast:
                logits = network(normalise(part))
                loss = loss_of(logits, part_labels)
            scaler.scale(loss * len(part) / len(clips)).backward()
            recent.add(logits, part_labels, loss)
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if iteration in reports:
            accuracy, mean_loss = recent.read()
            if not math.isfinite(mean_loss):
                raise Diverged(f"the training loss is {mean_loss} at iteration {iteration}")
            reporter.intermediate({"default": accuracy, "loss": mean_loss})
            recent = Mean(device)
    return settings.iterations * settings.batch_size / (time.monotonic() - started)


@torch.inference_mode()
def evaluate(network: nn.Module, dataset: ClipDataset, settings: Settings) -> tuple[float, float]:
    """Accuracy and mean loss on one centre clip of each video."""
    device = next(network.parameters()).device
    autocast, _ = _precision(device)
    network.eval()
    mean = Mean(device)
    batches = evaluation_batches(
        dataset, batch_size=settings.micro_batch or settings.batch_size, workers=settings.workers
    )
    for clips, labels in batches:
        for part, part_labels in _to_device(clips, labels, settings, device):
            with autocast:
                logits = network(normalise(part))
                mean.add(logits, part_labels, loss_of(logits, part_labels))
    return mean.read()


class Mean:
    """Running accuracy and loss over clips, summed on the device: reading waits for it."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(3, device=device)

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Take in (B, classes) logits, (B,) labels and their mean loss."""
        correct = (logits.detach().argmax(1) == labels).sum()
        self._sums += torch.stack(
            [correct, loss.detach() * len(labels), torch.ones_like(correct) * len(labels)]
        )

    def read(self) -> tuple[float, float]:
        """The accuracy and the mean loss of what was added."""
        correct, loss, count = self._sums.tolist()
        return correct / count, loss / count


class Reporter:
    """Where results go: to NNI, or for a trial that a person runs, to the log and stdout."""

    def __init__(self, *, to_nni: bool) -> None:
        self._to_nni = to_nni

    def intermediate(self, metrics: dict[str, float]) -> None:
        """Report the training so far."""
        _logger.info("training accuracy %.3f, loss %.3f", metrics["default"], metrics["loss"])
        if self._to_nni:
            import nni

            nni.report_intermediate_result(metrics)

    def final(self, metrics: dict[str, Any]) -> None:
        """Report the evaluation."""
        if self._to_nni:
            import nni

            nni.report_final_result(metrics)
        print(json.dumps(metrics))


def _read_architecture(settings: Settings) -> Architecture:
    if settings.architecture is not None:
        return read_architecture(settings.architecture)
    if "NNI_TRIAL_JOB_ID" not in os.environ:
        raise InputError("no architecture: give --architecture FILE, or start it with nnictl")
    from nni_evanet.compat import receive_parameters

    return Architecture.from_sample(receive_parameters(), settings.meta)


def _prepare_device(settings: Settings) -> torch.device:
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    if settings.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = claim_gpu(visible_gpus())
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _make_datasets(videos: VideoSet, settings: Settings) -> tuple[ClipDataset, ClipDataset]:
    """The training part and the validation part, in memory where both are small enough."""
    parts = split_validation(videos.videos, count=settings.validation_clips, seed=PARTITION_SEED)
    geometry = Geometry(
        frames=settings.frames,
        size=settings.size,
        fps=Fraction(settings.fps).limit_denominator(1001),
        margin=videos.margin,
        flip=videos.flip,
    )
    training = ClipDataset(parts.training, geometry, training=True, seed=settings.seed)
    validation = ClipDataset(parts.validation, geometry, training=False)
    if training.fits_in_memory():
        training.load()
        validation.load()
    return training, validation


def _to_device(
    clips: Tensor, labels: Tensor, settings: Settings, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    size = settings.micro_batch or settings.batch_size
    for part, part_labels in zip(clips.split(size), labels.split(size), strict=True):
        yield part.to(device, non_blocking=True), part_labels.to(device, non_blocking=True)


def _precision(device: torch.device) -> tuple[AbstractContextManager[Any], torch.amp.GradScaler]:
    """Autocast and gradient scaling: bf16 on a GPU that has it, else fp16; float32 on the CPU."""
    if device.type == "cpu":
        return nullcontext(), torch.amp.GradScaler("cpu", enabled=False)
    dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    scaler = torch.amp.GradScaler("cuda", enabled=dtype is torch.float16)
    return torch.autocast("cuda", dtype), scaler


def _peak_memory_mib(device: torch.device) -> float:
    """Of the GPU's allocations, or of the whole process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
