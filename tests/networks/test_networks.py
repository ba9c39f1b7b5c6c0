"""Networks of architectures: shapes, structure, errors, memory format, compilation."""

import os
import random
import subprocess
import sys

import pytest
import torch
from torch import nn

from nni_evanet.architecture import Architecture, Module, ResNetStem, Stream
from nni_evanet.layers import ITGM, Conv2Plus1d, Conv3d, MaxPool3d
from nni_evanet.networks import build_network
from nni_evanet.networks.resnet import ResidualBlock
from nni_evanet.networks.streams import ParallelStreams

torch.set_num_threads(1)

POOL = Stream("pool", time=3)
POINT = Stream("conv1x1x1")
ITGM5 = Stream("conv", "itgm", 5)
PAIR = Stream("conv_conv", "conv2plus1d", 7, "conv3d", 3)


def architecture(*modules: Module, **options) -> Architecture:
    modules = modules or (
        Module(1, (POOL, POINT)),
        Module(2, (ITGM5,)),
        Module(3, (PAIR, POINT, POOL)),
        Module(1, (PAIR,)),
    )
    stem = options.pop("stem", ResNetStem("conv3d", 3, 1, 3, 9))
    return Architecture("resnet", stem, modules, **options)


def build(arch: Architecture | None = None, **options) -> nn.Module:
    torch.manual_seed(0)
    return build_network(arch or architecture(), **{"num_classes": 5, "width": 8} | options)


@pytest.mark.parametrize("size", [(1, 16, 16), (2, 17, 31), (5, 33, 16), (16, 32, 32), (7, 20, 45)])
@pytest.mark.parametrize("seed", range(4))
def test_any_clip_gives_logits(size, seed):
    network = build(Architecture.random("resnet", random.Random(seed)))
    logits = network(torch.randn(2, 3, *size))
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_feature_maps_shrink_as_in_the_release():
    shapes = []
    network = build().eval()
    for part in (network.stem.conv, network.stem.pool, *network.stages):
        part.register_forward_hook(lambda _, __, y: shapes.append(tuple(y.shape[1:])))
    network(torch.randn(1, 3, 13, 75, 60))
    assert shapes == [
        (8, 7, 38, 30),
        (8, 4, 19, 15),
        (32, 4, 19, 15),
        (64, 4, 10, 8),
        (126, 4, 5, 4),
        (256, 4, 3, 2),
    ]


def test_filters_are_divided_evenly_and_inner_ones_are_at_least_one():
    module = Module(1, (PAIR, POOL, POINT, ITGM5, ITGM5, PAIR))
    streams = ParallelStreams(module, 7, 20, temporal=True)
    assert streams.out_channels == 18
    shapes = [
        [tuple(p.shape[:2]) for p in stream.parameters() if p.dim() > 3]
        for stream in streams.streams
    ]
    pair = [(1, 7), (1, 1), (1, 1), (3, 1)]
    assert shapes == [pair, [(3, 7)], [(3, 7)], [(1, 7), (3, 1)], [(1, 7), (3, 1)], pair]
    assert streams(torch.randn(2, 7, 3, 4, 4)).shape == (2, 18, 3, 4, 4)


def test_too_many_streams_for_the_width_is_explained():
    arch = architecture(*[Module(1, (POINT,) * 6)] * 4)
    with pytest.raises(ValueError, match="width: too small"):
        build(arch, width=1)


@pytest.mark.parametrize("alternate", [True, False])
def test_every_second_repeat_drops_the_time_of_convolutions_only(alternate):
    module = Module(4, (PAIR, ITGM5, POOL))
    network = build(architecture(*[module] * 4, alternate_repeats=alternate))
    for blocks in network.stages:
        for repeat, block in enumerate(blocks):
            pair, itgm, pool = block.body.streams
            dropped = alternate and repeat % 2 == 1
            assert pair.conv1.conv.temporal.weight.shape[2] == (1 if dropped else 7)
            assert pair.conv2.conv.weight.shape[2] == (1 if dropped else 3)
            assert itgm.conv1.conv.time == (1 if dropped else 5)
            assert pool.pool.kernel == (3, 3, 3)


def test_shortcut_is_a_convolution_in_the_first_repeat_only():
    blocks = build().stages[2]
    assert [isinstance(block.shortcut, nn.Identity) for block in blocks] == [False, True, True]


def test_pools_have_the_stems_times():
    network = build(architecture(stem=ResNetStem("itgm", 5, 3, 7, 9)))
    pools = [network.stem.pool, *network.pools]
    assert [p.kernel for p in pools] == [(3, 3, 3), (3, 2, 2), (7, 2, 2), (9, 2, 2)]
    assert [p.stride for p in pools] == [(2, 2, 2)] + [(1, 2, 2)] * 3
    assert network.stem.conv.conv.spatial.shape == (8, 3, 7, 7)


def test_full_width_has_the_papers_filters():
    with torch.device("meta"):
        network = build_network(architecture(), num_classes=400)
    assert network.stem.conv.conv.weight.shape[0] == 64
    channels = [blocks[-1].out_channels for blocks in network.stages]
    assert channels == [256, 512, 1023, 2048]


@pytest.mark.parametrize("time", [1, 2, 5])
def test_head_averages_two_frames_then_everything(time):
    head = build().head.eval()
    x = torch.randn(2, 256, time, 3, 2)
    pooled = nn.functional.avg_pool3d(x, (min(time, 2), 3, 2), stride=1)
    torch.testing.assert_close(head(x), head.classifier(pooled).mean((2, 3, 4)))


def test_block_adds_its_shortcut_then_relu():
    block = ResidualBlock(Module(2, (POINT,)), 6, 6, first=False, temporal=True).eval()
    x = torch.randn(2, 6, 3, 4, 4)
    torch.testing.assert_close(block(x), (block.body(x) + x).relu())


RELEASED = {
    "rgb1": architecture(
        Module(2, (Stream("conv", "conv3d", 1), Stream("pool", time=7))),
        Module(
            4,
            (
                Stream("pool", time=3),
                POINT,
                Stream("conv", "conv3d", 1),
                POINT,
                Stream("conv", "conv3d", 5),
            ),
        ),
        Module(
            5,
            (
                Stream("pool", time=7),
                POINT,
                Stream("conv", "itgm", 11),
                Stream("pool", time=11),
            ),
        ),
        Module(
            3, (Stream("pool", time=11), Stream("conv", "conv3d", 1), Stream("conv", "itgm", 3))
        ),
        stem=ResNetStem("conv2plus1d", 3, 1, 1, 9),
    )
}


def test_released_architecture_builds_only_what_it_chose():
    network = build(RELEASED["rgb1"], num_classes=51)
    assert network(torch.randn(2, 3, 8, 64, 64)).shape == (2, 51)
    kinds = [type(m) for m in network.modules()]
    assert kinds.count(ITGM) == 5 + 3
    assert kinds.count(Conv2Plus1d) == 1
    # ResNetStem and modules, by repeat.
    assert kinds.count(MaxPool3d) == 4 + 2 + 4 + 2 * 5 + 3
    # The two of the stem's (2+1)D; shortcuts; and in each repeat one for a 1x1x1 or a pool, two
    # for a conv (whose second is an ITGM in three cases).
    assert kinds.count(Conv3d) == 2 + 4 + 2 * 3 + 4 * 7 + 5 * 4 + 3 * 4


def test_training_on_one_value_a_channel_is_explained():
    network = build()
    clip = torch.randn(1, 3, 1, 16, 16)
    with pytest.raises(ValueError, match="more than one clip a batch"):
        network(clip)
    assert network.eval()(clip).shape == (1, 5)


@pytest.mark.parametrize("shape", [(3, 4, 16, 16), (1, 2, 4, 16, 16)])
def test_wrong_clips_are_explained(shape):
    with pytest.raises(ValueError, match=r"expected clips of shape \(B, 3, T, H, W\)"):
        build()(torch.randn(shape))


@pytest.mark.parametrize(
    "wrong", [{"num_classes": 0}, {"in_channels": 0}, {"width": -8}, {"dropout": 1.0}]
)
def test_bad_arguments_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        build(**wrong)


def test_optical_flow():
    assert build(in_channels=2)(torch.randn(2, 2, 4, 16, 16)).shape == (2, 5)


def test_the_seed_determines_network_and_output():
    clips = torch.randn(2, 3, 4, 16, 16)
    torch.testing.assert_close(build().eval()(clips), build().eval()(clips), rtol=0, atol=0)


def test_memory_format_of_the_clips_does_not_matter():
    network = build().eval()
    clips = torch.randn(2, 3, 4, 20, 20)
    last = clips.contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(network(clips), network(last))


def test_bfloat16_autocast_trains():
    network = build()
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(torch.randn(2, 3, 4, 16, 16)).float().square().mean()
    loss.backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_export_with_any_batch():
    network = build().eval()
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(
        network, (torch.randn(2, 3, 6, 20, 24),), dynamic_shapes={"clips": {0: batch}}
    )
    clips = torch.randn(5, 3, 6, 20, 24)
    torch.testing.assert_close(program.module()(clips), network(clips), rtol=1e-4, atol=1e-4)


def test_compile():
    arch = architecture(Module(1, (PAIR, POOL, ITGM5)), *[Module(1, (POINT,))] * 3)
    network = build(arch, dropout=0.0)
    clips = torch.randn(2, 3, 4, 20, 24)
    expected = network(clips)
    got = torch.compile(network, backend="aot_eager", fullgraph=True)(clips)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    got.sum().backward()


def test_training_a_very_narrow_network_does_not_crash():
    """In a process of its own: the defect that `_subsampled` avoids ended in an abort."""
    code = """
import torch
from nni_evanet import build_network
from nni_evanet.architecture import Architecture, Module, ResNetStem, Stream
stem = ResNetStem("conv2plus1d", 1, 1, 1, 1)
modules = (Module(2, (Stream("conv", "conv2plus1d", 1),)),) * 4
for width in (2, 3, 4, 5, 7):
    network = build_network(Architecture("resnet", stem, modules), num_classes=3, width=width)
    for size in ((8, 16, 16), (1, 16, 17), (3, 33, 16)):
        for _ in range(5):
            network(torch.randn(4, 3, *size)).sum().backward()
print("survived")
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert process.stdout.strip() == "survived", process.stderr
