"""The authors' DNA strings."""

import base64
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_evanet import release
from nni_evanet.architecture import Architecture
from nni_evanet.errors import InputError

NETWORKS = json.loads((Path(__file__).parent / "data" / "networks.json").read_text())
OPS = ("conv3d", "itgm", "conv2plus1d")
TYPES = ("conv1x1x1", "conv", "conv_conv", "pool")


def varint(value: int) -> bytes:
    value %= 1 << 64
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def message(**fields: int | list[bytes] | None) -> bytes:
    """Of fields `fN` in the order given; None leaves one out."""
    parts = []
    for name, value in fields.items():
        number = int(name[1:])
        if isinstance(value, list):
            parts += [varint(number << 3 | 2) + varint(len(item)) + item for item in value]
        elif value is not None:
            parts.append(varint(number << 3) + varint(value))
    return b"".join(parts)


def layer(type: int = 1, op: int | None = 0, time: int | None = 3, **more: int) -> bytes:
    return message(f1=type, f2=op, f3=time, **more)


def dna(*layers: bytes, **changed: int | list[bytes] | None) -> str:
    """Four modules of the same layers."""
    block = message(f1=1, f2=0, f3=list(layers) or [layer()])
    fields = {"f1": 3, "f2": 1, "f3": 0, "f4": 1, "f5": 3, "f6": 5, "f7": [block] * 4} | changed
    return base64.b64encode(message(**fields)).decode()


def encode(architecture: Architecture) -> str:
    stem = architecture.stem
    blocks = []
    for module in architecture.modules:
        layers = []
        for s in module.streams:
            op = None if s.op is None else OPS.index(s.op)
            op2 = None if s.op2 is None else OPS.index(s.op2)
            kind = TYPES.index(s.type)
            layers.append(message(f1=kind, f2=op, f3=s.time, f4=1, f5=s.time2, f6=1, f7=op2))
        blocks.append(message(f1=module.repeats, f2=0, f3=layers))
    pools = {"f4": stem.pool1_time, "f5": stem.pool3_time, "f6": stem.pool4_time}
    content = message(f1=stem.conv_time, f2=1, f3=OPS.index(stem.conv_op), **pools, f7=blocks)
    return base64.b64encode(content).decode()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_released_networks(name):
    expected = NETWORKS[name]
    for architecture in (release.architecture(name), release.architecture(expected["dna"])):
        data = json.loads(architecture.to_json())
        assert data["meta"] == "resnet"
        assert data["alternate_repeats"] is True
        assert data["stem"] == expected["stem"]
        assert data["modules"] == expected["modules"]


@pytest.mark.parametrize("seed", range(20))
def test_any_architecture(seed):
    architecture = Architecture.random("resnet", random.Random(seed))
    assert release.decode(encode(architecture)) == architecture


def test_an_absent_op_means_conv3d():
    architecture = release.decode(dna(layer(op=None), f3=None))
    assert architecture.stem.conv_op == "conv3d"
    assert architecture.modules[0].streams[0].op == "conv3d"


def test_numbers_that_a_layer_does_not_use_are_ignored():
    architecture = release.decode(dna(layer(type=0, op=7, time=4)))
    assert architecture.modules[0].streams[0].type == "conv1x1x1"


BLOCK = message(f1=1, f2=0, f3=[layer()])
NON_LOCAL = message(f1=1, f2=1, f3=[layer()])
REFUSED = {
    "dilation: 2 is not supported": dna(f2=2),
    "blocks[0].layers[0].dilation: 3 is not supported": dna(layer(f4=3)),
    "blocks[0].layers[0].dilation2: 0 is not supported": dna(layer(f6=0)),
    "blocks[2].use_nl: non-local": dna(f7=[BLOCK, BLOCK, NON_LOCAL, BLOCK]),
    "convop1: 3 is not one of 0 (conv3d), 1 (itgm), 2 (conv2plus1d)": dna(f3=3),
    "blocks[0].layers[0].op: -1 is not one of": dna(layer(op=-1)),
    "blocks[0].layers[0].type: 4 is not one of 0 (conv1x1x1)": dna(layer(type=4)),
    "modules[0].streams[0].time: 4 is not one of": dna(layer(time=4)),
    "blocks[0].layers[0].time: missing": dna(layer(time=None)),
    "blocks[0].layers[0].time2: missing": dna(layer(type=2)),
    "time1: missing": dna(f1=None),
    "pool3: missing": dna(f5=None),
    "3 blocks, expected 4": dna(f7=[BLOCK] * 3),
    "blocks[0].repeats: missing": dna(f7=[message(f2=0, f3=[layer()])] * 4),
    "modules[0].repeats: 7 is not one of": dna(f7=[message(f1=7, f3=[layer()])] * 4),
    "modules[0].streams: ": dna(f7=[message(f1=1)] * 4),
    "field 9 is unknown": dna(f9=1),
    "blocks[0]: field 4 is unknown": dna(f7=[message(f1=1, f4=1)] * 4),
    "blocks[0].layers[0]: field 8 is unknown": dna(layer(f8=1)),
    "field 1, time1, has the wrong wire type": dna(f1=[b""]),
    "field 7, blocks, has the wrong wire type": dna(f7=1, f8=[bytes(20)]),
    "not base64": "!" * 40,
    "field number 0": base64.b64encode(bytes(40)).decode(),
    "has wire type 5": base64.b64encode(b"\x0d" * 40).decode(),
    "exceeds 64 bits": base64.b64encode(b"\x08" + b"\xff" * 40).decode(),
    "network: 'rgb3' is neither rgb1, rgb2 nor a DNA": "rgb3",
    "network: '' is neither": "",
    "network: None is neither": None,
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_wrong_dna_is_one_clear_line(message):
    with pytest.raises(InputError) as caught:
        release.build(REFUSED[message], num_classes=3, width=8)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_truncated_dna_is_refused(name):
    content = base64.b64decode(NETWORKS[name]["dna"])
    for end in range(len(content)):
        with pytest.raises(InputError, match="DNA"):
            release.decode(base64.b64encode(content[:end]).decode())


@given(st.binary(max_size=60) | st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_anything_else_is_refused(content):
    text = base64.b64encode(content).decode() if isinstance(content, bytes) else content
    with pytest.raises(InputError) as caught:
        release.decode(text)
    assert len(str(caught.value).splitlines()) == 1
