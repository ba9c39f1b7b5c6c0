"""Which TensorFlow variable is which parameter or buffer of a release network."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nni_evanet.errors import InputError
from nni_evanet.networks.streams import ConvNorm
from nni_evanet.release.batch_norm import FixedBatchNorm
from nni_evanet.release.layers import CauchyITGM, Conv3d, TemporalFirstConv2Plus1d
from nni_evanet.release.network import Block, ReleaseNetwork

ROOT = "VidIncRes"
STEM_CONV = f"{ROOT}/Conv2d_1a_7x7"
HEAD = f"{ROOT}/Logits/Conv3d"
OTHER_HEAD = f"{ROOT}/Logits/Conv"
"""The head's scope in the released checkpoints, and the one that later TensorFlow-Slims give it."""

_LAYER_SCOPES = {"reduce": "0a_1x1", "conv1": "0b_3x3", "conv2": "0c_3x3"}
_SHOWN = 20


class VariablesError(InputError):
    """Variables that are not those of the network. The message names them, up to 20 of each kind.

    Attributes:
        missing: every variable that the network has and the mapping has not.
        unused: every one that the mapping has and the network has not.
        misshapen: every one whose array has another shape or holds no numbers, and how.
    """

    def __init__(
        self, missing: Sequence[str], unused: Sequence[str], misshapen: Sequence[str]
    ) -> None:
        self.missing, self.unused, self.misshapen = missing, unused, misshapen
        kinds = {"missing": missing, "unused": unused, "misshapen": misshapen}
        parts = [f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds.items() if names]
        super().__init__("variables: " + "; ".join(parts))


def variables(network: ReleaseNetwork) -> dict[str, Tensor]:
    """Every TensorFlow variable of a network, as views of its parameters and buffers.

    The views have the shapes of TensorFlow: a kernel is (T, H, W, C_in, C_out). Writing into one
    writes into the network. The names are those of the released checkpoints; each parameter and
    each moving statistic has exactly one.

    Raises:
        TypeError: it is not a release network.
    """
    if not isinstance(network, ReleaseNetwork):
        raise TypeError(f"expected a network that release.build made, got {type(network).__name__}")
    views = dict(_network_views(network))
    return {name: tensor.detach() for name, tensor in views.items()}


def load_variables(network: ReleaseNetwork, variables: Mapping[str, Any]) -> None:
    """Give a network the values of TensorFlow variables, all of them or, on an error, none.

    Args:
        network: what `build` gave.
        variables: {name: array}. The head's scope may be `Logits/Conv3d` or `Logits/Conv`.

    Raises:
        VariablesError: some are missing, unused or misshapen; the message names them.
    """
    views = _named_as_in(variables, network)
    arrays = {name: np.asarray(variables[name]) for name in views if name in variables}
    missing = [name for name in views if name not in arrays]
    unused = [str(name) for name in variables if name not in views]
    misshapen = [
        f"{name} is {_described(array)}, expected {tuple(views[name].shape)}"
        for name, array in arrays.items()
        if array.shape != tuple(views[name].shape) or array.dtype.kind not in "fiu"
    ]
    if missing or unused or misshapen:
        raise VariablesError(missing, unused, misshapen)
    with torch.no_grad():
        for name, array in arrays.items():
            # A copy, since torch takes no read-only arrays; in double, which loses no digit.
            views[name].copy_(torch.from_numpy(np.array(array, dtype=np.float64)))


def head_scope(names: Mapping[str, Any]) -> str:
    """The scope of the head's variables among these names."""
    other = any(str(name).startswith(f"{OTHER_HEAD}/") for name in names)
    return OTHER_HEAD if other else HEAD


def _named_as_in(names: Mapping[str, Any], network: ReleaseNetwork) -> dict[str, Tensor]:
    scope = head_scope(names)
    return {name.replace(HEAD, scope): view for name, view in variables(network).items()}


def _network_views(network: ReleaseNetwork) -> Iterator[tuple[str, Tensor]]:
    yield from _scope_views(ROOT, {"Conv2d_1a_7x7": network.stem.get_submodule("conv")})
    for s, stage in enumerate(network.stages, 2):
        assert isinstance(stage, nn.Sequential)
        for r, block in enumerate(stage):
            repeat = f"Block_{r}" if r > 0 else "BaseBlock"
            # The authors' code opens the module's scope a second time within the repeat's.
            yield from _block_views(f"{ROOT}/res_block_{s}/{repeat}/res_block_{s}", block)
    classifier = network.head.classifier
    assert classifier.bias is not None
    yield f"{HEAD}/weights", _kernel_view(classifier.weight)
    yield f"{HEAD}/biases", classifier.bias


def _block_views(scope: str, block: nn.Module) -> Iterator[tuple[str, Tensor]]:
    assert isinstance(block, Block)
    if isinstance(block.shortcut, ConvNorm):
        yield from _scope_views(scope, {"shortcut": block.shortcut})
    for b, stream in enumerate(block.streams):
        layers = dict(stream.named_children())
        # A pool counts as the first layer of its stream, though it has no variables.
        scopes = _LAYER_SCOPES | {"project": "0b_1x1" if "pool" in layers else "0a_1x1"}
        convs = {f"Conv2d_{scopes[n]}": m for n, m in layers.items() if isinstance(m, ConvNorm)}
        yield from _scope_views(f"{scope}/Branch_{b}", convs)


def _scope_views(scope: str, convs: Mapping[str, nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """Convolutions and their batch norms, which are counted within the scope."""
    norms = 0
    for name, layer in convs.items():
        assert isinstance(layer, ConvNorm)
        for suffix, part in _parts(layer):
            if isinstance(part, Conv3d):
                yield f"{scope}/{name}{suffix}/weights", _kernel_view(part.weight)
            elif isinstance(part, CauchyITGM):
                yield from _itgm_views(f"{scope}/{name}", part)
            else:
                count = f"_{norms}" if norms else ""
                yield from _norm_views(f"{scope}/BatchNorm{count}", part)
                norms += 1


def _parts(layer: ConvNorm) -> Iterator[tuple[str, nn.Module]]:
    """What has variables, in the order of the computation, and what is added to its scope."""
    if isinstance(layer.conv, TemporalFirstConv2Plus1d):
        yield "", layer.conv.temporal
        yield "", layer.conv.norm
        yield "s", layer.conv.spatial
    else:
        yield "", layer.conv
    yield "", layer.norm


def _itgm_views(scope: str, layer: CauchyITGM) -> Iterator[tuple[str, Tensor]]:
    yield f"{scope}/weights", _kernel_view(layer.spatial[:, :, None])
    if layer.time > 1:
        yield f"{scope}/soft-attn", layer.mixing
        yield f"{scope}/tgm-f/tgm-f/tgm-center", layer.center
        yield f"{scope}/tgm-f/tgm-f/tgm-gamma", layer.gamma


def _norm_views(scope: str, norm: nn.Module) -> Iterator[tuple[str, Tensor]]:
    assert isinstance(norm, nn.BatchNorm3d | FixedBatchNorm)
    assert norm.running_mean is not None and norm.running_var is not None
    yield f"{scope}/gamma", norm.weight
    yield f"{scope}/beta", norm.bias
    yield f"{scope}/moving_mean", norm.running_mean
    yield f"{scope}/moving_variance", norm.running_var


def _kernel_view(weight: Tensor) -> Tensor:
    """(C_out, C_in, T, H, W) seen as (T, H, W, C_in, C_out)."""
    return weight.permute(2, 3, 4, 1, 0)


def _described(array: np.ndarray) -> str:
    return str(array.shape) if array.dtype.kind in "fiu" else f"{array.shape} of {array.dtype}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
