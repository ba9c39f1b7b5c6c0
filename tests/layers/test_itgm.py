"""iTGM: parameters, kernel, and the factorised forward pass against conv3d with that kernel."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nni_evanet.layers import ITGM
from nni_evanet.layers.padding import same_padding

torch.set_num_threads(1)


def reference(layer: ITGM, x: Tensor) -> Tensor:
    """conv3d of the same-padded input with the materialised kernel."""
    kernel = layer.kernel()
    pads = [same_padding(*a) for a in zip(x.shape[2:], kernel.shape[2:], layer.stride, strict=True)]
    padded = F.pad(x, [side for pad in reversed(pads) for side in pad])
    return F.conv3d(padded, kernel, stride=layer.stride)


def make(time: int, *, seed: int = 0, channels: tuple[int, int] = (3, 5), **options) -> ITGM:
    torch.manual_seed(seed)
    layer = ITGM(*channels, time, **options)
    if time > 1:
        torch.nn.init.normal_(layer.log_variance)
    return layer


@settings(max_examples=60, deadline=None)
@given(
    time=st.sampled_from((1, 2, 3, 5, 7, 9, 11)),
    spatial=st.sampled_from((1, 2, 3, 7)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 3)),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    shape=st.tuples(st.integers(1, 2), *[st.integers(1, 9)] * 3),
    mixtures=st.integers(1, 5),
    channels_last=st.booleans(),
    frozen=st.booleans(),
)
def test_forward_and_gradients_equal_conv3d(
    time, spatial, stride, channels, shape, mixtures, channels_last, frozen
):
    layer = make(time, channels=channels, spatial=spatial, stride=stride, mixtures=mixtures)
    batch, *size = shape
    x = torch.randn(batch, channels[0], *size, requires_grad=True)
    given_x = x.contiguous(memory_format=torch.channels_last_3d) if channels_last else x
    inputs = [x] if frozen else [x, *layer.parameters()]
    if frozen:
        layer.requires_grad_(False)
    expected, got = reference(layer, x), layer(given_x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    weights = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(got, inputs, weights),
        torch.autograd.grad(expected, inputs, weights),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("time", [3, 11])
@pytest.mark.parametrize("mixtures", [4, 7])
@pytest.mark.parametrize("spatial", [3, 7])
def test_parameter_count_is_the_papers(time, mixtures, spatial):
    layer = ITGM(6, 10, time, spatial=spatial, mixtures=mixtures)
    expected = spatial * spatial * 6 * 10 + 2 * mixtures + mixtures * 10
    assert sum(p.numel() for p in layer.parameters()) == expected
    shapes = {name: tuple(p.shape) for name, p in layer.named_parameters()}
    assert shapes == {
        "spatial": (10, 6, spatial, spatial),
        "center": (mixtures,),
        "log_variance": (mixtures,),
        "mixing": (10, mixtures),
    }


def test_one_frame_has_no_mixture():
    layer = ITGM(6, 10, 1)
    assert [name for name, _ in layer.named_parameters()] == ["spatial"]
    assert layer.kernel().shape == (10, 6, 1, 3, 3)
    torch.testing.assert_close(layer.kernel()[:, :, 0], layer.spatial)


def test_temporal_kernel_is_the_equations_of_the_paper():
    layer = make(7).double()
    center, log_variance, mixing = (
        p.tolist() for p in (layer.center, layer.log_variance, layer.mixing)
    )
    exp, tanh = (lambda v: torch.tensor(v).double().exp().item()), torch.tanh
    kernel = torch.zeros(5, 7, dtype=torch.float64)
    for i in range(5):
        weights = [exp(a) for a in mixing[i]]
        for m in range(4):
            mu = 6 * (tanh(torch.tensor(center[m], dtype=torch.float64)).item() + 1) / 2
            gaussian = [exp(-((k - mu) ** 2) / (2 * exp(log_variance[m]))) for k in range(7)]
            for k in range(7):
                kernel[i, k] += weights[m] / sum(weights) * gaussian[k] / sum(gaussian)
    torch.testing.assert_close(layer.temporal_kernel(), kernel)
    torch.testing.assert_close(
        layer.kernel(), torch.einsum("oihw,ol->oilhw", layer.spatial, kernel)
    )


@pytest.mark.parametrize("value", [-1e4, -90.0, -30.0, 0.0, 90.0, 1e4])
@pytest.mark.parametrize("center", [-50.0, 0.0, 1e-4, 50.0])
def test_kernel_and_gradients_stay_finite(value, center):
    layer = ITGM(2, 3, 11)
    torch.nn.init.constant_(layer.log_variance, value)
    torch.nn.init.constant_(layer.center, center)
    kernel = layer.temporal_kernel()
    torch.testing.assert_close(kernel.sum(1), torch.ones(3))
    layer(torch.randn(1, 2, 4, 3, 3)).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize(("time", "stride"), [(1, (2, 1, 1)), (5, (1, 1, 1)), (3, (2, 2, 1))])
def test_gradcheck(time, stride):
    layer = make(time, channels=(2, 3), stride=stride).double()
    names = [name for name, _ in layer.named_parameters()]

    def run(x: Tensor, *values: Tensor) -> Tensor:
        state = dict(zip(names, values, strict=True))
        return torch.func.functional_call(layer, state, (x,))

    x = torch.randn(1, 2, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (x, *layer.parameters()))


@pytest.mark.parametrize("time", [1, 3, 9])
def test_autocast(time):
    layer = make(time, channels=(8, 8))
    x = torch.randn(2, 8, 4, 6, 6).contiguous(memory_format=torch.channels_last_3d)
    expected = layer(x)
    plain_kernel = layer.temporal_kernel()
    with torch.autocast("cpu", torch.bfloat16):
        got = layer(x)
        kernel = layer.temporal_kernel()
    assert got.dtype == torch.bfloat16
    assert kernel.dtype == torch.float32
    torch.testing.assert_close(kernel, plain_kernel, rtol=0, atol=0)
    torch.testing.assert_close(got.float(), expected, rtol=0.05, atol=0.05)
    got.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in layer.parameters())


def test_half_precision_parameters_keep_their_type():
    layer = make(5).bfloat16()
    y = layer(torch.randn(1, 3, 4, 5, 5, dtype=torch.bfloat16))
    assert y.dtype == layer.kernel().dtype == torch.bfloat16


@pytest.mark.parametrize("batch", [1, 2])
def test_output_stays_in_channels_last(batch):
    x = torch.randn(batch, 3, 4, 6, 6).contiguous(memory_format=torch.channels_last_3d)
    assert make(5)(x).is_contiguous(memory_format=torch.channels_last_3d)


def test_arithmetic_is_factorised():
    from torch.utils.flop_counter import FlopCounterMode

    x = torch.randn(1, 3, 16, 6, 6)
    with FlopCounterMode(display=False) as counter:
        make(11)(x)
    positions = 16 * 6 * 6
    assert counter.get_total_flops() == 2 * positions * (9 * 3 * 5 + 11 * 5)


@pytest.mark.parametrize("time", [1, 11])
def test_export_with_any_batch(time):
    layer = make(time, stride=(2, 1, 1))
    x = torch.randn(2, 3, 5, 6, 7).contiguous(memory_format=torch.channels_last_3d)
    program = torch.export.export(
        layer, (x,), dynamic_shapes={"x": {0: torch.export.Dim("batch", min=2, max=64)}}
    )
    other = torch.randn(4, 3, 5, 6, 7).contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(program.module()(other), layer(other))


@pytest.mark.parametrize(
    "backend",
    [
        "aot_eager",
        pytest.param(
            "inductor",
            marks=pytest.mark.skipif(
                not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler"
            ),
        ),
    ],
)
def test_compile(backend):
    layer = make(7)
    x = torch.randn(2, 3, 4, 6, 7).contiguous(memory_format=torch.channels_last_3d)
    parameters = list(layer.parameters())
    expected = layer(x)
    got = torch.compile(layer, backend=backend, fullgraph=True)(x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(got.sum(), parameters),
        torch.autograd.grad(expected.sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_stretch_keeps_every_value():
    layer = make(3, stride=(1, 2, 2))
    longer = layer.stretch(9)
    assert longer.kernel().shape == (5, 3, 9, 3, 3)
    assert layer.time == 3
    assert layer.state_dict().keys() == longer.state_dict().keys()
    for name, value in layer.state_dict().items():
        torch.testing.assert_close(longer.state_dict()[name], value, rtol=0, atol=0)
    x = torch.randn(1, 3, 4, 6, 6)
    torch.testing.assert_close(longer(x), reference(longer, x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(longer.stretch(3)(x), layer(x))


def test_stretch_needs_a_mixture():
    with pytest.raises(ValueError, match="no mixture"):
        ITGM(3, 5, 1).stretch(3)
    with pytest.raises(ValueError, match="no mixture"):
        ITGM(3, 5, 3).stretch(1)


@pytest.mark.parametrize(
    "wrong", [{"time": 0}, {"in_channels": -1}, {"mixtures": 0}, {"stride": (1, 0, 1)}]
)
def test_bad_arguments_are_named(wrong):
    arguments = {"in_channels": 2, "out_channels": 3, "time": 3} | wrong
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ITGM(**arguments)
