"""Layers by type, receptive field and memory: by hand, by brute force, and by published numbers."""

import random
from statistics import fmean

import pytest
import torch
from torch import nn

from nni_evanet import release
from nni_evanet.architecture import Architecture, InceptionStem, Module, ResNetStem, Stream
from nni_evanet.errors import InputError
from nni_evanet.layers import ITGM, Conv2Plus1d, Conv3d, MaxPool3d
from nni_evanet.networks import build_network
from nni_evanet.networks.baselines import build_baseline
from nni_evanet.networks.cost import count_macs, count_parameters
from nni_evanet.report.memory import parameter_bytes, peak_activation_bytes
from nni_evanet.report.receptive_field import temporal_receptive_field
from nni_evanet.report.statistics import count_layers, describe, measure_cost

torch.set_num_threads(1)

POINT = Stream("conv1x1x1")


def counts(architecture: Architecture, *, with_repeats: bool) -> dict[str, tuple]:
    found = count_layers(architecture, with_repeats=with_repeats)
    return {kind: (count.layers, count.mean_time) for kind, count in found.items()}


def test_layers_of_rgb1_by_hand():
    rgb1 = release.architecture("rgb1")
    assert counts(rgb1, with_repeats=False) == {
        "conv3d": (4, fmean([1, 1, 5, 1])),
        "conv2plus1d": (1, 3),  # the stem's
        "itgm": (2, fmean([11, 3])),
        "pool": (8, fmean([1, 1, 9, 7, 3, 7, 11, 11])),
        "conv1x1x1": (14, 1),
    }
    # Repeats: 2, 4, 5, 3. Of 4, two have the time of convolutions; of 5, three; of 3, two.
    assert counts(rgb1, with_repeats=True) == {
        "conv3d": (2 + 2 * 4 + 3, fmean([*[1] * 11, 5, 5])),
        "conv2plus1d": (1, 3),
        "itgm": (5 + 3, fmean([11, 11, 11, 1, 1, 3, 3, 1])),
        "pool": (23, fmean([1, 1, 1, 9, *[7] * 2, *[3] * 4, *[7, 11] * 5, *[11] * 3])),
        "conv1x1x1": (2 * 2 + 5 * 4 + 4 * 5 + 3 * 3, 1),
    }


def test_layers_of_rgb2_by_hand():
    rgb2 = release.architecture("rgb2")
    assert counts(rgb2, with_repeats=False) == {
        "conv3d": (2, 1),
        "conv2plus1d": (6, fmean([3, 9, 5, 11, 11, 1])),
        "itgm": (2, 1),
        "pool": (11, fmean([1, 3, 9, 1, 3, 1, 1, 7, 5, 9, 5])),
        "conv1x1x1": (16, 1),
    }


def test_without_alternation_every_repeat_has_its_times():
    stem = ResNetStem("conv3d", 7, 1, 1, 1)
    module = Module(3, (Stream("conv", "itgm", 9),))
    for alternate, mean in ((True, fmean([9, 1, 9])), (False, 9)):
        architecture = Architecture("resnet", stem, (module,) * 4, alternate)
        assert counts(architecture, with_repeats=True)["itgm"] == (12, mean)
        assert counts(architecture, with_repeats=False)["itgm"] == (4, 9)


def test_layers_of_an_inception_like_architecture_by_hand():
    stem = InceptionStem("conv3d", 7, 3, "itgm", 5, 9)
    modules = (Module(1, (Stream("pool", time=11), POINT)),) * 9
    architecture = Architecture("inception", stem, modules)
    # Neither the 1x1x1 of the stem nor the two pools between modules are searched.
    expected = {
        "conv3d": (1, 7),
        "conv2plus1d": (0, None),
        "itgm": (1, 5),
        "pool": (11, fmean([3, 9, *[11] * 9])),
        "conv1x1x1": (18, 1),
    }
    assert counts(architecture, with_repeats=False) == expected
    assert counts(architecture, with_repeats=True) == expected


@pytest.mark.parametrize("meta", ["resnet", "inception"])
@pytest.mark.parametrize("seed", range(4))
def test_with_repeats_they_are_the_layers_that_the_network_has(meta, seed):
    architecture = Architecture.random(meta, random.Random(seed))
    network = build_network(architecture, num_classes=5, width=8)
    inner = {m for c in network.modules() if isinstance(c, Conv2Plus1d) for m in c.modules()} - {
        c for c in network.modules() if isinstance(c, Conv2Plus1d)
    }
    times: dict[str, list[int]] = {"conv3d": [], "conv2plus1d": [], "itgm": [], "pool": []}
    for module in network.modules():
        if isinstance(module, Conv3d) and module not in inner and module.weight.shape[-1] > 1:
            times["conv3d"].append(module.weight.shape[2])
        elif isinstance(module, Conv2Plus1d):
            times["conv2plus1d"].append(module.temporal.weight.shape[2])
        elif isinstance(module, ITGM):
            times["itgm"].append(module.time)
        elif isinstance(module, MaxPool3d):
            times["pool"].append(module.kernel[0])
    if meta == "inception":
        times["pool"] = sorted(times["pool"])
        times["pool"].remove(3)
        times["pool"].remove(2)
    found = counts(architecture, with_repeats=True)
    for kind, of_kind in times.items():
        assert found[kind][0] == len(of_kind)
        if of_kind:
            assert found[kind][1] == pytest.approx(fmean(of_kind))


@pytest.mark.parametrize("name", ["i3d", "s3d"])
def test_i3d_and_s3d_see_the_papers_99_frames(name):
    assert temporal_receptive_field(build_baseline(name, num_classes=4)) == 99


def test_receptive_field_by_hand():
    # The stem sees 5 frames in steps of 2, its pool 5 + 2 * 2 in steps of 4. In every module two
    # convolutions widen by (3 - 1 + 7 - 1) * 4, a pool of another stream by less; odd repeats,
    # where convolutions have no time, by the pool's (5 - 1) * 4; the pools between by 2 * 4 each.
    module = Module(
        2, (Stream("conv_conv", "conv3d", 3, "conv2plus1d", 7), Stream("pool", time=5), POINT)
    )
    for alternate, expected in ((True, 9 + 4 * (32 + 16) + 3 * 8), (False, 9 + 4 * 64 + 3 * 8)):
        stem = ResNetStem("itgm", 5, 3, 3, 3)
        architecture = Architecture("resnet", stem, (module,) * 4, alternate)
        network = build_network(architecture, num_classes=5, width=2)
        assert temporal_receptive_field(network) == expected


PAIR = Stream("conv_conv", "itgm", 3, "conv2plus1d", 5)
MIXED = (
    Module(2, (PAIR, POINT)),
    Module(3, (Stream("pool", time=5), Stream("conv", "conv3d", 3))),
    Module(1, (Stream("conv", "itgm", 1),)),
    Module(2, (Stream("pool", time=3), PAIR, POINT)),
)
SMALL = {
    "resnet": Architecture("resnet", ResNetStem("conv2plus1d", 5, 3, 1, 5), MIXED),
    "resnet, no alternation": Architecture("resnet", ResNetStem("itgm", 3, 1, 3, 1), MIXED, False),
    "three modules": Architecture("resnet", ResNetStem("itgm", 3, 3, 5), MIXED[:3]),
    "inception": Architecture(
        "inception",
        InceptionStem("conv3d", 3, 3, "itgm", 5, 1),
        tuple(Module(1, module.streams) for module in (*MIXED, *MIXED, MIXED[2])),
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_receptive_field_is_what_frames_have_an_effect(name):
    """With positive weights a frame has an effect if and only if there is a path from it."""
    network = build_network(SMALL[name], num_classes=2, in_channels=1, width=4).eval().double()
    for parameter in network.parameters():
        if parameter.dim() > 2:
            parameter.data.abs_()
    expected = temporal_receptive_field(network, in_channels=1)
    frames = 2 * expected
    features = []
    network.head.register_forward_pre_hook(lambda _, args: features.append(args[0]))
    with torch.no_grad():
        network(torch.eye(frames, dtype=torch.float64).reshape(frames, 1, frames, 1, 1))
    middle = features[0][:, :, features[0].shape[2] // 2].flatten(1).amax(1)
    seen = middle.nonzero().flatten()
    assert expected == seen[-1] - seen[0] + 1
    # The stem's pool of one frame moves by two, and so leaves out some.
    assert (len(seen) < expected) == (name == "resnet, no alternation")
    assert seen[0] > 0 and seen[-1] < frames - 1


@pytest.mark.parametrize(
    ("name", "million", "gmacs"), [("rgb1", 32.80, (45.4, 142.7)), ("rgb2", 40.30, (32.7, 101.0))]
)
def test_cost_of_the_released_networks_is_the_published(name, million, gmacs):
    with torch.device("meta"):
        network = release.build(name, num_classes=400)
    assert count_parameters(network) / 1e6 == pytest.approx(million, abs=0.005)
    assert parameter_bytes(network) == 4 * count_parameters(network)
    for clip, expected in zip(((3, 32, 176, 176), (3, 64, 224, 224)), gmacs, strict=True):
        assert count_macs(network, clip) / 1e9 == pytest.approx(expected, abs=0.05)
    ours = build_network(release.architecture(name), num_classes=4, width=8)
    assert temporal_receptive_field(network) == temporal_receptive_field(ours)


def test_memory_by_hand():
    network = nn.Sequential(nn.Conv3d(3, 8, 1), nn.ReLU(inplace=True), nn.Conv3d(8, 2, 1))
    voxels = 4 * 5 * 6
    # The clip lives on outside, beside the input and the output of the last convolution.
    assert peak_activation_bytes(network, (3, 4, 5, 6)) == 4 * voxels * (3 + 8 + 2)
    network[1].inplace = False
    assert peak_activation_bytes(network, (3, 4, 5, 6)) == 4 * voxels * (3 + 8 + 8)
    assert peak_activation_bytes(network.half(), (3, 4, 5, 6)) == 2 * voxels * (3 + 8 + 8)
    assert parameter_bytes(network) == 2 * (3 * 8 + 8 + 8 * 2 + 2)


def test_views_take_no_memory_and_parallel_branches_do():
    class Branches(nn.Module):
        def forward(self, x):
            y = x.flatten(3).unflatten(3, x.shape[3:])
            return torch.cat([y + 1, y + 2, y + 3], 1)

    assert peak_activation_bytes(Branches(), (1, 2, 4, 4)) == 4 * 32 * (1 + 3 + 3)


def test_measuring_changes_nothing():
    network = build_baseline("inception-itgm", num_classes=4, width=8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    temporal_receptive_field(network)
    peak_activation_bytes(network, (3, 2, 16, 16))
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_description_has_the_table_and_the_cost():
    rgb1 = release.architecture("rgb1")
    text = describe(rgb1, frames=32, size=176, num_classes=400)
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert lines["iTGM"] == ["2", "7.00", "8", "5.25"]
    assert lines["(2+1)D"] == ["1", "3.00", "1", "3.00"]
    cost = measure_cost(rgb1, frames=32, size=176, num_classes=400)
    assert lines["parameters"][:2] == [f"{cost.parameters / 1e6:.2f}", "M"]
    assert lines["arithmetic"][:2] == [f"{cost.macs / 1e9:.4g}", "GMACs"]
    assert f"{cost.receptive_field} frames" in text
    assert f"{cost.parameter_bytes / 2**20:.1f} MiB parameters" in text
    assert f"{cost.activation_bytes / 2**20:.1f} MiB feature maps" in text


def test_cost_is_that_of_the_network():
    architecture = Architecture.random("inception", random.Random(3))
    cost = measure_cost(architecture, frames=5, size=20, num_classes=7, in_channels=2, width=8)
    network = build_network(architecture, num_classes=7, in_channels=2, width=8)
    assert cost.parameters == sum(p.numel() for p in network.parameters())
    assert cost.macs == count_macs(network, (2, 5, 20, 20))
    assert cost.receptive_field == temporal_receptive_field(network, in_channels=2)
    assert cost.activation_bytes == peak_activation_bytes(network, (2, 5, 20, 20))


@pytest.mark.parametrize(
    "wrong", [{"frames": 0}, {"size": 8}, {"num_classes": 0}, {"width": 0}, {"in_channels": -1}]
)
def test_arguments_out_of_range_are_named(wrong):
    arguments = {"frames": 4, "size": 16, "num_classes": 5, "in_channels": 3} | wrong
    with pytest.raises(InputError, match=next(iter(wrong))):
        describe(SMALL["resnet"], **arguments)
