"""Several processes that train one network on one machine, a GPU each."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

POLL_S = 1.0


@dataclass(frozen=True)
class Member:
    """One process of a group; by default of a group of one.

    Args:
        device: where it trains.
        rank: its number; 0 speaks for the group.
        world: how many there are.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network whose backward pass averages the gradients of all members."""
        if self.world == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices)

    def accumulating(self, network: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Around the pass of a micro-batch: only that of the ``last`` one exchanges gradients."""
        if self.world == 1 or last:
            return nullcontext()
        assert isinstance(network, DistributedDataParallel)
        return network.no_sync()

    def share_buffers(self, network: nn.Module) -> None:
        """Give all members rank 0's batch-norm statistics."""
        if self.world > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, 0)

    def gather(self, value: Any) -> list[Any]:
        """The values of all members, by rank, on rank 0; an empty list on the others."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world if self.rank == 0 else []
        dist.gather_object(value, values if self.rank == 0 else None)
        return values


def run_group(work: Callable[..., Any], devices: list[torch.device], *arguments: Any) -> Any:
    """Call ``work(member, *arguments)`` once for each device, at the same time.

    Rank 0 runs in this process, the others in processes of their own, which end when this one
    does, however it ends. If one of them dies, so does this one: it would wait for it for ever.

    Returns:
        What rank 0 returned.
    """
    if len(devices) == 1:
        return work(Member(devices[0]), *arguments)
    # A file system path would be left behind; a port that is free now may be taken: the store
    # takes the first that is free itself.
    store = dist.TCPStore("127.0.0.1", 0, world_size=None, is_master=True, wait_for_workers=False)
    context = mp.get_context("spawn")
    others = [
        context.Process(
            target=_other, args=(work, rank, devices, store.port, os.getpid(), arguments)
        )
        for rank in range(1, len(devices))
    ]
    for process in others:
        process.start()
    _watch(lambda: all(p.exitcode in (None, 0) for p in others))
    result = _join(work, 0, devices, store, arguments)
    for process in others:
        process.join()
    return result


def _other(
    work: Callable[..., Any],
    rank: int,
    devices: list[torch.device],
    port: int,
    parent: int,
    arguments: tuple[Any, ...],
) -> None:
    _watch(lambda: os.getppid() == parent)
    store = dist.TCPStore("127.0.0.1", port, is_master=False)
    _join(work, rank, devices, store, arguments)


def _join(
    work: Callable[..., Any],
    rank: int,
    devices: list[torch.device],
    store: dist.Store,
    arguments: tuple[Any, ...],
) -> Any:
    device, world = devices[rank], len(devices)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    try:
        return work(Member(device, rank, world), *arguments)
    finally:
        dist.destroy_process_group()


def _watch(healthy: Callable[[], bool]) -> None:
    """End this process at once when the group is broken."""

    def watch() -> None:
        while healthy():
            time.sleep(POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
