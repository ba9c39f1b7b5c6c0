"""What a network costs: parameters and arithmetic."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode


def count_parameters(network: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def count_macs(network: nn.Module, input_shape: Sequence[int]) -> int:
    """Multiply-adds of the convolutions and linear layers for one clip.

    They are those that are carried out: iTGM counts as the two convolutions that it is computed by,
    and taps of a temporal kernel that lie outside of a short clip throughout do not count.
    Nothing is computed and nothing changes: the network runs on shapes alone, in evaluation mode.

    Args:
        network: any network, on any device.
        input_shape: (C, T, H, W) of a clip.
    """
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in state.items()}
    clip = torch.empty(1, *input_shape, device="meta")
    with _evaluation_mode(network), torch.no_grad(), _MacCounter() as counter:
        functional_call(network, shapes, (clip,))
    return counter.macs


class _MacCounter(TorchFunctionMode):
    """Counts while a network runs on the meta device.

    A fifth of the time of `torch.utils.flop_counter`, which looks at every operation from inside
    the dispatcher.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.batch_norm:  # keeps the shape, and is slow on the meta device
            return args[0]
        result = func(*args, **(kwargs or {}))
        if func in _MULTIPLYING:
            weight: Tensor = args[1]
            self.macs += result.numel() * weight[0].numel()
        return result


_MULTIPLYING = {F.conv1d, F.conv2d, F.conv3d, F.linear}


@contextmanager
def _evaluation_mode(network: nn.Module) -> Iterator[None]:
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
