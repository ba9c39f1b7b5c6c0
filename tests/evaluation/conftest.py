"""Clips, flow and network files that the tests of evaluation share."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from trees import flow_tree

from nni_evanet.data import load_dataset
from nni_evanet.data.moving_digits import make_moving_digits
from nni_evanet.networks.blueprint import Blueprint
from nni_evanet.networks.card import NetworkCard
from nni_evanet.networks.files import save_network


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A tiny set of real clips."""
    folder = tmp_path_factory.mktemp("clips") / "moving_digits"
    make_moving_digits(folder, clips_per_class=10, seed=0)
    return folder


@pytest.fixture(scope="session")
def flow(digits, tmp_path_factory):
    """A folder of flow of the test clips."""
    videos = load_dataset("moving-digits", digits, subset="test")
    return flow_tree(tmp_path_factory.mktemp("flow"), videos, frames=9)


@pytest.fixture(scope="session")
def digits_card(digits):
    """Of a network for the digits."""
    videos = load_dataset("moving-digits", digits, subset="test")
    return NetworkCard(
        blueprint=Blueprint(baseline="inception-itgm", width=4),
        classes=videos.classes,
        modality="rgb",
        frames=8,
        size=16,
        fps=Fraction(25),
        margin=1.0,
        multi_label=False,
        dropout=0.0,
        dataset="moving-digits",
    )


@pytest.fixture(scope="session")
def make_network(tmp_path_factory, digits_card):
    """Writes a network with random weights to <name>/network.safetensors."""
    folder = tmp_path_factory.mktemp("networks")

    def make(name, *, seed=0, **card):
        card = replace(digits_card, **card)
        torch.manual_seed(seed)
        network = card.blueprint.build(num_classes=card.num_classes, in_channels=card.in_channels)
        with torch.no_grad():
            # Batch norm has seen nothing: without this its outputs are almost constant.
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm3d):
                    module.running_var.uniform_(0.4, 1.0)
        path = folder / name / "network.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_network(path, network, card)
        return path

    return make


@pytest.fixture(scope="session")
def networks(make_network):
    """Two RGB networks and one for flow."""
    first, second = make_network("first"), make_network("second", seed=1)
    return first, second, make_network("moves", seed=2, modality="flow")
