"""Network files: one is enough to use the network, and nothing else passes for one."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from safetensors.torch import load_file, save_file

from nni_evanet import load_network
from nni_evanet.architecture import Architecture
from nni_evanet.errors import InputError
from nni_evanet.networks.blueprint import Blueprint
from nni_evanet.networks.card import NetworkCard
from nni_evanet.networks.export import export_network
from nni_evanet.networks.files import read_card, read_metadata, save_network

torch.set_num_threads(1)

ARCHITECTURE = Architecture.random("resnet", random.Random(1))
BLUEPRINTS = {
    "resnet": Blueprint(architecture=ARCHITECTURE, width=8),
    "inception": Blueprint(
        architecture=Architecture.random("inception", random.Random(1)), width=8
    ),
    "i3d": Blueprint(baseline="i3d", width=8),
    "stretched": Blueprint(baseline="inception-itgm", width=8).stretched(7),
    "resnet50": Blueprint(baseline="resnet50-conv2plus1d", width=8),
    "release": Blueprint(release="rgb1", width=8),
}


def card_of(blueprint, **changes):
    card = NetworkCard(
        blueprint=blueprint,
        classes=("up", "down & out"),
        modality="flow",
        frames=8,
        size=32,
        fps=Fraction(30000, 1001),
        margin=8 / 7,
        multi_label=True,
        dropout=0.25,
        dataset="test",
        metrics={"loss": 0.5},
        provenance={"settings": {"seed": 1}},
    )
    return replace(card, **changes)


@pytest.fixture
def saved(tmp_path):
    """A network's file, and the network."""

    def save(blueprint=BLUEPRINTS["resnet"]):
        network = blueprint.build(num_classes=2, in_channels=2).eval()
        save_network(tmp_path / "network.safetensors", network, card_of(blueprint))
        return tmp_path / "network.safetensors", network

    return save


@pytest.mark.parametrize("kind", BLUEPRINTS)
def test_a_network_comes_back_as_it_was(saved, kind):
    path, network = saved(BLUEPRINTS[kind])
    loaded = load_network(path)
    assert loaded.card == read_card(path) == card_of(BLUEPRINTS[kind])
    assert not loaded.training
    clips = torch.randn(1, 2, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(clips), network(clips), rtol=0, atol=0)


def test_torch_and_safetensors_are_enough(saved):
    path, _ = saved()
    code = (
        "import sys\n"
        "missing = 'nni pytorchvideo pytorch_lightning lightning_fabric torchvision av'\n"
        "missing += ' torchmetrics click rich sklearn matplotlib'\n"
        "for name in missing.split(): sys.modules[name] = None\n"
        "import torch, nni_evanet\n"
        f"network = nni_evanet.load_network({str(path)!r})\n"
        "print(tuple(network(torch.zeros(1, 2, 4, 16, 16)).shape))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == "(1, 2)", output.stderr


def rewrite(path, *, change_card=lambda card: None, change_state=lambda state: None):
    metadata, state = read_metadata(path), load_file(path)
    card = json.loads(metadata["nni_evanet_card"])
    change_card(card)
    change_state(state)
    save_file(state, path, metadata | {"nni_evanet_card": json.dumps(card)})


BAD_CARDS = [
    (lambda c: c.pop("size"), "size: missing"),
    (lambda c: c.update(frames="8"), "frames: expected int"),
    (lambda c: c.update(extra=1), "extra: no field"),
    (lambda c: c.update(modality="depth"), "modality: 'depth' is not one of rgb, flow"),
    (lambda c: c.update(fps="fast"), "fps: 'fast' is not a fraction"),
    (lambda c: c.update(classes=[]), "classes: expected"),
    (lambda c: c["blueprint"].update(baseline="i3d"), "expected one of architecture, baseline"),
    (
        lambda c: c["blueprint"].update(width=10**9),
        "weights are not those of its card|describes no",
    ),
    (lambda c: c["blueprint"]["architecture"].update(meta="x"), "meta: 'x' is not one of"),
    (lambda c: c["classes"].append("other"), "head.classifier.bias is float32 .2,., expected"),
]


@pytest.mark.parametrize(("change", "message"), BAD_CARDS)
def test_a_bad_card_is_told_in_one_line(saved, change, message):
    path, _ = saved()
    rewrite(path, change_card=change)
    with pytest.raises(InputError, match=message) as error:
        load_network(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_other_weights_are_told(saved):
    path, _ = saved()
    rewrite(path, change_state=lambda s: s.pop("head.classifier.bias"))
    with pytest.raises(InputError, match=r"head\.classifier\.bias is missing"):
        load_network(path)


def test_files_that_are_no_networks_are_told(saved, tmp_path):
    path, _ = saved()
    other = tmp_path / "other.safetensors"
    cases = {
        "truncated": path.read_bytes()[:-1000],
        "pickle": b"\x80\x02cos\nmkdir\n",
        "text": b"hello",
        "empty": b"",
    }
    for content in cases.values():
        other.write_bytes(content)
        with pytest.raises(InputError, match="not a safetensors file, or damaged"):
            load_network(other)
    save_file({"x": torch.zeros(1)}, other)
    with pytest.raises(InputError, match="without a network's card"):
        load_network(other)
    with pytest.raises(InputError, match="no such file"):
        load_network(tmp_path / "nothing")


def test_an_export_equals_the_original(saved, tmp_path):
    path, network = saved()
    difference = export_network(path, tmp_path / "out.pt2")
    exported = torch.export.load(tmp_path / "out.pt2").module()
    clips = torch.randn(5, 2, 8, 32, 32)
    with torch.no_grad():
        expected = network(clips)
        largest = expected.abs().max().item()
        torch.testing.assert_close(exported(clips), expected, rtol=0, atol=1e-5 * max(largest, 1))
    assert difference <= 1e-5 * max(largest, 1)
    with pytest.raises(InputError, match=r"ends in \.pt2 or \.onnx"):
        export_network(path, tmp_path / "out.bin")
    assert {p.name for p in tmp_path.iterdir()} == {"network.safetensors", "out.pt2"}
