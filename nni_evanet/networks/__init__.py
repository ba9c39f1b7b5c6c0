"""Networks of architectures."""

from torch import nn

from nni_evanet.architecture import Architecture
from nni_evanet.layers.arguments import check_positive
from nni_evanet.networks.inception import Inception
from nni_evanet.networks.resnet import ResNet

__all__ = ["Inception", "ResNet", "build_network"]

_METAS: dict[str, type[ResNet] | type[Inception]] = {"resnet": ResNet, "inception": Inception}


def build_network(
    architecture: Architecture,
    *,
    num_classes: int,
    in_channels: int = 3,
    width: int = 64,
    dropout: float = 0.5,
) -> nn.Module:
    """The network of an architecture: clips (B, C, T, H, W) to logits (B, num_classes).

    Takes any T >= 1 and H, W >= 16. It allocates what the architecture chose and nothing else.

    Args:
        architecture: the decisions.
        num_classes: the number of logits.
        in_channels: C, 3 for RGB and 2 for optical flow.
        width: filters of the stem. The modules have 4, 8, 16 and 32 times as many; at 64 they are
            those of the paper's networks.
        dropout: probability in front of the classifier.

    Raises:
        ValueError: an argument is out of its range, or the width leaves fewer filters in a module
            than it has streams.
    """
    check_positive(num_classes=num_classes, in_channels=in_channels, width=width)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: {dropout!r} is not in [0, 1)")
    return _METAS[architecture.meta](
        architecture,
        num_classes=num_classes,
        in_channels=in_channels,
        width=width,
        dropout=dropout,
    )
