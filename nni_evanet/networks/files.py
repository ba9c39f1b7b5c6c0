"""A trained network in one file: its weights, and a card with everything needed to use it.

The format is safetensors, which holds numbers and text only; the card is JSON in its metadata.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nni_evanet.atomic import replacing
from nni_evanet.errors import InputError
from nni_evanet.networks.card import NetworkCard

_CARD = "nni_evanet_card"
_SHOWN = 3


def save_network(path: Path | str, network: nn.Module, card: NetworkCard) -> None:
    """Write a network and its card, whole or not at all.

    Raises:
        InputError: the weights are not those of the card's network, or the file cannot be written.
    """
    path = Path(path)
    # Laid out plainly and apart from each other, as the format wants them.
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    _check_tensors(path, _build_on_meta(path, card), state)
    try:
        with replacing(path) as temporary:
            save_file(state, temporary, {"format": "pt", _CARD: card.to_json()})
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be written: {error}") from None


def load_network(path: Path | str) -> nn.Module:
    """The network in a file that `nni-evanet train` or `save_network` wrote.

    It is on the CPU and in evaluation mode: clips (B, C, T, H, W), normalised as the card says, to
    logits (B, num_classes). Its attribute `card` is the `NetworkCard`.

    Raises:
        InputError: no such file, no network file, a damaged one, or one whose weights are not those
            of its card.
    """
    card = read_card(path)
    network = _build_on_meta(path, card)
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from None
    _check_tensors(path, network, state)
    # Empty memory in place of initial values that would be overwritten; layouts are kept.
    network.to_empty(device="cpu").load_state_dict(state)
    network.card = card  # type: ignore[assignment]
    return network.eval()


def read_card(path: Path | str) -> NetworkCard:
    """The card in a network file, without reading the weights.

    Raises:
        InputError: no such file, or no network file.
    """
    metadata = read_metadata(path)
    if _CARD not in metadata:
        kind = "a network that import-release wrote; train --init takes it"
        what = kind if "dna" in metadata else "a safetensors file without a network's card"
        raise InputError(f"{path}: not a network file, but {what}")
    try:
        return NetworkCard.from_json(metadata[_CARD])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_metadata(path: Path | str) -> dict[str, str]:
    """The metadata of a safetensors file.

    Raises:
        InputError: no such file, or none of that format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path | str, error: Exception) -> InputError:
    if not Path(path).is_file():
        return InputError(f"{path}: no such file")
    reason = " ".join(str(error).split())
    return InputError(f"{path}: not a safetensors file, or damaged: {reason}")


def _build_on_meta(path: Path | str, card: NetworkCard) -> nn.Module:
    """The card's network without memory for its weights, whatever sizes the card claims."""
    try:
        with torch.device("meta"):
            return card.blueprint.build(
                num_classes=card.num_classes, in_channels=card.in_channels, dropout=card.dropout
            )
    except (InputError, RuntimeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: its card describes no network: {reason}") from None


def _check_tensors(path: Path | str, network: nn.Module, state: dict[str, Tensor]) -> None:
    expected = network.state_dict()
    wrong = [f"{name} is missing" for name in expected if name not in state]
    wrong += [f"{name} is unknown" for name in state if name not in expected]
    for name in sorted(expected.keys() & state.keys()):
        found, wanted = state[name], expected[name]
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            wrong.append(f"{name} is {_described(found)}, expected {_described(wanted)}")
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        listed = ", ".join(wrong[:_SHOWN])
        raise InputError(f"{path}: the weights are not those of its card: {listed}{more}")


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
