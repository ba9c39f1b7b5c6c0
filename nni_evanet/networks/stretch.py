"""Longer iTGM kernels for a network that is trained already (paper, section 5.3, table 11)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from nni_evanet.architecture import Architecture
from nni_evanet.errors import InputError
from nni_evanet.networks import build_network


@runtime_checkable
class Stretchable(Protocol):
    """A layer that can have another temporal size with the same parameters: an iTGM of any form."""

    time: int

    def stretch(self, time: int) -> nn.Module:
        """A copy of that size."""


def stretch_network(network: nn.Module, time: int) -> nn.Module:
    """A copy of any network with every iTGM kernel of more than one frame spanning `time` frames.

    Every parameter and buffer keeps its value. Centres are relative to the kernel's ends, so the
    Gaussians spread with it (`nni_evanet.layers.ITGM.stretch`). Layers of another op stay, and so
    do iTGM layers of temporal size 1, which are plain spatial convolutions without a mixture: those
    of an architecture, and those that its odd repeats have in place of longer ones.

    Args:
        network: of an architecture, a baseline, or any other that has iTGM layers.
        time: the new temporal size in frames, 2 or more; shorter than before is possible as well.

    Raises:
        InputError: `time` is no such size.
    """
    if not isinstance(time, int) or time < 2:
        raise InputError(f"time: {time!r} is not a temporal size of 2 frames or more")
    stretched = copy.deepcopy(network)
    for name, layer in list(stretched.named_modules()):
        if isinstance(layer, Stretchable) and layer.time > 1:
            stretched.set_submodule(name, layer.stretch(time))
    return stretched


def stretch_weights(
    source: nn.Module | Mapping[str, Tensor],
    architecture: Architecture,
    time: int,
    *,
    dropout: float = 0.5,
) -> nn.Module:
    """The network of `architecture.stretched(time)` with the weights of one of `architecture`.

    Its number of classes, its channels and its width are those of the source. See
    `stretch_network` for what changes, which needs no architecture when there is a network.

    Args:
        source: a network of `architecture`, or its `state_dict()`.
        architecture: as it was trained.
        time: the new temporal size, one that an architecture can have and not 1.
        dropout: probability in front of the new network's classifier.

    Raises:
        InputError: no such temporal size, or weights that are not those of the architecture.
    """
    if time == 1:
        raise InputError("time: 1 frame leaves no mixture that could keep its parameters")
    state = source.state_dict() if isinstance(source, nn.Module) else source
    network = build_network(architecture.stretched(time), **_sizes_of(state), dropout=dropout)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"weights: not those of the architecture: {_one_line(error)}") from None
    return network.to(state["head.classifier.weight"])


def _sizes_of(state: Mapping[str, Tensor]) -> dict[str, int]:
    """What `build_network` needs to know, read from a network's weights."""
    classifier = state.get("head.classifier.weight")
    # Of the weights in any network's stem only those of the first layer are 7x7 in space.
    first = [value for name, value in state.items() if name.startswith("stem.") and _is_7x7(value)]
    if classifier is None or len(first) != 1:
        raise InputError("weights: no 7x7 stem.* or no head.classifier.*, which all networks have")
    width, in_channels = first[0].shape[:2]
    return {"num_classes": classifier.shape[0], "in_channels": in_channels, "width": width}


def _is_7x7(weight: Tensor) -> bool:
    return weight.dim() > 3 and weight.shape[-2:] == (7, 7)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
