"""GPUs of one machine, each for one trial, without NNI's GPU scheduler.

Each trial locks a file for every GPU that it takes. The operating system releases the lock when the
process dies, however it dies, so a killed trial never keeps a GPU.
"""

from __future__ import annotations

import fcntl
import logging
import os
import random
import re
import tempfile
import time
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from nni_evanet.errors import InputError

_logger = logging.getLogger(__name__)

POLL_S = 1.0
REMIND_S = 60.0


def visible_gpus() -> list[str]:
    """The GPUs that CUDA would use: the names in CUDA_VISIBLE_DEVICES, else all indices."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip() not in ("", "-1")]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def claim_gpus(gpus: Sequence[str], count: int = 1, folder: Path | None = None) -> list[str]:
    """Take the first free GPUs for this process, waiting, and saying so, until there are enough.

    It holds all of them or none, so that two trials that wait for two never wait for each other.
    Must come before CUDA is initialised: the caller makes them the only visible ones.

    Args:
        gpus: names to choose from, indices or UUIDs.
        count: how many to take.
        folder: of the lock files; the machine's temporary folder if not given.

    Raises:
        InputError: there are not that many GPUs to choose from.
    """
    if len(gpus) < count:
        raise InputError(
            f"--gpus {count}: this machine has {len(gpus) or 'no'} visible GPU"
            f"{'s' * (len(gpus) > 1)}; without --gpus the CPU is used"
        )
    folder = folder or Path(tempfile.gettempdir())
    reminded = -REMIND_S
    started = time.monotonic()
    while True:
        locked: dict[str, int] = {}
        for gpu in gpus:
            lock = _try_lock(folder / f"nni_evanet_gpu_{re.sub(r'[^0-9A-Za-z-]', '_', gpu)}.lock")
            if lock is not None:
                locked[gpu] = lock
            if len(locked) == count:
                _keep(locked.values())
                return list(locked)
        for lock in locked.values():
            os.close(lock)
        waited = time.monotonic() - started
        if waited - reminded >= REMIND_S:
            reminded = waited
            _logger.warning(
                "waiting for %d free of the GPUs %s (%.0f s)", count, ", ".join(gpus), waited
            )
        # Not in step with others that wait, which would go on meeting each other halfway.
        time.sleep(POLL_S * random.uniform(0.5, 1.5))


def _try_lock(path: Path) -> int | None:
    """The descriptor of the locked file, or None where another process has it."""
    try:
        # Another user's lock file can be locked, but not opened for creation, in a sticky folder.
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _keep(descriptors: Collection[int]) -> None:
    """Hold locks until this process ends, and no longer.

    A lock lives as long as any copy of its descriptor: a data worker that outlives a killed trial
    must not hold it. This process never closes its own.
    """
    for descriptor in descriptors:
        os.register_at_fork(after_in_child=partial(os.close, descriptor))
