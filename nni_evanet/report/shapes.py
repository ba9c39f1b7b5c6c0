"""Networks run on shapes alone, to find out about them what depends on nothing else."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def shape_network(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode on torch's `meta` device: it has shapes and no values.

    It may be changed at will; nothing is allocated for it, and the network stays as it is.
    """
    shapes: dict[int, Tensor] = {}
    for parameter in network.parameters():
        empty = torch.empty_like(parameter, device="meta")
        shapes[id(parameter)] = nn.Parameter(empty, requires_grad=False)
    for buffer in network.buffers():
        shapes[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(network, shapes).eval()


def shape_clip(network: nn.Module, input_shape: Sequence[int]) -> Tensor:
    """A batch of one clip (C, T, H, W) on the `meta` device, in the network's precision."""
    dtype = next((parameter.dtype for parameter in network.parameters()), torch.float32)
    return torch.empty(1, *input_shape, dtype=dtype, device="meta")
