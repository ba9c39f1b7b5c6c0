"""Run a network on all views of many videos, on one device or on several."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nni_evanet.atomic import replacing
from nni_evanet.data.batches import EvaluationBatches
from nni_evanet.data.clips import ClipDataset, Geometry, Views
from nni_evanet.data.opening import opener
from nni_evanet.data.videos import Video
from nni_evanet.errors import InputError
from nni_evanet.networks.card import NetworkCard
from nni_evanet.networks.files import load_network
from nni_evanet.training.processes import Member, run_group

_KEY = "nni_evanet_part"
# Between two notes of what is done: what is lost, at most, when the process is killed.
SAVE_S = 30.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Work:
    """A network to run.

    Args:
        network: its file.
        videos: what to run it on.
        views: of each video.
        batch_size: clips that go through it at a time.
        workers: processes of each device that decode.
        decoder: one of `nni_evanet.data.source.DECODERS`.
        part: begins the names of the files that hold what is done, until all is; None for none.
        key: of what the scores are; a file of another one is not gone on with.
        title: of the progress bar; None for no bar.
    """

    network: Path
    videos: tuple[Video, ...]
    views: Views
    batch_size: int = 16
    workers: int = 0
    decoder: str = "auto"
    part: Path | None = None
    key: str = ""
    title: str | None = None


@dataclass
class Scored:
    """Scores so far: ``values[k]`` is those of the video ``indices[k]``."""

    indices: list[int] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    unreadable: dict[int, str] = field(default_factory=dict)


def score(work: Work) -> tuple[Tensor, Tensor, dict[int, str]]:
    """Run a network on all visible GPUs, or on the CPU.

    Returns:
        The indices (M,) of the videos that could be read, ascending; their probabilities
        (M, classes) float32, averaged over the views after the softmax or the sigmoid; and why the
        others could not be read.

    Raises:
        InputError: a file that is no network; scores that are not finite.
        DataError: too many videos are unreadable.
    """
    gpus = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return score_on(gpus or [torch.device("cpu")], work)


def score_on(devices: list[torch.device], work: Work) -> tuple[Tensor, Tensor, dict[int, str]]:
    """`score` on given devices, a process each; device r takes every len(devices)-th video."""
    shares: list[Scored] = run_group(_score_share, devices, work)
    found = sorted(
        ((i, v) for share in shares for i, v in zip(share.indices, share.values, strict=True)),
        key=lambda pair: pair[0],
    )
    unreadable = {i: why for share in shares for i, why in share.unreadable.items()}
    if not found:
        raise InputError(f"{work.network}: none of {len(work.videos)} videos can be read")
    for rank in range(len(devices)):
        if path := _part_file(work, rank, len(devices)):
            path.unlink(missing_ok=True)
    indices = torch.tensor([i for i, _ in found])
    return indices, torch.stack([v for _, v in found]), dict(sorted(unreadable.items()))


def _score_share(member: Member, work: Work) -> list[Scored]:
    """One process's share; that of rank 0 returns everybody's."""
    network = load_network(work.network).to(member.device)
    card: NetworkCard = network.card  # type: ignore[assignment]
    path = _part_file(work, member.rank, member.world)
    done = _read_part(path, work.key) if path else Scored()
    share = range(member.rank, len(work.videos), member.world)
    seen = {*done.indices, *done.unreadable}
    left = [index for index in share if index not in seen]
    if seen:
        _logger.info("%d of %d videos are done already", len(seen), len(share))
    title = work.title if member.rank == 0 else None
    saved = time.monotonic()
    with _progress(title, len(share), len(seen)) as advance:
        for scored in _run(network, card, left, work, member.device):
            done.indices += scored.indices
            done.values += scored.values
            done.unreadable |= scored.unreadable
            advance(len(scored.indices) + len(scored.unreadable))
            if path and time.monotonic() - saved >= SAVE_S:
                _write_part(path, work.key, done)
                saved = time.monotonic()
    return member.gather(done)


@torch.inference_mode()
def _run(
    network: nn.Module, card: NetworkCard, indices: list[int], work: Work, device: torch.device
) -> Iterator[Scored]:
    """Scores of some videos, batch by batch."""
    if not indices:
        return
    geometry = Geometry(frames=card.frames, size=card.size, fps=card.fps, margin=card.margin)
    dataset = ClipDataset(
        [work.videos[index] for index in indices],
        geometry,
        training=False,
        classes=card.num_classes if card.multi_label else None,
        views=work.views,
        open_source=opener(work.decoder),
    )
    batches = EvaluationBatches(
        dataset, batch_size=max(1, work.batch_size // len(work.views)), workers=work.workers
    )
    told: set[int] = set()
    for clips, _, read in batches:
        values = torch.cat(
            [
                probabilities(network, card, part.to(device, non_blocking=True)).cpu()
                for part in clips.split(work.batch_size)
            ]
        )
        if not values.isfinite().all():
            raise InputError(f"{work.network}: its scores are not finite numbers")
        failed = {k: why for k, why in dataset.reading.unreadable.items() if k not in told}
        told |= failed.keys()
        yield Scored(
            [indices[k] for k in read.tolist()],
            list(values.view(len(read), len(work.views), -1).mean(1)),
            {indices[k]: why for k, why in failed.items()},
        )
    # A last batch of which nothing can be read is not handed out.
    rest = {k: why for k, why in dataset.reading.unreadable.items() if k not in told}
    yield Scored(unreadable={indices[k]: why for k, why in rest.items()})


def probabilities(network: nn.Module, card: NetworkCard, clips: Tensor) -> Tensor:
    """Class probabilities (B, classes) float32 of clips (B, C, T, H, W) uint8.

    The forward pass is in bfloat16 on a GPU that has it, in float16 on others.
    """
    scale = card.normalisation
    with _autocast(clips.device):
        logits = network(clips.float().sub_(scale.mean).div_(scale.scale)).float()
    return logits.sigmoid() if card.multi_label else logits.softmax(1)


def _autocast(device: torch.device) -> AbstractContextManager[Any]:
    if device.type == "cpu":
        return nullcontext()
    return torch.autocast(
        "cuda", torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    )


class _progress:
    """A bar over videos, or nothing where there is no title; entered, it gives ``advance(n)``."""

    def __init__(self, title: str | None, total: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

        self._bar = Progress(
            *Progress.get_default_columns()[:2],
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=title is None,
        )
        self._task = self._bar.add_task(title or "", total=total, completed=done)

    def __enter__(self) -> Any:
        self._bar.start()
        return partial(self._bar.advance, self._task)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _part_file(work: Work, rank: int, world: int) -> Path | None:
    return work.part and work.part.with_name(f".{work.part.name}.{rank}of{world}.part")


def _write_part(path: Path, key: str, done: Scored) -> None:
    about = {"key": key, "indices": done.indices, "unreadable": done.unreadable}
    values = torch.stack(done.values) if done.values else torch.zeros(0, 1)
    with replacing(path) as temporary:
        save_file({"values": values}, temporary, {_KEY: json.dumps(about)})


def _read_part(path: Path, key: str) -> Scored:
    """What an interrupted run had done; nothing where that cannot be gone on with."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[_KEY])
            values = list(file.get_tensor("values"))
        if about["key"] == key and len(about["indices"]) == len(values):
            unreadable = {int(index): why for index, why in about["unreadable"].items()}
            return Scored(about["indices"], values, unreadable)
    except (OSError, SafetensorError, ValueError, KeyError):
        pass
    return Scored()
