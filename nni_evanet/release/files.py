"""Release networks on disk: from a TensorFlow checkpoint to safetensors, and back to a network."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from nni_evanet.errors import InputError
from nni_evanet.release.checkpoint import read_checkpoint
from nni_evanet.release.dna import DNAS, decode, find_dna
from nni_evanet.release.network import ReleaseNetwork, build
from nni_evanet.release.variables import STEM_CONV, head_scope, load_variables

_SIZES = ("num_classes", "width", "in_channels")
# What a training run keeps beside the network: its step, and values of the optimizer, either alone
# or below the variable that they belong to.
_OF_TRAINING = re.compile(
    r"global_step|beta[12]_power|(.+/)?(Momentum|Adam(_1)?|RMSProp(_1)?|Adagrad|Adadelta(_1)?)"
)


class Imported(NamedTuple):
    """What `import_release` found in a checkpoint. As text, it is one line that says so.

    Attributes:
        network: `rgb1`, `rgb2` or the DNA.
        num_classes: of the head.
        width: the stem's filters, 64 in the released networks.
        in_channels: 3 for RGB and 2 for optical flow.
        variables: how many were loaded.
        out: the file that was written.
    """

    network: str
    num_classes: int
    width: int
    in_channels: int
    variables: int
    out: Path

    def __str__(self) -> str:
        name = self.network if self.network in DNAS else "DNA"
        return (
            f"{name}: {self.num_classes} classes, width {self.width}, {self.in_channels} input "
            f"channels, {self.variables} variables -> {self.out}"
        )


def import_release(checkpoint: Path | str, network: str, out: Path | str) -> Imported:
    """Turn a TensorFlow checkpoint of a released network into a safetensors file for `load`.

    The number of classes, the width and the input channels are read off the variables. Of the
    checkpoint's variables `global_step`, `beta1_power`, `beta2_power` and those that an optimizer
    keeps below another one's name (`.../Momentum`, `.../Adam`, ...) are ignored; any other that the
    network has not is an error. The file's metadata hold `dna`, `architecture` (JSON),
    `num_classes`, `width` and `in_channels`.

    Args:
        checkpoint: its prefix, one of its files, or a folder with a `checkpoint` file.
        network: `rgb1`, `rgb2`, or a DNA in base64.
        out: the file to write.

    Raises:
        InputError: TensorFlow is missing, the checkpoint cannot be read, it is not one of this
            network (the message names the variables), or the file cannot be written.
    """
    dna, out = find_dna(network), Path(out)
    architecture = decode(dna)
    found = read_checkpoint(Path(checkpoint), wanted=lambda name: not _OF_TRAINING.fullmatch(name))
    sizes = _find_sizes(found)
    model = build(dna, **sizes)
    load_variables(model, found)
    metadata = {"format": "pt", "dna": dna, "architecture": architecture.to_json()}
    metadata |= {name: str(size) for name, size in sizes.items()}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    try:
        save_file(tensors, out, metadata)
    except (OSError, SafetensorError) as error:
        raise InputError(f"out: {out} cannot be written: {error}") from None
    return Imported(network, variables=len(found), out=out, **sizes)


def load(path: Path | str) -> ReleaseNetwork:
    """The network in a file that `import_release` wrote, in evaluation mode.

    Raises:
        InputError: there is no such file, or it is not one of those.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        network = build(metadata["dna"], **{name: int(metadata[name]) for name in _SIZES})
        network.load_state_dict(state)
    except KeyError as error:
        raise InputError(
            f"{path}: no imported release network, its metadata lack {error}"
        ) from None
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: no imported release network: {reason}") from None
    return network.eval()


def _find_sizes(found: Mapping[str, Any]) -> dict[str, int]:
    """The arguments of `build` that the shapes of the first and the last layer tell."""
    first, second = f"{STEM_CONV}/weights", f"{STEM_CONV}s/weights"
    last_of_stem = second if second in found else first  # only a (2+1)D stem has the second
    head = f"{head_scope(found)}/biases"
    places = {"num_classes": (head, 1, -1), "width": (last_of_stem, 5, -1)}
    places["in_channels"] = (first, 5, -2)
    sizes = {}
    for size, (name, dimensions, axis) in places.items():
        if name not in found:
            raise InputError(f"variables: missing: {name}, which tells the {size}")
        shape = found[name].shape
        if len(shape) != dimensions:
            raise InputError(
                f"variables: misshapen: {name} is {shape}, not {dimensions}-dimensional"
            )
        sizes[size] = int(shape[axis])
    return sizes
