"""Parameters and arithmetic against a count by hand."""

import pytest
import torch

from nni_evanet.architecture import Architecture, Module, ResNetStem, Stream
from nni_evanet.layers import ITGM, Conv2Plus1d, Conv3d
from nni_evanet.networks import build_network
from nni_evanet.networks.cost import count_macs, count_parameters

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (Conv3d(3, 5, 7), 7 * 9 * 3 * 5),
        (ITGM(3, 5, 7), 9 * 3 * 5 + 7 * 5),
        (Conv2Plus1d(3, 5, 7), 9 * 3 * 5 + 7 * 5 * 5),
        (Conv3d(3, 5, 1, spatial=1), 3 * 5),
    ],
)
def test_a_layer_by_hand(layer, macs):
    assert count_macs(layer, (3, 8, 6, 6)) == 8 * 6 * 6 * macs


def test_taps_beyond_a_short_clip_do_not_count():
    assert count_macs(Conv3d(3, 5, 11), (3, 2, 6, 6)) == 2 * 6 * 6 * 3 * 9 * 3 * 5


def test_a_network_by_hand():
    stem = ResNetStem("conv3d", 3, 1, 1, 1)
    modules = (Module(1, (Stream("conv1x1x1"),)),) * 4
    network = build_network(Architecture("resnet", stem, modules), num_classes=5, width=2)
    macs = 8 * 32 * 32 * 2 * 3 * 3 * 7 * 7  # stem: 16 x 64 x 64 to 8 x 32 x 32
    channels = 2
    for filters, size in zip((8, 16, 32, 64), (16, 8, 4, 2), strict=True):
        macs += 4 * size * size * 2 * channels * filters  # the stream and the shortcut
        channels = filters
    macs += 3 * 64 * 5  # four frames, three windows
    assert count_macs(network, (3, 16, 64, 64)) == macs
    weights = sum(p.numel() for p in network.parameters())
    assert count_parameters(network) == weights
    network.stem.requires_grad_(False)
    assert count_parameters(network) == weights - 2 * 3 * 3 * 7 * 7 - 2 * 2


def test_counting_changes_nothing():
    stem = ResNetStem("itgm", 3, 1, 1, 1)
    modules = (Module(2, (Stream("conv", "conv2plus1d", 3),)),) * 4
    network = build_network(Architecture("resnet", stem, modules), num_classes=5, width=4)
    network.head.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    count_macs(network, (3, 1, 16, 16))
    assert modes == [module.training for module in network.modules()]
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
