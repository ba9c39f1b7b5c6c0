"""Whole networks against the release's: outputs, gradients, moving statistics, cost."""

import copy

import numpy as np
import pytest
import torch
from release_reference import read
from torch import Tensor, nn

from nni_evanet import release
from nni_evanet.errors import InputError
from nni_evanet.networks.cost import count_macs, count_parameters
from nni_evanet.release.batch_norm import FixedBatchNorm
from nni_evanet.release.network import Head

OUTPUTS = 1e-4
TRAINING = 1e-3
# Of this stream's channels no window of the next max-pool is cut by the ReLU throughout. So its
# offset arrives at the next batch norms as a constant, and they take it away: the gradient is zero,
# and the reference is nothing but rounding.
ZERO = "VidIncRes/res_block_4/Block_4/res_block_4/Branch_2/BatchNorm_1/beta"


@pytest.fixture
def network(rgb1_variables):
    """`rgb1` with the reference's variables, in evaluation mode, without dropout."""
    network = release.build("rgb1", num_classes=51, width=8, dropout=0.0)
    release.load_variables(network, rgb1_variables)
    return network.eval()


def clips(videos: np.ndarray) -> Tensor:
    return torch.from_numpy(videos).movedim(-1, 1)


def their_layout(y: Tensor) -> Tensor:
    return y if y.dim() == 2 else y.movedim(1, -1)


def check_endpoints(network, data, prefix, compare, bar):
    expected = {k.removeprefix(prefix): v for k, v in data.items() if k.startswith(prefix)}
    video = expected.pop("video", data.get("video"))
    outputs = network.endpoints(clips(video))
    assert "Logits" in expected
    for name, reference in expected.items():
        assert compare(prefix + name, their_layout(outputs[name]), reference) < bar
    return outputs["Logits"]


@torch.no_grad()
def test_endpoints_of_the_input_that_the_tests_carry(network, rgb1, compare):
    logits = check_endpoints(network, rgb1, "in0/", compare, OUTPUTS)
    assert torch.equal(network(clips(rgb1["in0/video"])), logits)
    assert list(network.endpoints(clips(rgb1["in0/video"]))) == [
        "Conv2d_1a_7x7",
        "maxpool1",
        "res_block_2",
        "maxpool2",
        "res_block_3",
        "maxpool3",
        "res_block_4",
        "maxpool4",
        "res_block_5",
        "Logits",
    ]


@torch.no_grad()
@pytest.mark.parametrize("name", ["in1", "in2"])
def test_endpoints_of_the_other_inputs(network, whole_data, name, compare):
    check_endpoints(network, read(whole_data / "rgb1_w8_c51.npz"), f"{name}/", compare, OUTPUTS)


@pytest.mark.parametrize("threads", [1, 2])
def test_training(network, whole_data, compare, threads):
    torch.set_num_threads(threads)
    data = read(whole_data / "rgb1_w8_c51_train.npz")
    logits = check_endpoints(network.train(), data, "ep/", compare, TRAINING)
    (logits * torch.from_numpy(data["coef"])).sum().backward()
    variables = release.variables(network)
    updated = {k.removeprefix("after/"): v for k, v in data.items() if k.startswith("after/")}
    assert updated.keys() == {name for name in variables if "moving_" in name}
    for name, reference in updated.items():
        assert compare(name, variables[name], reference) < TRAINING
    check_gradients(network, data, compare)


def check_gradients(network, data, compare):
    gradients = copy.deepcopy(network)
    for ours, parameter in zip(gradients.parameters(), network.parameters(), strict=True):
        ours.data = parameter.grad
    ours = release.variables(gradients)
    theirs = {
        name.removeprefix("grad/").replace("Logits/Conv/", "Logits/Conv3d/"): gradient
        for name, gradient in data.items()
        if name.startswith("grad/")
    }
    assert theirs.keys() == {name for name in ours if "moving_" not in name}
    largest = max(np.abs(gradient).max() for gradient in theirs.values())
    for name, reference in theirs.items():
        if name == ZERO:
            assert max(ours[name].abs().max(), np.abs(reference).max()) < 1e-6 * largest
        else:
            assert compare(f"gradient of {name}", ours[name], reference) < TRAINING, name


def test_the_batch_norm_within_a_2plus1d_does_not_train_its_statistics(network):
    before = network.stem.conv.conv.norm.running_mean.clone()
    network.train()(torch.randn(2, 3, 4, 32, 32))
    assert isinstance(network.stem.conv.conv.norm, FixedBatchNorm)
    assert torch.equal(network.stem.conv.conv.norm.running_mean, before)


COSTS = {
    "rgb1": (32.80, {(32, 176): 45.4, (64, 224): 142.7, (128, 224): 285.4}),
    "rgb2": (40.30, {(32, 176): 32.7, (64, 224): 101.0, (128, 224): 202.0}),
}


@pytest.mark.parametrize("name", COSTS)
def test_the_cost_at_full_width_is_the_release_s(name):
    millions, arithmetic = COSTS[name]
    with torch.device("meta"):
        network = release.build(name, num_classes=400)
    assert round(count_parameters(network) / 1e6, 2) == millions
    for (frames, size), macs in arithmetic.items():
        assert round(count_macs(network, (3, frames, size, size)) / 1e9, 1) == macs


@pytest.mark.parametrize("name", ["rgb1", "rgb2"])
@pytest.mark.parametrize("size", [(1, 16, 16), (5, 33, 31), (3, 64, 40)])
def test_any_clip_that_is_not_wider_than_high(name, size):
    network = release.build(name, num_classes=4, width=12)
    logits = network(torch.randn(2, 3, *size))
    assert logits.shape == (2, 4)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_a_clip_wider_than_high_is_one_clear_line():
    network = release.build("rgb1", num_classes=4, width=8).eval()
    with pytest.raises(InputError, match="1 high and 3 wide"):
        network(torch.randn(1, 3, 2, 32, 96))


def test_clips_of_another_shape():
    network = release.build("rgb1", num_classes=4, width=8)
    with pytest.raises(ValueError, match="expected clips"):
        network(torch.randn(1, 2, 4, 32, 32))


def test_the_head_averages_over_squares():
    head = Head(5, 3, dropout=0.5).eval()
    x = torch.randn(2, 5, 3, 6, 4)
    windows = [x[:, :, t : t + 2, h : h + 4].mean((2, 3, 4)) for t in range(2) for h in range(3)]
    weight, bias = head.classifier.weight.flatten(1), head.classifier.bias
    expected = torch.stack([nn.functional.linear(w, weight, bias) for w in windows]).mean(0)
    torch.testing.assert_close(head(x), expected)


def test_width_scales_the_filters():
    for width, filters in {8: (32, 60, 128, 255), 64: (256, 510, 1024, 2046)}.items():
        with torch.device("meta"):
            network = release.build("rgb1", num_classes=4, width=width)
        assert network.stem.conv.norm.num_features == width
        assert tuple(stage[-1].out_channels for stage in network.stages) == filters


def test_input_of_optical_flow():
    network = release.build("rgb2", num_classes=4, width=8, in_channels=2).eval()
    assert network(torch.randn(1, 2, 4, 32, 32)).shape == (1, 4)


@pytest.mark.parametrize("name", ["num_classes", "width", "in_channels"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "51", True, None])
def test_a_wrong_size_is_one_clear_line(name, value):
    arguments = {"num_classes": 51, "width": 8} | {name: value}
    with pytest.raises(InputError) as caught:
        release.build("rgb1", **arguments)
    assert str(caught.value) == f"{name}: {value!r} is not a positive whole number"


def test_a_width_that_is_too_small():
    with pytest.raises(InputError, match="width: too small"):
        release.build("rgb2", num_classes=51, width=1)
    with pytest.raises(InputError, match="dropout"):
        release.build("rgb2", num_classes=51, dropout=1.0)
