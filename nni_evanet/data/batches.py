"""Batches for training loops: they leave here as uint8, scaled on the device."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from nni_evanet.data.clips import ClipDataset, Sample
from nni_evanet.data.videos import DataError

Key = int | tuple[int, int]


class TrainBatches:
    """Random batches, each a function of the dataset's seed and of the iteration alone.

    Every video is drawn once before any is drawn again; batches are always full. Neither the
    number of workers nor that of the ranks changes what is drawn, and training that goes on at
    iteration k, ``first=k``, sees what it would have seen.

    Iterating yields clips (B / world, C, T, H, W) uint8 in channels-last memory, and targets,
    (B / world,) int64 or (B / world, classes) float32; in pinned memory where there is CUDA. It
    raises `DataError` where too many files are unreadable.

    Args:
        dataset: made for training.
        batch_size: B, clips a batch of all ranks together.
        iterations: batches of the whole training.
        first: iterations that have been done.
        workers: processes that decode; they end with this one.
        rank: of this process among those that train together.
        world: number of these.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        *,
        batch_size: int,
        iterations: int,
        first: int = 0,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size % world:
            raise DataError(f"batch size {batch_size}: not a multiple of {world} processes")
        self._dataset, self._workers = dataset, workers
        self._batch_size, self._iterations, self._first = batch_size, iterations, first
        self._rank, self._world = rank, world

    def __len__(self) -> int:
        return self._iterations - self._first

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for samples in _load(self._dataset, self._draws(), self._workers):
            if found := _stack(samples):
                yield found

    def _draws(self) -> Iterator[list[Key]]:
        share = self._batch_size // self._world
        order = _Order(len(self._dataset), self._dataset.seed)
        for iteration in range(self._first, self._iterations):
            start = iteration * self._batch_size + self._rank * share
            yield [(draw, order[draw]) for draw in range(start, start + share)]


class _Order:
    """Which video each draw takes: a new permutation of all of them every epoch."""

    def __init__(self, videos: int, seed: int) -> None:
        self._videos, self._seed = videos, seed
        self._epoch, self._order = -1, [0]

    def __getitem__(self, draw: int) -> int:
        epoch, position = divmod(draw, self._videos)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, list(range(self._videos))
            random.Random(f"{self._seed}/order/{epoch}").shuffle(self._order)
        return self._order[position]


class EvaluationBatches:
    """All views of every video once, in order.

    Iterating yields clips (N * V, C, T, H, W), the V views of a video side by side, targets as in
    `TrainBatches`, and the videos' indices (N,) int64. Unreadable videos are left out; it raises
    `DataError` where they are too many. The last batch may be smaller.

    Args:
        dataset: made for evaluation.
        batch_size: N, videos a batch.
        workers, rank, world: as in `TrainBatches`; rank r sees videos r, r + world, ...
    """

    def __init__(
        self,
        dataset: ClipDataset,
        *,
        batch_size: int,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._dataset, self._batch_size, self._workers = dataset, batch_size, workers
        self._indices: Sequence[int] = range(rank, len(dataset), world)

    def __len__(self) -> int:
        return -(-len(self._indices) // self._batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        size = self._batch_size
        starts = range(0, len(self._indices), size)
        chunks: Iterator[list[Key]] = (list(self._indices[i : i + size]) for i in starts)
        for samples in _load(self._dataset, chunks, self._workers):
            if found := _stack(samples):
                read = [sample.index for sample in samples if sample.clips is not None]
                yield *found, torch.tensor(read)


def normalise(clips: Tensor) -> Tensor:
    """Scale uint8 clips from [0, 255] to float32 in [-1, 1]; shape and memory layout stay."""
    return clips.float().div_(127.5).sub_(1)


def _stack(samples: Sequence[Sample]) -> tuple[Tensor, Tensor] | None:
    """Clips and targets of the samples that could be read; None if there is none."""
    clips = [sample.clips for sample in samples if sample.clips is not None]
    if not clips:
        return None
    batch = torch.cat(clips).permute(0, 4, 1, 2, 3)
    targets = torch.stack([s.target for s in samples if s.clips is not None])
    if torch.cuda.is_available():
        return batch.pin_memory(), targets.pin_memory()
    return batch, targets


def _load(
    dataset: ClipDataset, chunks: Iterator[list[Key]], workers: int
) -> Iterator[list[Sample]]:
    # Each worker has this process's number of threads otherwise, on the same cores.
    loader: DataLoader[Sample] = DataLoader(
        dataset,
        batch_sampler=chunks,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=_one_thread,
    )
    for samples in loader:
        for sample in samples:
            dataset.note(sample.index, sample.failures)
        yield samples


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
