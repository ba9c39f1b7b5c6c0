"""Clips, architectures and network files that the tests of training share."""

from fractions import Fraction

import pytest
import torch

from nni_evanet.architecture import Architecture, Module, ResNetStem, Stream
from nni_evanet.data.moving_digits import make_moving_digits
from nni_evanet.networks.blueprint import Blueprint
from nni_evanet.networks.card import NetworkCard
from nni_evanet.networks.files import save_network

STREAMS = (Stream("conv", "conv3d", 3), Stream("conv_conv", "conv2plus1d", 3, "itgm", 5))
SMALL = Architecture("resnet", ResNetStem("itgm", 5, 1, 3, 1), (Module(1, STREAMS),) * 4)


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A tiny set of real clips."""
    folder = tmp_path_factory.mktemp("clips") / "moving_digits"
    make_moving_digits(folder, clips_per_class=3, seed=0)
    return folder


@pytest.fixture(scope="session")
def architecture_file(tmp_path_factory):
    """The file of `SMALL`."""
    path = tmp_path_factory.mktemp("architecture") / "architecture.json"
    path.write_text(SMALL.to_json())
    return path


@pytest.fixture
def small_blueprint():
    return Blueprint(architecture=SMALL, width=4)


@pytest.fixture
def make_network_file(tmp_path):
    """Writes a network with random weights, and gives its path and the network."""

    def make(blueprint, *, classes=("a", "b", "c"), modality="rgb", name="network.safetensors"):
        card = NetworkCard(
            blueprint=blueprint,
            classes=classes,
            modality=modality,
            frames=8,
            size=16,
            fps=Fraction(25),
            margin=8 / 7,
            multi_label=False,
            dropout=0.5,
            dataset="test",
        )
        torch.manual_seed(1)
        network = blueprint.build(num_classes=card.num_classes, in_channels=card.in_channels)
        with torch.no_grad():
            for tensor in network.state_dict().values():
                if tensor.is_floating_point():
                    tensor += 0.1 * torch.rand_like(tensor)
        save_network(tmp_path / name, network, card)
        return tmp_path / name, network.eval()

    return make
