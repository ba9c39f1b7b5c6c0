"""How many frames of the clip a network's features see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nni_evanet.layers import ITGM, Conv3d, MaxPool3d
from nni_evanet.release.layers import CauchyITGM
from nni_evanet.report.shapes import shape_clip, shape_network


class Reach(NamedTuple):
    """What one frame of a feature map is computed from.

    Attributes:
        frames: from the first frame of the clip that it sees to the last.
        step: by how many frames of the clip its neighbours see further.
    """

    frames: int
    step: int


def temporal_receptive_field(network: nn.Module, *, in_channels: int = 3) -> int:
    """From the first to the last frame of a clip that one frame of the last feature map sees.

    That is the size in theory, for a clip without ends; a shorter clip is seen whole. The last
    feature map is the one that the head takes: its averages over time, after which every logit
    sees the whole clip, do not count. By this definition I3D and S3D have the 99 frames that the
    paper gives for them (section 5.3).

    It is exact. All kernels and strides on the way count: both convolutions of a stream, every
    repeat with the sizes that it has, the pools. Parallel streams are centred on the same frame,
    so that together they see as much as the one which sees most. Frames in between may be unseen,
    where a pool of one frame moves by two.

    Args:
        network: made of the layers of this package and of torch's `Conv3d` and `MaxPool3d`.
        in_channels: of its clips.
    """
    copy = shape_network(network)
    widest = Reach(1, 1)

    def widen(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal widest
        reach = _through(module, _reach_of(inputs[0]))
        output.reach = reach  # type: ignore[attr-defined]
        widest = max(widest, reach)

    for module in copy.modules():
        if isinstance(module, _TEMPORAL):
            module.register_forward_hook(widen)
    clip = shape_clip(copy, (in_channels, 16, 32, 32))
    with torch.no_grad(), _Propagation():
        copy(clip)
    return widest.frames


_TEMPORAL = (Conv3d, ITGM, CauchyITGM, MaxPool3d, nn.Conv3d, nn.MaxPool3d)


def _through(module: nn.Module, reach: Reach) -> Reach:
    kernel, stride = _kernel_and_stride(module)
    return Reach(reach.frames + (kernel - 1) * reach.step, reach.step * stride)


def _kernel_and_stride(module: nn.Module) -> tuple[int, int]:
    """In time, of a layer that moves a window over it."""
    match module:
        case Conv3d():
            return module.weight.shape[2], module.stride[0]
        case ITGM() | CauchyITGM():
            return module.time, module.stride[0]
        case MaxPool3d():
            return module.kernel[0], module.stride[0]
    kernel, stride, dilation = (
        _first(getattr(module, name)) for name in ("kernel_size", "stride", "dilation")
    )
    return (kernel - 1) * dilation + 1, stride


def _first(value: int | Sequence[int]) -> int:
    return value if isinstance(value, int) else value[0]


def _reach_of(value: Any) -> Reach:
    return getattr(value, "reach", Reach(1, 1))


class _Propagation(TorchFunctionMode):
    """Gives what an operation returns the largest reach of the tensors that it takes."""

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
        if isinstance(result, Tensor):
            reaches = [_reach_of(tensor) for tensor in _tensors(args)]
            result.reach = max(reaches, default=Reach(1, 1))  # type: ignore[attr-defined]
        return result


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
