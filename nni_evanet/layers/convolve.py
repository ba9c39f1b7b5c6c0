"""Same-padded convolution of clips, each kernel by the cheapest operation for its shape.

PyTorch has fast two-dimensional convolutions and matrix products for every machine, while its
three-dimensional convolution is slower, most of all backward and depthwise. Hence a kernel that
extends over less than space and time together runs as one of the former, on a view of the clip.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nni_evanet.layers.layout import (
    batch_as_frames,
    columns_as_pixels,
    frames_as_batch,
    is_channels_last,
    pixels_as_columns,
)
from nni_evanet.layers.padding import Fit, Triple, explicit_padding, fit_axes


def conv_same(x: Tensor, weight: Tensor, stride: Triple, groups: int = 1) -> Tensor:
    """Convolve x (B, C_in, T, H, W) with weight (C_out, C_in / groups, L, h, w), zero-padded.

    Equals `torch.nn.functional.conv3d` after same padding. Gives (B, C_out, ceil(T / stride[0]),
    ceil(H / stride[1]), ceil(W / stride[2])), in the memory format of x.
    """
    fits = fit_axes(x.shape[2:], weight.shape[2:], stride)
    weight = _used_taps(weight, fits)
    if weight[0, 0].numel() == 1 and not any(explicit_padding(fits)):
        x, stride = _subsampled(x, stride), (1, 1, 1)
    time, *pixels = weight.shape[2:]
    if pixels == [1, 1] and tuple(stride[1:]) == (1, 1):
        if time == 1 and stride[0] == 1 and groups == 1 and is_channels_last(x):
            return _pointwise(x, weight)
        return _temporal(x, weight, fits[0], stride[0], groups)
    if time == 1 and stride[0] == 1 and is_channels_last(x):
        y = _convolve(frames_as_batch(x), weight.squeeze(2), fits[1:], stride[1:], groups)
        return batch_as_frames(y, x.shape[2])
    return _convolve(x, weight, fits, stride, groups)


def _subsampled(x: Tensor, stride: Triple) -> Tensor:
    """What a kernel of one tap sees, in the memory format of x.

    A convolution would skip the rest as well, but PyTorch 2.11 writes beyond its memory in the
    gradient of a strided 1x1 convolution in channels-last memory on a CPU, with 2 to 7 channels.
    """
    if tuple(stride) == (1, 1, 1):
        return x
    memory_format = torch.channels_last_3d if is_channels_last(x) else torch.contiguous_format
    frames, rows, columns = stride
    return x[:, :, ::frames, ::rows, ::columns].contiguous(memory_format=memory_format)


def _used_taps(weight: Tensor, fits: Sequence[Fit]) -> Tensor:
    for axis, f in enumerate(fits, 2):
        if f.end - f.first < weight.shape[axis]:
            weight = weight.narrow(axis, f.first, f.end - f.first)
    return weight


def _pointwise(x: Tensor, weight: Tensor) -> Tensor:
    return F.linear(x.permute(0, 2, 3, 4, 1), weight.flatten(1)).permute(0, 4, 1, 2, 3)


def _temporal(x: Tensor, weight: Tensor, time: Fit, stride: int, groups: int) -> Tensor:
    y = pixels_as_columns(x)
    # oneDNN's fast depthwise gradient wants a kernel no longer than its input. Lengthening a short
    # clip with zeros buys a gradient up to four times as fast.
    missing = weight.shape[2] - y.shape[2]
    if missing > 0 and groups > 1 and weight.requires_grad and y.device.type == "cpu":
        zeros = min((missing + 1) // 2, time.before)
        y = F.pad(y, (0, 0, zeros, zeros))
        time = Fit(time.before - zeros, time.after - zeros, time.first, time.end)
    y = _convolve(y, weight.squeeze(-1), [time, _ONE_COLUMN], (stride, 1), groups)
    return columns_as_pixels(y, *x.shape[3:])


_ONE_COLUMN = Fit(before=0, after=0, first=0, end=1)


def _convolve(
    x: Tensor, weight: Tensor, fits: Sequence[Fit], stride: Sequence[int], groups: int
) -> Tensor:
    if any(f.before != f.after for f in fits):
        x = F.pad(x, explicit_padding(fits))
        padding = [0] * len(fits)
    else:
        padding = [f.before for f in fits]  # the operation's own padding: nothing is copied
    operation = torch.conv2d if x.dim() == 4 else torch.conv3d
    return operation(x, weight, None, list(stride), padding, [1] * len(fits), groups)
