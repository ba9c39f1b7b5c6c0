"""A trained network for other programs: torch.export's format or ONNX, held to the original."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nni_evanet.errors import InputError
from nni_evanet.networks.files import load_network

TOLERANCE = 1e-4
"""Up to which logits may differ from the original's, as a share of the largest one, or of 1."""

_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

Logits = Callable[[Tensor], Tensor]


def export_network(path: Path, out: Path) -> float:
    """Write the network of a file as `.pt2` (torch.export) or `.onnx`, by the name of `out`.

    What is written takes normalised clips (B, C, T, H, W) float32 of the card's size, and any B.
    It is read back and compared with the network on a random batch, of another B.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        InputError: another ending; ONNX's packages are missing; no network file; the difference is
            above `TOLERANCE`, and nothing is left in `out`.
    """
    writers = {".pt2": _write_program, ".onnx": _write_onnx}
    if out.suffix not in writers:
        raise InputError(f"{out}: expected a name that ends in {' or '.join(writers)}")
    if out.suffix == ".onnx":
        _check_onnx_packages()
    network = load_network(path)
    card: Any = network.card
    shape = (card.in_channels, card.frames, card.size, card.size)
    temporary = out.with_name(f".{os.getpid()}.{out.name}")
    try:
        exported = writers[out.suffix](network, torch.randn(2, *shape), temporary)
        difference, largest = _compare(network, exported, torch.randn(3, *shape))
        if not difference <= TOLERANCE * max(largest, 1.0):
            raise InputError(f"{out}: not written: a logit differs by {difference:.2g}")
        os.replace(temporary, out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return difference


@torch.no_grad()
def _compare(network: nn.Module, exported: Logits, clips: Tensor) -> tuple[float, float]:
    """The largest difference of a logit, and the largest logit."""
    expected = network(clips)
    return (expected - exported(clips)).abs().max().item(), expected.abs().max().item()


def _write_program(network: nn.Module, clips: Tensor, path: Path) -> Logits:
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, (clips,), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    return torch.export.load(path).module()


def _write_onnx(network: nn.Module, clips: Tensor, path: Path) -> Logits:
    import onnxruntime

    torch.onnx.export(
        network,
        (clips,),
        path,
        input_names=["clips"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path)
    return lambda clips: torch.from_numpy(session.run(None, {"clips": clips.numpy()})[0])


def _check_onnx_packages() -> None:
    missing = [name for name in _ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(f"onnx: needs {', '.join(missing)}: pip install {' '.join(missing)}")
