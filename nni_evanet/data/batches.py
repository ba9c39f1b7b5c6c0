"""Batches for a training loop in plain PyTorch: they leave here as uint8, scaled on the device."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from nni_evanet.data.clips import ClipDataset, Sample

Key = int | tuple[int, int]


def train_batches(
    dataset: ClipDataset, *, batch_size: int, iterations: int, workers: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ``iterations`` random batches.

    Every video is drawn once before any is drawn again; batches are always full. The result
    depends on the dataset's seed, not on the number of workers.

    Args:
        dataset: made for training.
        batch_size: clips a batch.
        iterations: batches.
        workers: processes that decode; without use once the dataset is in memory.

    Yields:
        Clips (B, 3, T, H, W) uint8 in channels-last memory, and labels (B,) int64; in pinned
        memory where there is CUDA.

    Raises:
        DataError: too many files are unreadable.
    """
    draws = _draws(len(dataset), batch_size * iterations, dataset.seed)
    return _batches(dataset, draws, batch_size, workers)


def evaluation_batches(
    dataset: ClipDataset, *, batch_size: int, workers: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every video's clip once, in order; the last batch may be smaller.

    Arguments, values and errors as in `train_batches`.
    """
    return _batches(dataset, iter(range(len(dataset))), batch_size, workers)


def normalise(clips: Tensor) -> Tensor:
    """Scale uint8 clips from [0, 255] to float32 in [-1, 1]; shape and memory layout stay."""
    return clips.float().div_(127.5).sub_(1)


def _draws(videos: int, count: int, seed: int) -> Iterator[Key]:
    for draw in range(count):
        epoch, position = divmod(draw, videos)
        if position == 0:
            order = list(range(videos))
            random.Random(f"{seed}/order/{epoch}").shuffle(order)
        yield draw, order[position]


def _batches(
    dataset: ClipDataset, keys: Iterator[Key], batch_size: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    pinned = torch.cuda.is_available()
    for samples in _samples(dataset, keys, batch_size, workers):
        for sample in samples:
            dataset.note(sample.index, sample.failures)
        clips = [sample.clip for sample in samples if sample.clip is not None]
        if not clips:
            continue
        batch = torch.stack(clips).permute(0, 4, 1, 2, 3)
        labels = torch.tensor([s.label for s in samples if s.clip is not None])
        yield (batch.pin_memory(), labels.pin_memory()) if pinned else (batch, labels)


def _samples(
    dataset: ClipDataset, keys: Iterator[Key], batch_size: int, workers: int
) -> Iterator[Sequence[Sample]]:
    chunks = iter(lambda: list(islice(keys, batch_size)), [])
    if dataset.in_memory or not workers:
        return ([dataset[key] for key in chunk] for chunk in chunks)
    # Each worker has this process's number of threads otherwise, on the same cores.
    loader: DataLoader[Sample] = DataLoader(
        dataset,
        batch_sampler=chunks,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=_one_thread,
    )
    return iter(loader)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
