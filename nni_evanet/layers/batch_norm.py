"""Batch normalisation as the authors' networks have it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm3d):
    """`torch.nn.BatchNorm3d` whose running variance averages the *biased* batch variances.

    Epsilon is 1e-5 and momentum 0.1 (TensorFlow's decay 0.9).

    Raises:
        ValueError: in training, when every channel has one value only: it has no variance.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-5, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        count = x.numel() // x.shape[1]
        if count == 1:
            raise ValueError(
                f"batch normalisation cannot train on one value a channel (a batch of 1 whose "
                f"feature maps have shrunk to {tuple(x.shape[2:])}): use more than one clip a "
                f"batch, or longer or larger clips"
            )
        mean, variance = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        # With momentum 1 they become this batch's statistics; the variance is the unbiased one.
        y = F.batch_norm(x, mean, variance, self.weight, self.bias, True, 1.0, self.eps)
        self._track(mean, variance * ((count - 1) / count))
        return y

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:  # torch.optim.swa_utils.update_bn asks for plain averages this way
            momentum = 1 / int(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)
