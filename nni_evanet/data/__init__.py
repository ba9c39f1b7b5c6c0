"""Video data: datasets by name, their validation part, and clips.

This module is light: a search's command line can list a dataset without importing torch. Clips are
in `nni_evanet.data.clips` and `nni_evanet.data.batches`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nni_evanet.data.kinetics import load_kinetics
from nni_evanet.data.moving_digits import load_moving_digits
from nni_evanet.data.partition import Partition, read_partition, split_validation, write_partition
from nni_evanet.data.videos import DataError, Video, VideoSet

__all__ = [
    "DATASETS",
    "DataError",
    "Partition",
    "Video",
    "VideoSet",
    "load_dataset",
    "read_partition",
    "split_validation",
    "write_partition",
]

DATASETS: dict[str, Callable[..., VideoSet]] = {
    "kinetics": load_kinetics,
    "moving-digits": load_moving_digits,
}


def load_dataset(name: str, data_path: str | Path, *, split: str = "train") -> VideoSet:
    """List the videos of one split of a dataset.

    Args:
        name: one of ``DATASETS``.
        data_path: the dataset's folder; for "kinetics" also a csv or list file.
        split: "train", "val" or "test".

    Raises:
        DataError: unknown name or split; data that is missing or not in the dataset's format.
    """
    if name not in DATASETS:
        raise DataError(f"dataset {name!r} is unknown: expected one of {', '.join(DATASETS)}")
    if split not in ("train", "val", "test"):
        raise DataError(f"split {split!r} is unknown: expected one of train, val, test")
    return DATASETS[name](Path(data_path), split=split)
