"""Full training of one network, resumed where it was interrupted: what `nni-evanet train` runs."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

import nni_evanet
from nni_evanet.atomic import replacing
from nni_evanet.data import DataSource, Partition, VideoSet, split_validation
from nni_evanet.data.batches import EvaluationBatches, TrainBatches
from nni_evanet.data.clips import ClipDataset, Geometry
from nni_evanet.data.opening import opener
from nni_evanet.data.partition import PARTITION_SEED
from nni_evanet.data.source import frame_rate
from nni_evanet.errors import InputError
from nni_evanet.networks.blueprint import Blueprint
from nni_evanet.networks.card import NetworkCard
from nni_evanet.networks.cost import count_macs, count_parameters
from nni_evanet.networks.files import read_card, save_network
from nni_evanet.training.checkpoints import AtomicCheckpointIO, SaveCheckpoints, find_checkpoint
from nni_evanet.training.curve import CsvCurve, WriteCurve, read_curve
from nni_evanet.training.inflation import inflate_into
from nni_evanet.training.initialisation import (
    Initialisation,
    Source,
    choose_blueprint,
    initialise_from,
    read_source,
    zero_head_,
)
from nni_evanet.training.module import Optimisation, Training
from nni_evanet.training.recipe import GRADIENT_NORM
from nni_evanet.training.resumable import ResumableBatches

NETWORK = "network.safetensors"
SETTINGS = "settings.json"
CURVE = "curve.csv"
CHECKPOINTS = "checkpoints"
# Clips that batch norm sees at once, on each of the paper's GPUs.
PAPERS_MICRO_BATCH = 12

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of `nni-evanet train`.

    Args:
        data: what to train on; its test data are never read.
        out: folder of everything that is written. One that was interrupted is resumed.
        blueprint: the network; None for that of `init`.
        init: a network file whose weights to start from.
        init_2d: weights of a two-dimensional network to start from.
        stretch: the temporal size, in frames, of the iTGM layers of `init`.
        frames, size, fps: of a clip.
        dropout: probability in front of the classifier.
        optimisation: iterations, learning rate, ...
        batch_size: clips of an iteration, whatever the number of processes.
        micro_batch: clips of one process at a time; None for the largest that divides its share and
            is not above the paper's 12.
        ema: decay of an exponential moving average of the weights; None for none.
        validation_clips: held out of the training data, to watch the training by; may be 0.
        checkpoint_every: iterations from one checkpoint (and validation) to the next.
        max_unreadable: the largest share of unreadable videos that is tolerated.
        decoder: one of `nni_evanet.data.source.DECODERS`.
        devices: processes on each node, one GPU each; None for all visible GPUs, one on a CPU.
        num_nodes: machines, each of which runs this command.
    """

    data: DataSource
    out: Path
    blueprint: Blueprint | None
    init: Path | None = None
    init_2d: Path | None = None
    stretch: int | None = None
    frames: int = 64
    size: int = 224
    fps: float = 25.0
    dropout: float = 0.5
    optimisation: Optimisation
    batch_size: int = 144
    micro_batch: int | None = None
    ema: float | None = None
    validation_clips: int = 0
    checkpoint_every: int = 500
    max_unreadable: float = 0.05
    seed: int = 0
    decoder: str = "auto"
    workers: int = 4
    devices: int | None = None
    num_nodes: int = 1


@dataclass(frozen=True, kw_only=True)
class Division:
    """A batch over processes and steps: `processes * micro_batch * accumulation` clips."""

    devices: int
    num_nodes: int
    micro_batch: int
    accumulation: int

    @property
    def processes(self) -> int:
        """Of all nodes together."""
        return self.devices * self.num_nodes

    @property
    def step(self) -> int:
        """Clips that all processes see at a time."""
        return self.processes * self.micro_batch

    def __str__(self) -> str:
        return (
            f"effective batch {self.step * self.accumulation} = {self.processes} processes x "
            f"{self.micro_batch} clips x {self.accumulation} accumulated"
        )


def train(settings: Settings) -> Path:
    """Train a network, or go on with its training, and write its file.

    Returns:
        `network.safetensors` in the folder. If it is there already, nothing happens.

    Raises:
        InputError: unusable options, data or files; an option that is not that of the interrupted
            training in the folder; no checkpoint there can be read.
        Diverged: the loss is not finite.
    """
    source = read_source(settings.init) if settings.init else None
    blueprint = choose_blueprint(settings.blueprint, source, settings.stretch)
    division = divide_batch(settings)
    videos = settings.data.load("train")
    parts = _hold_out(videos, settings)
    _claim_folder(settings, _record(settings, blueprint, division, videos))
    result = settings.out / NETWORK
    if result.exists():
        read_card(result)
        _say(f"{result}: finished already")
        return result
    checkpoint, first = find_checkpoint(settings.out / CHECKPOINTS)
    network, initialisation = _build(settings, blueprint, source, videos)
    _say(f"{blueprint.describe()}, {count_parameters(network) / 1e6:.2f} M parameters")
    for line in initialisation.lines() if initialisation else ():
        _say(line)
    epochs = settings.optimisation.iterations * settings.batch_size / len(parts.training)
    _say(
        f"{division}; {settings.optimisation.iterations} iterations = {epochs:.1f} epochs of "
        f"{len(parts.training)} videos"
    )
    if checkpoint:
        _say(f"resumed after iteration {first}")
    module = Training(
        network, settings.optimisation, multi_label=videos.multi_label, seed=settings.seed
    )
    _fit(module, settings, division, videos, parts, checkpoint=checkpoint, first=first)
    card = _make_card(settings, blueprint, videos, module, initialisation)
    _save(result, network, card)
    return result


def divide_batch(settings: Settings) -> Division:
    """How the batch is divided among the processes.

    Raises:
        InputError: it cannot be.
    """
    devices = settings.devices or torch.cuda.device_count() or 1
    processes, batch = devices * settings.num_nodes, settings.batch_size
    if batch % processes:
        raise InputError(f"batch size {batch}: not a multiple of the {processes} processes")
    share = batch // processes
    micro = settings.micro_batch or max(
        n for n in range(1, min(share, PAPERS_MICRO_BATCH) + 1) if share % n == 0
    )
    if share % micro:
        raise InputError(
            f"micro-batch {micro}: {batch} clips are {share} a process, not a multiple of it"
        )
    return Division(
        devices=devices,
        num_nodes=settings.num_nodes,
        micro_batch=micro,
        accumulation=share // micro,
    )


def _hold_out(videos: VideoSet, settings: Settings) -> Partition:
    if settings.validation_clips == 0:
        return Partition(videos.videos, ())
    return split_validation(videos.videos, count=settings.validation_clips, seed=PARTITION_SEED)


def _record(
    settings: Settings, blueprint: Blueprint, division: Division, videos: VideoSet
) -> dict[str, Any]:
    """What makes the training what it is: the same for every attempt, stored with the result."""
    listed = [(videos.relative(video), video.labels) for video in videos.videos]
    return {
        "network": blueprint.to_json(),
        "init": settings.init and str(settings.init),
        "init_2d": settings.init_2d and str(settings.init_2d),
        "dataset": videos.name,
        "split": settings.data.split,
        "modality": videos.modality,
        "videos": len(videos.videos),
        "data_fingerprint": hashlib.sha256(repr(listed).encode()).hexdigest()[:16],
        "frames": settings.frames,
        "size": settings.size,
        "fps": settings.fps,
        "dropout": settings.dropout,
        **asdict(settings.optimisation),
        "batch_size": settings.batch_size,
        "micro_batch": division.micro_batch,
        "processes": division.processes,
        "ema": settings.ema,
        "validation_clips": settings.validation_clips,
        "checkpoint_every": settings.checkpoint_every,
        "seed": settings.seed,
    }


def _claim_folder(settings: Settings, record: dict[str, Any]) -> None:
    """Note the settings in a new folder, or compare them with those of the training there.

    Raises:
        InputError: they differ.
    """
    path = settings.out / SETTINGS
    if not path.exists():
        if (settings.out / NETWORK).exists() or (settings.out / CHECKPOINTS).exists():
            raise InputError(f"{path}: missing, though there are results of a training")
        _write_settings(path, record)
        return
    try:
        found = json.loads(path.read_text())
        changed = [name for name, value in record.items() if found[name] != value]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not the settings of a training") from None
    if changed:
        details = ", ".join(f"{n} was {_short(found[n])}, is {_short(record[n])}" for n in changed)
        raise InputError(f"{settings.out}: holds a training with other settings: {details}")


@rank_zero_only
def _write_settings(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else "another one"


def _build(
    settings: Settings, blueprint: Blueprint, source: Source | None, videos: VideoSet
) -> tuple[nn.Module, Initialisation | None]:
    torch.manual_seed(settings.seed)
    network = blueprint.build(
        num_classes=len(videos.classes), in_channels=videos.channels, dropout=settings.dropout
    )
    zero_head_(network, blueprint)
    if source:
        return network, initialise_from(network, blueprint, source, videos.classes)
    if settings.init_2d:
        return network, inflate_into(network, blueprint, settings.init_2d)
    return network, None


def _fit(
    module: Training,
    settings: Settings,
    division: Division,
    videos: VideoSet,
    parts: Partition,
    *,
    checkpoint: Path | None,
    first: int,
) -> None:
    trainer = _make_trainer(settings, division, watched=bool(parts.validation), first=first)
    training = ResumableBatches(
        partial(_micro_batches, trainer, settings, division, videos, parts),
        length=settings.optimisation.iterations * division.accumulation,
    )
    validation = _Validation(trainer, settings, division, videos, parts) if parts.validation else ()
    trainer.fit(
        module,
        training,
        validation or None,
        ckpt_path=checkpoint,
        weights_only=True,
    )
    if validation and module.validated_at != trainer.global_step:
        trainer.validate(module, validation, verbose=False)


def _make_trainer(
    settings: Settings, division: Division, *, watched: bool, first: int
) -> pl.Trainer:
    # Lightning's log repeats what is said here, and these warnings are not the user's concern.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
    warnings.filterwarnings("ignore", message="You defined a `validation_step` but have no")
    iterations, every = settings.optimisation.iterations, settings.checkpoint_every
    callbacks: list[pl.Callback] = [
        WriteCurve(),
        SaveCheckpoints(settings.out / CHECKPOINTS, every=every, iterations=iterations),
        Progress(),
    ]
    if settings.ema is not None:
        callbacks.insert(0, EMAWeightAveraging(decay=settings.ema))
    board = TensorBoardLogger(
        settings.out, name="", version="tensorboard", purge_step=first + 1 if first else None
    )
    return pl.Trainer(
        accelerator="gpu" if torch.cuda.is_available() else "cpu",
        devices=division.devices,
        num_nodes=division.num_nodes,
        strategy="ddp" if division.processes > 1 else "auto",
        precision=_precision(),  # type: ignore[arg-type]
        max_epochs=1,
        accumulate_grad_batches=division.accumulation,
        gradient_clip_val=GRADIENT_NORM,
        check_val_every_n_epoch=None,
        val_check_interval=every * division.accumulation if watched else None,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        use_distributed_sampler=False,
        logger=[CsvCurve(settings.out / CURVE, first), board],
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        enable_model_summary=False,
        default_root_dir=settings.out,
    )


class Progress(RichProgressBar):
    """Lightning's, where the one epoch is the whole training."""

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training"

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Without the loggers' version, which says nothing here."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


def _precision() -> str:
    """bfloat16 on a GPU that has it, else float16 with scaled gradients; float32 on a CPU."""
    if not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(False) else "16-mixed"


def _clips(
    videos: VideoSet, parts: Partition, settings: Settings, *, training: bool
) -> ClipDataset:
    geometry = Geometry.of(videos, frames=settings.frames, size=settings.size, fps=settings.fps)
    return ClipDataset(
        parts.training if training else parts.validation,
        geometry,
        training=training,
        classes=len(videos.classes) if videos.multi_label else None,
        seed=settings.seed,
        open_source=opener(settings.decoder),
        max_unreadable=settings.max_unreadable,
    )


def _micro_batches(
    trainer: pl.Trainer,
    settings: Settings,
    division: Division,
    videos: VideoSet,
    parts: Partition,
    first: int,
) -> TrainBatches:
    """This process's micro-batches from a number on: those of an iteration are consecutive."""
    return TrainBatches(
        _clips(videos, parts, settings, training=True),
        batch_size=division.step,
        iterations=settings.optimisation.iterations * division.accumulation,
        first=first,
        workers=settings.workers,
        rank=trainer.global_rank,
        world=trainer.world_size,
    )


class _Validation:
    """This process's batches of the validation part; its rank is known once training starts."""

    def __init__(
        self,
        trainer: pl.Trainer,
        settings: Settings,
        division: Division,
        videos: VideoSet,
        parts: Partition,
    ) -> None:
        self._trainer = trainer
        self._clips = _clips(videos, parts, settings, training=False)
        self._batch_size, self._workers = division.micro_batch, settings.workers

    def __len__(self) -> int:
        return len(self._batches())

    def __iter__(self) -> Any:
        return iter(self._batches())

    def _batches(self) -> EvaluationBatches:
        return EvaluationBatches(
            self._clips,
            batch_size=self._batch_size,
            workers=self._workers,
            rank=self._trainer.global_rank,
            world=self._trainer.world_size,
        )


def _make_card(
    settings: Settings,
    blueprint: Blueprint,
    videos: VideoSet,
    module: Training,
    initialisation: Initialisation | None,
) -> NetworkCard:
    clip = (videos.channels, settings.frames, settings.size, settings.size)
    metrics = _last_metrics(settings.out / CURVE) | module.validation
    metrics |= {"params": count_parameters(module.network)}
    metrics |= {"gmacs": count_macs(module.network, clip) / 1e9}
    versions = {"nni_evanet": nni_evanet.__version__, "torch": torch.__version__}
    return NetworkCard(
        blueprint=blueprint,
        classes=videos.classes,
        modality=videos.modality,
        frames=settings.frames,
        size=settings.size,
        fps=frame_rate(settings.fps),
        margin=videos.margin,
        multi_label=videos.multi_label,
        dropout=settings.dropout,
        dataset=videos.name,
        metrics=metrics,
        provenance={
            "settings": json.loads((settings.out / SETTINGS).read_text()),
            "initialisation": initialisation and initialisation.to_json(),
            "versions": versions | {"pytorch_lightning": pl.__version__},
        },
    )


def _last_metrics(curve: Path) -> dict[str, float]:
    """Means of the training's loss and accuracy over its last tenth."""
    rows = [row for row in read_curve(curve) if row["loss"]]
    last = rows[-max(1, len(rows) // 10) :]
    names = [name for name in ("loss", "accuracy") if last[0][name]]
    return {f"training_{name}": fmean(float(row[name]) for row in last) for name in names}


@rank_zero_only
def _save(path: Path, network: nn.Module, card: NetworkCard) -> None:
    save_network(path, network, card)
    _say(f"{path}: written")


@rank_zero_only
def _say(text: str) -> None:
    _logger.info("%s", text)
