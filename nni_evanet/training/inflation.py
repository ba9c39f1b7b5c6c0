"""Weights of two-dimensional networks as initial values of layers in space and time.

Kernels are matched in order: each layer, in the order of the network's definition, takes the
first kernel of its shape that no earlier layer has taken, in the order of their names with numbers
by value (safetensors files keep no other). With it goes its batch norm: of `conv1` that is `bn1`,
of `downsample.0` it is `downsample.1`, as in torchvision. A kernel (C_out, C_in, h, w) becomes

- of a 3D convolution: itself, L times, divided by L: a still clip gives what the image does;
- of a (2+1)D convolution: the spatial part; the temporal part keeps its initial values;
- of an iTGM layer: the spatial kernel; the mixture, whose weights sum to 1, is kept.

A first layer for optical flow takes one for RGB, the mean over its channels for each of its own.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nni_evanet.errors import InputError
from nni_evanet.networks.blueprint import Blueprint, head_tensors, input_tensors
from nni_evanet.release.batch_norm import FixedBatchNorm
from nni_evanet.training.initialisation import Initialisation, mean_over_channels

_NORM = ("weight", "bias", "running_mean", "running_var")


class Kernel(NamedTuple):
    """A kernel's name, and its batch norm's, which ends before the last dot; "" if it has none."""

    name: str
    norm: str


def inflate_into(network: nn.Module, blueprint: Blueprint, path: Path) -> Initialisation:
    """Give a network what fits of the weights of a two-dimensional one.

    Args:
        network: just built.
        blueprint: what it was built from.
        path: a safetensors file, or one that `torch.save` wrote of a state dict: torchvision's
            ResNets and Inceptions, and others that are named like them.

    Raises:
        InputError: it cannot be read, or nothing in it fits.
    """
    images = read_images(path)
    state = network.state_dict()
    first = input_tensors(blueprint)
    unused = list(_source_kernels(images))
    taken: dict[str, str] = {}
    for layer in _target_kernels(network, head_tensors(blueprint)):
        wanted = _image_shape(state[layer.name], any_channels=layer.name in first)
        source = next((k for k in unused if _fits(images[k.name], wanted)), None)
        if source is None:
            continue
        unused.remove(source)
        state[layer.name].copy_(_inflated(images[source.name], state[layer.name].shape))
        taken[layer.name] = source.name
        if layer.norm and source.norm:
            for part in _NORM:
                state[f"{layer.norm}.{part}"].copy_(images[f"{source.norm}.{part}"])
                taken[f"{layer.norm}.{part}"] = f"{source.norm}.{part}"
    if not taken:
        raise InputError(f"{path}: no kernel fits a layer of {blueprint.describe()}")
    rest = tuple(name for name in images if name not in taken.values())
    fresh = tuple(name for name in state if name not in taken)
    return Initialisation(source=str(path), taken=taken, fresh=fresh, unused=rest)


def read_images(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict.

    Raises:
        InputError: it cannot be read, or it is not one.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not readable as weights alone: {reason}") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path}: expected a state dict, tensors by name")
    return dict(state)


def _source_kernels(images: dict[str, Tensor]) -> Iterator[Kernel]:
    """The kernels in the order of their names, numbers by value."""
    for name in sorted(images, key=_natural):
        if images[name].dim() == 4:
            norm = _norm_of(name)
            complete = all(f"{norm}.{part}" in images for part in _NORM)
            fits = complete and len(images[f"{norm}.weight"]) == len(images[name])
            yield Kernel(name, norm if fits else "")


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _norm_of(kernel: str) -> str:
    """What torchvision calls the batch norm of a kernel."""
    *path, layer, _ = ("", *kernel.split("."))
    norm = str(int(layer) + 1) if layer.isdigit() else layer.replace("conv", "bn", 1)
    return ".".join((*path, norm)).removeprefix(".")


def _target_kernels(network: nn.Module, head: set[str]) -> Iterator[Kernel]:
    """The network's spatial kernels in the order of its definition.

    A kernel's batch norm is the one before the next kernel.
    """
    kernel, filters = None, 0
    for path, module in network.named_modules():
        for name, parameter in module.named_parameters(path, recurse=False):
            if parameter.dim() in (4, 5):
                if kernel:
                    yield Kernel(kernel, "")
                usable = name not in head and not _is_temporal(name, parameter)
                kernel, filters = (name if usable else None), len(parameter)
        if kernel and isinstance(module, nn.BatchNorm3d | FixedBatchNorm):
            yield Kernel(kernel, path if len(module.weight) == filters else "")
            kernel = None
    if kernel:
        yield Kernel(kernel, "")


def _is_temporal(name: str, kernel: Tensor) -> bool:
    """Whether it extends over time only, or is such a layer's kernel at L = 1."""
    if kernel.dim() == 4:
        return False
    time, *pixels = kernel.shape[2:]
    return pixels == [1, 1] and (time > 1 or "temporal" in name.split("."))


def _image_shape(kernel: Tensor, *, any_channels: bool) -> tuple[int | None, ...]:
    """(C_out, C_in, h, w) of the kernel for images; C_in is None where any will do."""
    filters, channels = kernel.shape[:2]
    return (filters, None if any_channels else channels, *kernel.shape[-2:])


def _fits(image: Tensor, wanted: tuple[int | None, ...]) -> bool:
    pairs = zip(image.shape, wanted, strict=True)
    return all(size is None or found == size for found, size in pairs)


def _inflated(image: Tensor, shape: torch.Size) -> Tensor:
    if image.shape[1] != shape[1]:
        image = mean_over_channels(image, shape[1])
    return image if len(shape) == 4 else image[:, :, None].expand(shape) / shape[2]
