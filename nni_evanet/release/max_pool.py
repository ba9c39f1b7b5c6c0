"""Max-pooling with the gradient that it has in TensorFlow."""

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from nni_evanet import layers
from nni_evanet.layers.padding import Triple, explicit_padding, fit_axes

_TIE = 1e-5


class MaxPool3d(layers.MaxPool3d):
    """`nni_evanet.layers.MaxPool3d` whose maximum may be in several places at once.

    Where several inputs of a window are the maximum, or less than 1e-5 below it, the gradient goes
    to each of them in full; PyTorch's goes to the first. Such ties are common: behind a ReLU and a
    shortcut, channels are constant wherever the ReLU gave 0.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and x.requires_grad):
            return super().forward(x)
        with torch.no_grad():
            y = super().forward(x)
        return _SendToTies.apply(x, y, self.kernel, self.stride)


class _SendToTies(torch.autograd.Function):
    """Passes on the maxima `y` of `x`; its gradient is all that it adds."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, kernel: Triple, stride: Triple) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.kernel, ctx.stride = kernel, stride
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        x, y = ctx.saved_tensors
        fits = fit_axes(x.shape[2:], ctx.kernel, ctx.stride)
        padding = explicit_padding(fits)
        padded = F.pad(x, padding, value=float("-inf"))
        grad_padded = torch.zeros_like(padded)
        # One tap of the window at a time, for all windows at once.
        for tap in product(*(range(fit.end - fit.first) for fit in fits)):
            inputs = padded
            grad_inputs = grad_padded
            for axis, (first, step) in enumerate(zip(tap, ctx.stride, strict=True), 2):
                end = first + (y.shape[axis] - 1) * step + 1
                taken = (slice(None),) * axis + (slice(first, end, step),)
                inputs, grad_inputs = inputs[taken], grad_inputs[taken]
            grad_inputs.add_(grad * (y - inputs < _TIE))
        return F.pad(grad_padded, [-side for side in padding]), None, None, None
