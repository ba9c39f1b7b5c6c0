"""One trial a GPU on one machine, without NNI's GPU scheduler.

Each trial locks a file for the GPU it takes. The operating system releases the lock when the
process dies, however it dies, so a killed trial never keeps a GPU.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import tempfile
import time
from collections.abc import Sequence
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


def claim_gpu(gpus: Sequence[str], folder: Path | None = None) -> str:
    """Take the first free GPU for this process, waiting, and saying so, until there is one.

    Must come before CUDA is initialised: the caller makes the GPU the only visible one.

    Args:
        gpus: names to choose from, indices or UUIDs.
        folder: of the lock files; the machine's temporary folder if not given.

    Raises:
        InputError: there is no GPU to choose from.
    """
    if not gpus:
        raise InputError("--gpus: this machine has no visible GPU; without --gpus the CPU is used")
    folder = folder or Path(tempfile.gettempdir())
    reminded = -REMIND_S
    started = time.monotonic()
    while True:
        for gpu in gpus:
            if _try_lock(folder / f"nni_evanet_gpu_{re.sub(r'[^0-9A-Za-z-]', '_', gpu)}.lock"):
                return gpu
        waited = time.monotonic() - started
        if waited - reminded >= REMIND_S:
            reminded = waited
            _logger.warning("waiting for a free GPU among %s (%.0f s)", ", ".join(gpus), waited)
        time.sleep(POLL_S)


def _try_lock(path: Path) -> bool:
    try:
        # Another user's lock file can be locked, but not opened for creation, in a sticky folder.
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    # The lock lives as long as any copy of the descriptor: a data worker that outlives a killed
    # trial must not hold it. This process never closes its own.
    os.register_at_fork(after_in_child=lambda: os.close(descriptor))
    return True
