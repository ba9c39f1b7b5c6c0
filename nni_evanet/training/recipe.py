"""The one way in which networks are optimised here: in a search and in full training."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

GRADIENT_NORM = 1.0
"""To which gradients are clipped before each step."""


def zero_classifier_(network: nn.Module) -> None:
    """Let a new network start from equal predictions for all classes.

    In the short training of a search the first steps are otherwise spent on undoing the random
    ones: this raised the median accuracy of random architectures by a third.
    """
    nn.init.zeros_(network.head.classifier.weight)  # type: ignore[union-attr, arg-type]


def make_optimizer(
    network: nn.Module,
    *,
    learning_rate: float,
    iterations: int,
    weight_decay: float = 0.02,
    schedule: str = "cosine",
    fused: bool = True,
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW, with a linear warm-up over the first tenth and then a decay.

    Weights of convolutions and mixtures decay; scales, biases, centres and widths do not.

    Args:
        network: whose parameters are trained.
        learning_rate: the highest, reached after the warm-up.
        iterations: of the whole training.
        weight_decay: of AdamW.
        schedule: one of `SCHEDULES`.
        fused: whether one kernel updates all parameters. Clipping gradients under a gradient scaler
            (float16) is possible without it only, in Lightning.
    """
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99), fused=fused)
    warm_up = max(1, iterations // 10)
    decay = SCHEDULES[schedule]

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return decay(step - warm_up, max(1, iterations - warm_up))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _cosine(done: int, steps: int) -> float:
    """From 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * done / steps))


def _step(done: int, steps: int) -> float:
    """1, a tenth from the half on, a hundredth from three quarters on."""
    return 1.0 if 2 * done < steps else 0.1 if 4 * done < 3 * steps else 0.01


SCHEDULES: dict[str, Callable[[int, int], float]] = {"cosine": _cosine, "step": _step}
"""The learning rate's decay after the warm-up, as a factor of the highest."""


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean loss of (B, classes) logits.

    Cross-entropy for class indices (B,); the binary one of each class for targets (B, classes).
    """
    if targets.dim() == 1:
        return nn.functional.cross_entropy(logits, targets)
    return nn.functional.binary_cross_entropy_with_logits(logits, targets)
