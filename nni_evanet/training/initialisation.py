"""Where a network's first weights come from: another network's file, or drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nni_evanet import release
from nni_evanet.errors import InputError
from nni_evanet.networks.blueprint import Blueprint, head_tensors, input_tensors
from nni_evanet.networks.files import load_network, read_metadata


@dataclass(frozen=True, kw_only=True)
class Initialisation:
    """What a network was given, by the names of its tensors.

    Args:
        source: the file.
        taken: from which of the source's tensors each came.
        fresh: the network's tensors with initial values.
        unused: the source's tensors that nothing was made of.
        notes: what was changed on the way, one sentence each.
    """

    source: str
    taken: dict[str, str]
    fresh: tuple[str, ...]
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For a log: what was taken, what was not, tensor by tensor where names differ."""
        total = len(self.taken) + len(self.fresh)
        lines = [f"{self.source}: {len(self.taken)} of {total} tensors taken", *self.notes]
        lines += [f"  {name} <- {of}" for name, of in self.taken.items() if name != of]
        if self.fresh:
            lines.append(f"not taken, initial values: {', '.join(self.fresh)}")
        if self.unused:
            lines.append(f"unused in the file: {', '.join(self.unused)}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A trained network to start from.

    Args:
        path: its file.
        blueprint: what it is built from.
        state: its tensors.
        classes: their names; None in an imported release network, which has a number of them only.
    """

    path: Path
    blueprint: Blueprint
    state: dict[str, Tensor]
    classes: tuple[str, ...] | None


def read_source(path: Path) -> Source:
    """The network in a file of `nni-evanet train` or `nni-evanet import-release`.

    Raises:
        InputError: neither.
    """
    if "dna" in (metadata := read_metadata(path)):
        imported = release.load(path)
        blueprint = Blueprint(release=metadata["dna"], width=int(metadata["width"]))
        return Source(path=path, blueprint=blueprint, state=imported.state_dict(), classes=None)
    network = load_network(path)
    card: Any = network.card
    return Source(
        path=path, blueprint=card.blueprint, state=network.state_dict(), classes=card.classes
    )


def choose_blueprint(
    given: Blueprint | None, source: Source | None, stretch: int | None
) -> Blueprint:
    """What to train: what was asked for, or else the initial network, stretched where asked.

    Raises:
        InputError: neither is given; both are, and differ in more than iTGM's temporal sizes.
    """
    if given is None and source is None:
        raise InputError("no network: give --architecture, --baseline or --init")
    if given is None:
        assert source is not None
        return source.blueprint if stretch is None else source.blueprint.stretched(stretch)
    if stretch is not None:
        raise InputError("--stretch is for the network of --init: give no other")
    if source is not None and _unstretched(given) != _unstretched(source.blueprint):
        raise InputError(
            f"{source.path}: {source.blueprint.describe()} differs from {given.describe()} in more "
            "than iTGM's temporal sizes"
        )
    return given


def initialise_from(
    network: nn.Module, blueprint: Blueprint, source: Source, classes: Sequence[str]
) -> Initialisation:
    """Give a network the weights of another that differs in its head, its input or iTGM's sizes.

    The head is taken where the classes are the same ones in the same order, in an imported release
    network where their number is the same. A first layer for other channels gets the mean over the
    source's, for each of its own.
    """
    state = network.state_dict()
    head, first = head_tensors(blueprint), input_tensors(blueprint)
    notes, taken, fresh = [], {}, []
    keep_head = _same_classes(source, head, state, classes)
    if not keep_head:
        notes.append(f"new head: the classes are not those of {source.path}")
    for name, tensor in state.items():
        value = source.state[name]
        if name in head and not keep_head:
            fresh.append(name)
            continue
        if name in first and value.shape != tensor.shape:
            notes.append(f"{name}: the mean over {value.shape[1]} channels for each")
            value = mean_over_channels(value, tensor.shape[1])
        tensor.copy_(value)
        taken[name] = name
    if source.blueprint != blueprint:
        notes.append(f"iTGM stretched: {source.blueprint.describe()} to {blueprint.describe()}")
    return Initialisation(
        source=str(source.path), taken=taken, fresh=tuple(fresh), notes=tuple(notes)
    )


def zero_head_(network: nn.Module, blueprint: Blueprint) -> None:
    """Start from equal predictions for all classes, as a search's trials do."""
    state = network.state_dict()
    for name in head_tensors(blueprint):
        nn.init.zeros_(state[name])


def mean_over_channels(kernel: Tensor, in_channels: int) -> Tensor:
    """A kernel (C_out, C, ...) for `in_channels` inputs that are all treated alike."""
    mean = kernel.mean(1, keepdim=True)
    return mean.expand(-1, in_channels, *mean.shape[2:])


def _same_classes(
    source: Source, head: set[str], state: dict[str, Tensor], classes: Sequence[str]
) -> bool:
    if source.classes is not None:
        return source.classes == tuple(classes)
    return all(source.state[name].shape == state[name].shape for name in head)


def _unstretched(blueprint: Blueprint) -> Blueprint:
    """The same for all that differ in iTGM's temporal sizes only."""
    if blueprint.architecture is not None:
        return replace(blueprint, architecture=blueprint.architecture.stretched(3))
    return replace(blueprint, stretch=None)
