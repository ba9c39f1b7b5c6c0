"""The memory that feature maps take while a clip passes a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

from nni_evanet.report.shapes import shape_clip, shape_network


def parameter_bytes(network: nn.Module) -> int:
    """Memory of the parameters, trainable or not, in their own precision."""
    return sum(parameter.nbytes for parameter in network.parameters())


def peak_activation_bytes(network: nn.Module, input_shape: Sequence[int]) -> int:
    """The most that the clip and what is computed from it take at one time in inference.

    For one clip, without gradients, in the precision of the network's parameters: all tensors that
    are alive when an operation has just ended, its inputs and its output among them. Parameters do
    not count, nor do the workspaces of the libraries that carry out an operation. It is found on
    shapes alone, without any arithmetic.

    Args:
        network: any network, on any device.
        input_shape: (C, T, H, W) of the clip.
    """
    copy = shape_network(network)
    clip = shape_clip(copy, input_shape)
    with torch.no_grad(), _LiveTensors(copy) as live:
        live.add(clip)
        copy(clip)
    return live.peak


class _LiveTensors(TorchFunctionMode):
    """Follows the storages of what operations return, for as long as anything refers to them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        tensors = (*network.parameters(), *network.buffers())
        self._weights = {StorageWeakRef(t.untyped_storage()).cdata for t in tensors}
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)
        # A view has the storage of what it is a view of, and so takes nothing.
        if reference.cdata not in self._weights:
            self._alive[reference.cdata] = reference, storage.nbytes()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.batch_norm:  # as large as its input, and slow on the meta device
            result = torch.empty_like(args[0])
        else:
            result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self.add(tensor)
        self._alive = {key: held for key, held in self._alive.items() if not held[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return result


def _tensors(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, list | tuple):
        for part in result:
            yield from _tensors(part)
