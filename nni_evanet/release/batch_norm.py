"""Batch norm as the authors' networks compute it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_evanet import layers


class BatchNorm(layers.BatchNorm):
    """`nni_evanet.layers.BatchNorm`, on a CPU with the same rounding for any number of threads.

    PyTorch sums a channel in as many parts as it has threads. In single precision that moves some
    outputs by a few 1e-6, enough to take one next to zero to the other side of a ReLU, and a
    gradient with it by per cents. TensorFlow sums a channel in one go, so this does too.
    """

    def forward(self, x: Tensor) -> Tensor:
        threads = torch.get_num_threads()
        if not self.training or x.device.type != "cpu" or threads == 1:
            return super().forward(x)
        torch.set_num_threads(1)
        try:
            return super().forward(x)
        finally:
            torch.set_num_threads(threads)


class FixedBatchNorm(nn.Module):
    """Batch norm by its moving statistics in training too; nothing ever updates them.

    It is deliberately no `torch.nn.BatchNorm3d`: what treats those (re-estimating their statistics,
    synchronising them) must leave it alone.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        statistics = self.running_mean, self.running_var
        return F.batch_norm(x, *statistics, self.weight, self.bias, training=False, eps=1e-5)
