"""One trial: train an architecture for a few iterations and report its fitness.

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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nni_evanet.architecture import Architecture, read_architecture
from nni_evanet.compat import folder_of_own_experiment, receive_parameters
from nni_evanet.data import DataSource, Partition, Video, VideoSet, read_partition, write_partition
from nni_evanet.data.batches import EvaluationBatches, TrainBatches, normalise
from nni_evanet.data.cache import ClipCache, Origin
from nni_evanet.data.cache_making import AUTOMATIC_LIMIT, make_cache
from nni_evanet.data.clips import ClipDataset, Geometry
from nni_evanet.data.opening import opener
from nni_evanet.data.partition import search_parts
from nni_evanet.data.source import FrameSource
from nni_evanet.errors import Diverged, InputError
from nni_evanet.evaluation.metrics import main_metric
from nni_evanet.gpus import claim_gpus, visible_gpus
from nni_evanet.networks import build_network
from nni_evanet.networks.cost import count_macs, count_parameters
from nni_evanet.training.processes import Member, run_group
from nni_evanet.training.recipe import (
    GRADIENT_NORM,
    loss_of,
    make_optimizer,
    zero_classifier_,
)

REPORTS = 10
# In the experiment's folder.
PARTITION_FILE = "validation.json"

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
    training_clips: int | None
    validation_clips: int
    max_unreadable: float
    seed: int
    cache: Path | None
    decoder: str
    workers: int
    threads: int | None
    gpus: int | None


def run(settings: Settings) -> dict[str, Any]:
    """Take an architecture from NNI or from a file, train it, evaluate it, report the result.

    Returns:
        The final report: `default` (the accuracy, or the mAP of multi-label data), loss,
        fingerprint, params, gmacs, clips a second in training, peak memory, seconds, unreadable
        videos.

    Raises:
        InputError: unusable options, data or architecture.
        Diverged: the loss stopped being finite; NNI counts the trial as failed.
    """
    started = time.monotonic()
    architecture = _read_architecture(settings)
    reporter = Reporter(to_nni=settings.architecture is None)
    _logger.info("architecture %s", architecture.fingerprint)
    videos = settings.data.load("train")
    parts = _divide(videos, settings)
    _fill_cache(videos, parts, settings)
    devices = _claim_devices(settings)
    _logger.info("training on %d videos, %s", len(parts.training), ", ".join(map(str, devices)))
    result = run_group(train_and_evaluate, devices, architecture, videos, parts, settings, reporter)
    result["seconds"] = time.monotonic() - started
    reporter.final(result)
    return result


def train_and_evaluate(
    member: Member,
    architecture: Architecture,
    videos: VideoSet,
    parts: Partition,
    settings: Settings,
    reporter: Reporter,
) -> dict[str, Any]:
    """One process's part of a trial; what it returns on rank 0 is the final report."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    training, validation = _make_datasets(videos, parts, settings)
    torch.manual_seed(settings.seed)
    network = build_network(
        architecture,
        num_classes=len(videos.classes),
        in_channels=videos.channels,
        width=settings.width,
        dropout=settings.dropout,
    ).to(member.device)
    zero_classifier_(network)
    speed = train(network, training, settings, member, reporter)
    fitness, loss = evaluate(network, validation, settings, member)
    clip = (videos.channels, settings.frames, settings.size, settings.size)
    unreadable = member.gather(training.unreadable | validation.unreadable)
    return {
        "default": fitness,
        "loss": loss,
        "fingerprint": architecture.fingerprint,
        "params": count_parameters(network),
        "gmacs": count_macs(network, clip) / 1e9,
        "clips_per_second": speed,
        "peak_memory_mib": _peak_memory_mib(member.device),
        "unreadable_videos": len(set().union(*unreadable)),
    }


def train(
    network: nn.Module,
    dataset: ClipDataset,
    settings: Settings,
    member: Member,
    reporter: Reporter,
) -> float:
    """Train for the set iterations; report the training accuracy ten times on the way.

    A batch goes through the network in micro-batches whose gradients add up. Batch normalisation
    sees one at a time, as it saw the 12 of 144 clips of one GPU in the paper.

    Returns:
        Clips a second of all processes together, loading included.

    Raises:
        Diverged: the loss is not finite.
    """
    autocast, scaler = _precision(member.device)
    optimizer, schedule = make_optimizer(
        network, learning_rate=settings.learning_rate, iterations=settings.iterations
    )
    batches = TrainBatches(
        dataset,
        batch_size=settings.batch_size,
        iterations=settings.iterations,
        workers=settings.workers,
        rank=member.rank,
        world=member.world,
    )
    reports = {round(settings.iterations * n / REPORTS) for n in range(1, REPORTS + 1)}
    network.train()
    trained = member.wrap(network)
    recent = Scores()
    started = time.monotonic()
    for iteration, (clips, targets) in enumerate(batches, 1):
        for part, part_targets, last in _micro_batches(clips, targets, settings, member.device):
            with member.accumulating(trained, last):
                with autocast:
                    logits = trained(normalise(part))
                    loss = loss_of(logits, part_targets)
                scaler.scale(loss * len(part) / len(clips)).backward()
            recent.add(logits, part_targets, loss)
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if iteration in reports:
            metric, mean_loss = recent.read()
            if not math.isfinite(mean_loss):
                raise Diverged(f"the training loss is {mean_loss} at iteration {iteration}")
            if member.rank == 0:
                reporter.intermediate({"default": metric, "loss": mean_loss})
            recent = Scores()
    return settings.iterations * settings.batch_size / (time.monotonic() - started)


@torch.inference_mode()
def evaluate(
    network: nn.Module, dataset: ClipDataset, settings: Settings, member: Member
) -> tuple[float, float]:
    """Metric and mean loss on one centre clip of each video; meaningful on rank 0.

    Raises:
        Diverged: the loss is not finite.
    """
    autocast, _ = _precision(member.device)
    member.share_buffers(network)
    network.eval()
    scores = Scores()
    batches = EvaluationBatches(
        dataset,
        batch_size=settings.micro_batch or settings.batch_size,
        workers=settings.workers,
        rank=member.rank,
        world=member.world,
    )
    for clips, targets, _ in batches:
        for part, part_targets, _ in _micro_batches(clips, targets, settings, member.device):
            with autocast:
                logits = network(normalise(part))
                scores.add(logits, part_targets, loss_of(logits, part_targets))
    gathered = member.gather(scores.cpu())
    if not gathered:
        return math.nan, math.nan
    metric, loss = Scores.joined(gathered).read()
    if not math.isfinite(loss):
        raise Diverged(f"the validation loss is {loss}")
    return metric, loss


class Scores:
    """Logits, targets and losses of clips, kept on their device: only reading waits for it."""

    def __init__(self) -> None:
        self._logits: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._losses: list[Tensor] = []

    @classmethod
    def joined(cls, parts: list[Scores]) -> Scores:
        """The scores of all parts."""
        whole = cls()
        for part in parts:
            whole._logits += part._logits
            whole._targets += part._targets
            whole._losses += part._losses
        return whole

    def cpu(self) -> Scores:
        """The same in the host's memory."""
        here = Scores()
        here._logits = [tensor.cpu() for tensor in self._logits]
        here._targets = [tensor.cpu() for tensor in self._targets]
        here._losses = [tensor.cpu() for tensor in self._losses]
        return here

    def add(self, logits: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Take in (B, classes) logits, their targets and their mean loss."""
        self._logits.append(logits.detach().float())
        self._targets.append(targets)
        self._losses.append(loss.detach().float() * len(logits))

    def read(self) -> tuple[float, float]:
        """The metric and the mean loss of what was added."""
        targets = torch.cat(self._targets)
        loss = torch.stack(self._losses).sum().item() / len(targets)
        if not math.isfinite(loss):
            return math.nan, loss
        return main_metric(torch.cat(self._logits), targets), loss


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
    return Architecture.from_sample(receive_parameters(), settings.meta)


def _divide(videos: VideoSet, settings: Settings) -> Partition:
    """The videos to train on and those held out, saved by the experiment's first trial."""
    experiment = folder_of_own_experiment()
    file = experiment / PARTITION_FILE if experiment else None
    if file and file.exists():
        return read_partition(file, videos.videos, root=videos.root)
    parts = search_parts(
        videos.videos,
        training_clips=settings.training_clips,
        validation_clips=settings.validation_clips,
    )
    if file:
        write_partition(file, parts, root=videos.root)
    return parts


def _fill_cache(videos: VideoSet, parts: Partition, settings: Settings) -> None:
    """Where the cache is not there yet, the first trial makes it; the others wait for it."""
    if settings.cache is not None:
        make_cache(
            settings.cache,
            Origin.of(videos, _geometry(videos, settings)),
            parts.training + parts.validation,
            root=videos.root,
            open_source=opener(settings.decoder),
            workers=settings.workers,
            limit=AUTOMATIC_LIMIT,
        )


def _claim_devices(settings: Settings) -> list[torch.device]:
    """The devices to train on, one process each; no other GPU is visible afterwards."""
    if settings.gpus is not None:
        claimed = claim_gpus(visible_gpus(), settings.gpus)
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(claimed)
        return [torch.device("cuda", index) for index in range(settings.gpus)]
    return [torch.device("cuda" if torch.cuda.is_available() else "cpu")]


def _make_datasets(
    videos: VideoSet, parts: Partition, settings: Settings
) -> tuple[ClipDataset, ClipDataset]:
    """The training part and the validation part."""
    geometry = _geometry(videos, settings)
    open_source: Callable[[Video], FrameSource] = opener(settings.decoder)
    if settings.cache is not None:
        origin, both = Origin.of(videos, geometry), parts.training + parts.validation
        open_source = ClipCache(settings.cache, origin, both, root=videos.root).open
    make = partial(
        ClipDataset,
        geometry=geometry,
        classes=len(videos.classes) if videos.multi_label else None,
        seed=settings.seed,
        open_source=open_source,
        max_unreadable=settings.max_unreadable,
    )
    return make(parts.training, training=True), make(parts.validation, training=False)


def _geometry(videos: VideoSet, settings: Settings) -> Geometry:
    return Geometry.of(videos, frames=settings.frames, size=settings.size, fps=settings.fps)


def _micro_batches(
    clips: Tensor, targets: Tensor, settings: Settings, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Parts of a batch on the device, each with its targets and whether it is the last."""
    size = settings.micro_batch or settings.batch_size
    parts = list(zip(clips.split(size), targets.split(size), strict=True))
    for number, (part, part_targets) in enumerate(parts, 1):
        yield (
            part.to(device, non_blocking=True),
            part_targets.to(device, non_blocking=True),
            number == len(parts),
        )


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
