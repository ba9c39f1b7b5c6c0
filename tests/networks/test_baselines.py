"""The baselines against published sizes and against the libraries that have them."""

import pytest
import torch
from torch import nn
from torchvision.models.video import s3d

from nni_evanet.errors import InputError
from nni_evanet.layers import ITGM, Conv2Plus1d, Conv3d, MaxPool3d
from nni_evanet.networks.baselines import BASELINES, InflatedInception, build_baseline
from nni_evanet.networks.cost import count_macs, count_parameters

torch.set_num_threads(1)


def build(name: str, **options) -> nn.Module:
    torch.manual_seed(0)
    width = {} if name == "s3d" else {"width": 8}
    return build_baseline(name, **{"num_classes": 5} | width | options)


def randomise_norms_(network: nn.Module) -> None:
    """Statistics and affine parameters that matter, and the epsilon of torchvision's S3D."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eps = 1e-3
            for values in (module.running_var, module.weight.data):
                values.uniform_(0.5, 1.5)
            for values in (module.running_mean, module.bias.data):
                values.normal_(std=0.3)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("i3d", 12_697_264),  # with the scales of batch norm
        ("s3d", 8_320_048),  # torchvision's model card
        ("resnet50-conv2plus1d", 28_107_600),  # pytorchvideo's model zoo: 28.11 M
        ("resnet101-conv2plus1d", 50_450_768),
    ],
)
def test_parameters_at_full_width(name, parameters):
    with torch.device("meta"):
        assert count_parameters(build_baseline(name, num_classes=400)) == parameters


def test_gmacs_of_s3d_are_those_of_torchvisions_model_card():
    with torch.device("meta"):
        network = build_baseline("s3d", num_classes=400)
    assert count_macs(network, (3, 16, 224, 224)) / 1e9 == pytest.approx(17.979, abs=0.0005)


def test_inception_parameters_differ_from_i3d_by_the_kernels_alone():
    """3D Conv differs in the first kernel; iTGM has HWC_inC_out + 2M + MC_out at any L."""
    with torch.device("meta"):
        i3d = build_baseline("i3d", num_classes=400)
        convs = [m.weight.shape for m in i3d.modules() if isinstance(m, Conv3d)]
        spatial = [shape for shape in convs if shape[-1] > 1]
        networks = {
            (op, time): count_parameters(
                build_baseline(f"inception-{op}", num_classes=400, time=time)
            )
            for op in ("conv3d", "itgm")
            for time in (3, 11)
        }
    assert len(convs) == 57 and len(spatial) == 20
    first = 64 * 3 * 49
    assert networks["conv3d", 3] == count_parameters(i3d) - 4 * first
    others = sum(shape.numel() // shape[2] for shape in spatial)
    assert networks["conv3d", 11] - networks["conv3d", 3] == 8 * others
    assert networks["itgm", 11] == networks["itgm", 3]
    mixtures = sum(2 * 4 + 4 * shape[0] for shape in spatial)
    assert networks["itgm", 3] == networks["conv3d", 3] - 2 * others + mixtures


def test_i3ds_temporal_sizes():
    times = [m.weight.shape[2] for m in build("i3d").modules() if isinstance(m, Conv3d)]
    assert sorted(times) == [1] * (57 - 20) + [3] * 19 + [7]
    assert times[0] == 7
    pools = [m for m in build("i3d").modules() if isinstance(m, MaxPool3d)]
    between = [p for p in pools if p.stride != (1, 1, 1)]
    assert [(p.kernel, p.stride) for p in between] == [
        ((1, 3, 3), (1, 2, 2)),
        ((1, 3, 3), (1, 2, 2)),
        ((3, 3, 3), (2, 2, 2)),
        ((2, 2, 2), (2, 2, 2)),
    ]
    assert len(pools) - len(between) == 9


@pytest.mark.parametrize(
    ("op", "layer"), [("conv3d", Conv3d), ("conv2plus1d", Conv2Plus1d), ("itgm", ITGM)]
)
@pytest.mark.parametrize("time", [None, 1, 5, 11])
def test_inception_has_one_op_and_one_size_everywhere(op, layer, time):
    network = build(f"inception-{op}", time=time)
    found = []
    for module in network.modules():
        if type(module) is layer and (layer is not Conv3d or module.weight.shape[-1] > 1):
            if layer is ITGM:
                found.append(module.time)
            else:
                found.append((module if layer is Conv3d else module.temporal).weight.shape[2])
    assert found == [time or 3] * 20


def test_our_inception_is_torchvisions_s3d():
    """With separable convolutions at I3D's temporal sizes it is S3D, layer for layer."""
    reference = build_baseline("s3d", num_classes=5).eval()
    network = InflatedInception(
        "conv2plus1d",
        first_time=7,
        time=3,
        num_classes=5,
        in_channels=3,
        width=64,
        dropout=0.5,
    ).eval()
    randomise_norms_(reference)
    randomise_norms_(network)
    # Both list the same layers in the same order.
    theirs, ours = reference.state_dict(), network.state_dict()
    assert [v.shape for v in theirs.values()] == [v.shape for v in ours.values()]
    network.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))
    # At sizes that stay odd, torchvision's padding is ours.
    clips = torch.randn(1, 3, 9, 65, 33)
    with torch.no_grad():
        torch.testing.assert_close(network(clips), reference(clips), rtol=1e-4, atol=1e-4)


def test_s3d_is_torchvisions_where_that_takes_the_clip():
    network = build_baseline("s3d", num_classes=5).eval()
    reference = s3d(num_classes=5).eval()
    reference.load_state_dict(network.state_dict())
    clips = torch.randn(1, 3, 16, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(network(clips), reference(clips), rtol=1e-4, atol=1e-5)


def test_resnet_is_pytorchvideos_where_that_takes_the_clip():
    from pytorchvideo.models.r2plus1d import create_r2plus1d

    network = build("resnet50-conv2plus1d").eval()
    reference = create_r2plus1d(model_num_class=5, stem_dim_out=8).eval()
    reference.load_state_dict(network.state_dict())
    clips = torch.randn(1, 3, 16, 224, 224)
    with torch.no_grad():
        probabilities = network(clips).softmax(1)
        torch.testing.assert_close(probabilities, reference(clips), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 16, 16), (3, 17, 31), (16, 32, 32)])
@pytest.mark.parametrize("name", BASELINES)
def test_any_clip_gives_logits(name, size):
    network = build(name, in_channels=2)
    logits = network(torch.randn(2, 2, *size))
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("name", BASELINES)
def test_outputs_are_logits_in_evaluation_too(name):
    network = build(name).eval()
    network.requires_grad_(False)
    logits = network(torch.randn(2, 3, 4, 32, 32))
    assert not torch.allclose(logits.sum(1), torch.ones(2))


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "s3d"])
def test_width_scales_the_network(name):
    with torch.device("meta"):
        sizes = [count_parameters(build(name, width=width)) for width in (1, 8, 16)]
    assert sizes[0] < sizes[1]
    assert 3.5 < sizes[2] / sizes[1] < 4.1


def test_dropout_is_in_front_of_the_classifier():
    for name in BASELINES:
        probabilities = [m.p for m in build(name, dropout=0.3).modules() if type(m) is nn.Dropout]
        assert probabilities == [0.3], name


def test_unknown_name_lists_the_known():
    with pytest.raises(InputError, match="i3d, inception-conv3d") as error:
        build_baseline("c3d", num_classes=5)
    assert "'c3d'" in str(error.value)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("i3d", {"time": 3}),
        ("s3d", {"time": 3}),
        ("s3d", {"width": 8}),
        ("inception-itgm", {"time": 0}),
        ("i3d", {"num_classes": 0}),
        ("i3d", {"width": 0}),
        ("resnet50-conv2plus1d", {"in_channels": 0}),
        ("s3d", {"dropout": 1.0}),
    ],
)
def test_bad_arguments_are_named(name, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        build(name, **wrong)


def test_wrong_clips_are_explained():
    with pytest.raises(ValueError, match=r"expected clips of shape \(B, 3, T, H, W\)"):
        build("i3d")(torch.randn(1, 2, 4, 16, 16))
