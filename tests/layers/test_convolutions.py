"""conv3d and (2+1)D, batch norm, and initial values."""

import math

import pytest
import torch
import torch.nn.functional as F

from nni_evanet.layers import BatchNorm, Conv2Plus1d, Conv3d, space_time_conv
from nni_evanet.layers.convolve import conv_same

torch.set_num_threads(1)


def conv_parameters(layer: torch.nn.Module) -> int:
    return sum(p.numel() for p in layer.parameters() if p.dim() > 2)


@pytest.mark.parametrize("time", [1, 3, 11])
def test_parameter_counts_are_the_papers(time):
    assert conv_parameters(Conv3d(6, 10, time)) == time * 9 * 6 * 10
    assert conv_parameters(Conv2Plus1d(6, 10, time)) == 9 * 6 * 10 + time * 10 * 10


@pytest.mark.parametrize("op", ["conv3d", "conv2plus1d", "itgm"])
@pytest.mark.parametrize("time", [1, 3, 11])
def test_every_op_maps_any_clip(op, time):
    layer = space_time_conv(op, 3, 4, time, spatial=7, stride=(2, 2, 2))
    assert layer(torch.randn(2, 3, 5, 8, 9)).shape == (2, 4, 3, 4, 5)
    assert layer(torch.randn(2, 3, 1, 1, 1)).shape == (2, 4, 1, 1, 1)


def test_unknown_op_is_named():
    with pytest.raises(ValueError, match="op: 'conv4d' is not one of conv3d"):
        space_time_conv("conv4d", 3, 4, 3)


def test_conv2plus1d_is_spatial_norm_relu_temporal():
    layer = Conv2Plus1d(3, 4, 5, stride=(1, 2, 2)).eval()
    layer.norm.running_mean.normal_()
    x = torch.randn(2, 3, 6, 7, 7)
    y = F.conv3d(x, layer.spatial.weight, stride=(1, 2, 2), padding=(0, 1, 1))
    y = F.relu(layer.norm(y))
    y = F.conv3d(y, layer.temporal.weight, padding=(2, 0, 0))
    torch.testing.assert_close(layer(x), y, rtol=1e-4, atol=1e-5)
    assert layer.temporal.weight.shape == (4, 4, 5, 1, 1)


@pytest.mark.parametrize("kernel", [(1, 1, 1), (1, 3, 3), (3, 1, 1), (3, 3, 3)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_shortcuts_equal_conv3d(kernel, channels_last):
    x = torch.randn(2, 4, 5, 6, 7)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last_3d)
    weight = torch.randn(6, 4, *kernel)
    expected = F.conv3d(x, weight, padding=[k // 2 for k in kernel])
    got = conv_same(x, weight, (1, 1, 1))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    if channels_last:
        assert got.is_contiguous(memory_format=torch.channels_last_3d)


def test_initial_deviation_is_sqrt_2_over_fan_in_truncated():
    torch.manual_seed(0)
    conv = Conv3d(32, 64, 3)
    itgm = space_time_conv("itgm", 32, 64, 3)
    for weight, fan_in in ((conv.weight, 27 * 32), (itgm.spatial, 9 * 32)):
        std = math.sqrt(2 / fan_in)
        assert weight.abs().max() <= 2 * std
        # What is left of a normal's deviation when it is cut at two of them.
        assert weight.std().item() == pytest.approx(0.8796 * std, rel=0.02)


def test_batch_norm_tracks_the_biased_variance():
    norm = BatchNorm(4)
    x = torch.randn(2, 4, 3, 2, 2) * 3 + 1
    y = norm(x)
    flat = x.transpose(0, 1).flatten(1)
    torch.testing.assert_close(norm.running_mean, 0.1 * flat.mean(1))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * flat.var(1, correction=0))
    torch.testing.assert_close(y, F.batch_norm(x, None, None, training=True, eps=1e-5))
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(
        norm.eval()(x), F.batch_norm(x, norm.running_mean, norm.running_var, eps=1e-5)
    )


def test_batch_norm_can_be_applied_twice_before_the_backward_pass():
    norm = BatchNorm(4)
    x = torch.randn(2, 4, 3, 2, 2)
    (norm(x) * norm(2 * x)).sum().backward()
    assert norm.weight.grad is not None


def test_one_value_a_channel_is_explained():
    with pytest.raises(ValueError, match=r"one value a channel.*more than one clip"):
        BatchNorm(4)(torch.randn(1, 4, 1, 1, 1))
    BatchNorm(4).eval()(torch.randn(1, 4, 1, 1, 1))
