"""Stretched networks keep every weight and have longer iTGM kernels."""

import random

import pytest
import torch
from torch import nn

from nni_evanet import release
from nni_evanet.architecture import Architecture, InceptionStem, Module, ResNetStem, Stream
from nni_evanet.errors import InputError
from nni_evanet.layers import ITGM
from nni_evanet.networks import build_network
from nni_evanet.networks.baselines import build_baseline
from nni_evanet.networks.stretch import stretch_network, stretch_weights
from nni_evanet.release.layers import CauchyITGM

torch.set_num_threads(1)

STREAMS = (
    Stream("conv_conv", "itgm", 3, "conv2plus1d", 5),
    Stream("conv", "itgm", 1),
    Stream("pool", time=3),
)
ARCHITECTURES = {
    "resnet": Architecture(
        "resnet", ResNetStem("itgm", 5, 3, 1, 1), (Module(2, STREAMS), Module(1, STREAMS)) * 2
    ),
    "inception": Architecture(
        "inception", InceptionStem("conv2plus1d", 7, 1, "itgm", 3, 1), (Module(1, STREAMS),) * 9
    ),
}


def trained(architecture: Architecture, **options) -> nn.Module:
    """A network whose every parameter and statistic is unlike the initial one."""
    torch.manual_seed(0)
    network = build_network(architecture, **{"num_classes": 5, "width": 8} | options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * parameter.std(correction=0) * torch.randn_like(parameter) + 0.01
        network(torch.randn(2, network.in_channels, 6, 16, 16))
    return network.eval()


def itgm_times(network: nn.Module) -> list[int]:
    return [layer.time for layer in network.modules() if isinstance(layer, ITGM)]


def assert_same_weights(network: nn.Module, other: nn.Module) -> None:
    state, expected = network.state_dict(), other.state_dict()
    assert state.keys() == expected.keys()
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


@pytest.mark.parametrize("meta", ARCHITECTURES)
def test_every_weight_is_carried_over_and_every_itgm_is_longer(meta):
    architecture = ARCHITECTURES[meta]
    network = trained(architecture)
    stretched = stretch_weights(network, architecture, 11)
    assert_same_weights(stretched, network)
    before, after = itgm_times(network), itgm_times(stretched)
    assert after == [1 if time == 1 else 11 for time in before]
    assert {1, 11} == set(after)
    fresh = build_network(architecture.stretched(11), num_classes=5, width=8)
    assert itgm_times(fresh) == after
    assert str(fresh) == str(stretched)


@pytest.mark.parametrize("meta", ARCHITECTURES)
def test_network_and_state_dict_and_layers_agree(meta):
    architecture = ARCHITECTURES[meta]
    network = trained(architecture, in_channels=2, num_classes=7, width=6)
    clips = torch.randn(2, 2, 12, 20, 20)
    state = dict(sorted(network.state_dict().items()))  # as a safetensors file orders them
    outputs = [
        stretched.eval()(clips)
        for stretched in (
            stretch_weights(network, architecture, 9),
            stretch_weights(state, architecture, 9),
            stretch_network(network, 9),
        )
    ]
    assert outputs[0].shape == (2, 7)
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[0], outputs[2])
    assert not torch.allclose(outputs[0], network(clips))


def test_each_kernel_is_the_layers_own_stretched():
    network = trained(ARCHITECTURES["resnet"])
    stretched = stretch_network(network, 7)
    for layer, longer in zip(network.modules(), stretched.modules(), strict=True):
        if isinstance(layer, ITGM) and layer.time > 1:
            expected = layer.stretch(7).temporal_kernel()
            torch.testing.assert_close(longer.temporal_kernel(), expected)


def test_the_original_stays():
    network = trained(ARCHITECTURES["resnet"])
    times, clips = itgm_times(network), torch.randn(1, 3, 6, 16, 16)
    expected = network(clips)
    stretched = stretch_network(network, 11)
    with torch.no_grad():
        for parameter in stretched.parameters():
            parameter.zero_()
    assert itgm_times(network) == times
    torch.testing.assert_close(network(clips), expected, rtol=0, atol=0)


def test_to_its_own_size_nothing_changes():
    stream = Stream("conv", "itgm", 3)
    architecture = Architecture(
        "resnet", ResNetStem("itgm", 3, 1, 1, 1), (Module(1, (stream,)),) * 4
    )
    network = trained(architecture)
    clips = torch.randn(1, 3, 6, 16, 16)
    same = stretch_weights(network, architecture, 3).eval()
    torch.testing.assert_close(same(clips), network(clips), rtol=0, atol=0)


def test_longer_and_back():
    network = trained(ARCHITECTURES["resnet"])
    back = stretch_network(stretch_network(network, 11), 3)
    assert itgm_times(back) == [1 if time == 1 else 3 for time in itgm_times(network)]
    assert_same_weights(back, network)


def test_a_network_without_itgm_stays_what_it_is():
    architecture = ARCHITECTURES["resnet"].with_ops(itgm="conv2plus1d")
    network = trained(architecture)
    clips = torch.randn(1, 3, 6, 16, 16)
    stretched = stretch_weights(network, architecture, 11).eval()
    torch.testing.assert_close(stretched(clips), network(clips), rtol=0, atol=0)


def test_itgm_baseline_from_3_to_11_frames():
    """Table 11: the baseline with L = 3 stretched to 11."""
    network = build_baseline("inception-itgm", num_classes=5, width=8)
    stretched = stretch_network(network, 11)
    assert (itgm_times(network), itgm_times(stretched)) == ([3] * 20, [11] * 20)
    assert_same_weights(stretched, network)
    assert stretched(torch.randn(2, 3, 4, 16, 16)).shape == (2, 5)


def test_precision_and_mode_are_kept():
    network = trained(ARCHITECTURES["resnet"]).double()
    assert not stretch_network(network, 11).training
    for stretched in (
        stretch_network(network, 11),
        stretch_weights(network, ARCHITECTURES["resnet"], 11),
    ):
        assert all(p.dtype == torch.float64 for p in stretched.parameters())


@pytest.mark.parametrize("time", [0, 1, 4, -3, 13, "11"])
def test_no_such_temporal_size(time):
    architecture = ARCHITECTURES["resnet"]
    network = build_network(architecture, num_classes=5, width=8)
    with pytest.raises(InputError, match="time"):
        stretch_weights(network, architecture, time)
    if time not in (4, 13):
        with pytest.raises(InputError, match="time"):
            stretch_network(network, time)


def test_weights_of_another_network_are_refused_in_one_line():
    network = trained(ARCHITECTURES["resnet"])
    other = Architecture.random("resnet", random.Random(0))
    states = (network.state_dict(), {}, {"head.classifier.weight": torch.zeros(5, 8, 1, 1, 1)})
    for state in states:
        with pytest.raises(InputError, match="weights: ") as error:
            stretch_weights(state, other, 11)
        assert "\n" not in str(error.value)


def test_the_authors_networks_are_stretched_too():
    network = release.build("rgb1", num_classes=3, width=8)
    longer = stretch_network(network, 11)
    kernels = [m for m in network.modules() if isinstance(m, CauchyITGM) and m.time > 1]
    assert kernels and {m.time for m in longer.modules() if isinstance(m, CauchyITGM)} == {1, 11}
    assert all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(network.parameters(), longer.parameters(), strict=True)
    )
    assert longer.eval()(torch.randn(1, 3, 4, 32, 32)).shape == (1, 3)
