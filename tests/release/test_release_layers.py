"""Single operations against the release's, and the initial values."""

import re

import numpy as np
import pytest
import torch
from release_reference import HERE, read
from torch import Tensor, nn

from nni_evanet.layers import BatchNorm
from nni_evanet.release.layers import CauchyITGM, Conv3d, TemporalFirstConv2Plus1d
from nni_evanet.release.max_pool import MaxPool3d

UNIT_OPS = read(HERE / "unit_ops.npz")
CASES = sorted({name.rpartition("/")[0] for name in UNIT_OPS if name.endswith("/x")})
OPS = {"conv3d": Conv3d, "conv21d": TemporalFirstConv2Plus1d, "tgm": CauchyITGM}
NAMES = {
    "conv3d": {"c/weights": "weight"},
    "tgm": {
        "c/weights": "spatial",
        "c/soft-attn": "mixing",
        "c/tgm-f/tgm-f/tgm-center": "center",
        "c/tgm-f/tgm-f/tgm-gamma": "gamma",
    },
    "conv21d": {
        "c/weights": "temporal.weight",
        "cs/weights": "spatial.weight",
        "BatchNorm/gamma": "norm.weight",
        "BatchNorm/beta": "norm.bias",
        "BatchNorm/moving_mean": "norm.running_mean",
        "BatchNorm/moving_variance": "norm.running_var",
    },
}
BAR = 1e-5


def channels_first(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).movedim(-1, 1)


def channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


def in_our_layout(array: np.ndarray, shape: torch.Size) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor.permute(4, 3, 0, 1, 2).reshape(shape) if tensor.dim() == 5 else tensor


def layer_of(case: str) -> nn.Module:
    op, _, name = case.partition("/")
    kernel, stride = re.match(r"k(\d+x\d+x\d+)_s([\d_]+)_in", name).groups()
    time, rows, columns = map(int, kernel.split("x"))
    frames, pixels = (stride.split("_") * 2)[:2]
    strides = (int(frames), int(pixels), int(pixels))
    if op == "maxpool":
        return MaxPool3d((time, rows, columns), strides)
    layer = OPS[op](3, 6, time, spatial=rows, stride=strides)
    prefix = f"{case}/var/"
    arrays = {k.removeprefix(prefix): v for k, v in UNIT_OPS.items() if k.startswith(prefix)}
    own = layer.state_dict()
    names = {NAMES[op][theirs]: theirs for theirs in arrays}
    assert set(names) == set(own)
    layer.load_state_dict({k: in_our_layout(arrays[names[k]], own[k].shape) for k in own})
    return layer


def test_there_are_cases_of_every_operation():
    kinds = {case.partition("/")[0] for case in CASES}
    assert kinds == {"conv3d", "conv21d", "tgm", "maxpool", "bn_train"}


@pytest.mark.parametrize("case", [case for case in CASES if case != "bn_train"])
def test_an_operation(case, compare):
    # In training mode too: the batch norm inside a (2+1)D uses its moving statistics.
    layer = layer_of(case)
    x = channels_first(UNIT_OPS[f"{case}/x"])
    for training in (False, True):
        y = layer.train(training)(x)
        assert compare(case, channels_last(y), UNIT_OPS[f"{case}/y"]) < BAR


KERNELS = sorted({name.split("/")[1] for name in UNIT_OPS if name.startswith("tgmkernel/")})


@pytest.mark.parametrize("case", KERNELS)
def test_the_kernel_of_an_itgm(case, compare):
    time, mixtures, c_in, c_out = map(int, re.findall(r"\d+", case))
    layer = CauchyITGM(c_in, c_out, time, spatial=1, mixtures=mixtures)
    data = {name: UNIT_OPS[f"tgmkernel/{case}/{name}"] for name in ("center", "gamma")}
    data["mixing"] = UNIT_OPS[f"tgmkernel/{case}/soft-attn"]
    ones = torch.ones(c_out, c_in, 1, 1)
    layer.load_state_dict({"spatial": ones} | {k: torch.from_numpy(v) for k, v in data.items()})
    assert compare("bells", layer.bells(), UNIT_OPS[f"tgmkernel/{case}/filters"]) < BAR
    kernel = layer.kernel().permute(2, 3, 4, 1, 0)
    assert compare("kernel", kernel, UNIT_OPS[f"tgmkernel/{case}/k"]) < BAR


def test_batch_norm_in_training(compare):
    norm = BatchNorm(4).train()
    y = norm(channels_first(UNIT_OPS["bn_train/x"]))
    assert compare("y", channels_last(y), UNIT_OPS["bn_train/y"]) < BAR
    for ours, theirs in (("running_mean", "moving_mean"), ("running_var", "moving_variance")):
        error = compare(theirs, norm.get_buffer(ours), UNIT_OPS[f"bn_train/{theirs}"])
        assert error < BAR


POOLS = read(HERE / "max_pool_gradients.npz")


@pytest.mark.parametrize("case", range(5))
def test_the_gradient_of_a_maximum_in_several_places(case, compare):
    data = {name.partition("/")[2]: v for name, v in POOLS.items() if name[0] == str(case)}
    pool = MaxPool3d(tuple(data["kernel"].tolist()), tuple(data["stride"].tolist()))
    x = channels_first(data["x"]).requires_grad_()
    (pool(x) * channels_first(data["coef"])).sum().backward()
    assert compare("gradient", channels_last(x.grad), data["grad"]) < BAR


def test_an_itgm_of_one_frame_is_a_plain_convolution():
    layer = CauchyITGM(3, 6, 1)
    assert list(layer.state_dict()) == ["spatial"]
    assert torch.equal(layer.kernel(), layer.spatial[:, :, None])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_an_itgm_in_other_precisions(dtype):
    layer = CauchyITGM(2, 3, 5).to(dtype)
    y = layer(torch.randn(1, 2, 4, 5, 5, dtype=dtype))
    assert y.dtype == dtype
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer.float().temporal_kernel().dtype == torch.float32


def test_initial_values():
    torch.manual_seed(0)
    layer = CauchyITGM(64, 128, 7)
    fan_in = 9 * 64  # without the temporal size
    # Deviation sqrt(2 / fan_in), cut at two deviations of the normal underneath.
    assert layer.spatial.std().item() * (fan_in / 2) ** 0.5 == pytest.approx(1, abs=0.02)
    assert layer.spatial.abs().max() <= 2 * (1.3 * 2 / fan_in) ** 0.5
    assert layer.mixing.abs().max() <= 2
    assert layer.mixing.std().item() == pytest.approx(0.88, abs=0.02)
    many = [CauchyITGM(1, 1, 3) for _ in range(500)]
    assert torch.cat([m.center for m in many]).std().item() == pytest.approx(0.5, rel=0.1)
    assert torch.cat([m.gamma for m in many]).std().item() == pytest.approx(0.1, rel=0.1)
    weight = Conv3d(64, 128, 7).weight
    assert weight.std().item() * (7 * 9 * 64 / 2) ** 0.5 == pytest.approx(1, abs=0.02)
