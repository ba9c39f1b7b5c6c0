"""Full training on trees in the datasets' true layouts, and transfer from one to another."""

import csv

import pytest
from click.testing import CliRunner
from trees import charades_tree, flow_tree, hmdb51_tree

from nni_evanet import load_network
from nni_evanet.architecture import Architecture, Module, ResNetStem, Stream
from nni_evanet.cli import main
from nni_evanet.data import DataSource
from nni_evanet.layers import ITGM

SMALL = ["--frames", "6", "--size", "16", "--batch-size", "4", "--workers", "0"]
TREES = {"hmdb51": (hmdb51_tree, "name", "flow"), "charades": (charades_tree, "charades", None)}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Both datasets with their flow, by name."""
    made = {}
    for name, (write, layout, folder) in TREES.items():
        made[name] = write(tmp_path_factory.mktemp(name) / "data")
        for subset in ("train", "test"):
            videos = DataSource(dataset=name, data_path=made[name]).load(subset)
            flow_tree(made[name] / (folder or "Charades_v1_flow"), videos, layout=layout)
    return made


@pytest.fixture(scope="module")
def architecture(tmp_path_factory):
    """The file of an architecture with short iTGM layers."""
    modules = (Module(1, (Stream("conv", "itgm", 3), Stream("conv", "conv3d", 1))),) * 4
    path = tmp_path_factory.mktemp("architecture") / "architecture.json"
    path.write_text(Architecture("resnet", ResNetStem("itgm", 3, 1, 3, 1), modules).to_json())
    return path


def call(command, *arguments):
    return CliRunner().invoke(main, [command, *map(str, arguments)])


def train(trees, name, out, *arguments):
    data = ("--dataset", name, "--data-path", trees[name])
    result = call("train", *data, "--out", out, "--iterations", "3", *SMALL, *arguments)
    assert result.exit_code == 0, result.output
    with open(out / "curve.csv", newline="") as file:
        assert [r["iteration"] for r in csv.DictReader(file) if r["loss"]] == ["1", "2", "3"]
    return load_network(out / "network.safetensors")


def one_line(result, *parts):
    lines = [line for line in result.stderr.splitlines() if " INFO " not in line]
    assert result.exit_code == 2 and len(lines) == 1, result.output
    assert all(part in lines[0] for part in parts), lines[0]


@pytest.mark.parametrize("modality", ["rgb", "flow"])
@pytest.mark.parametrize("name", TREES)
def test_train_and_evaluate(trees, architecture, tmp_path, name, modality):
    options = ("--architecture", architecture, "--width", "4", "--modality", modality)
    network = train(trees, name, tmp_path / "out", *options, "--validation-clips", "3")
    card = network.card
    assert (card.dataset, card.modality, card.multi_label) == (name, modality, name == "charades")
    metric = "map" if name == "charades" else "accuracy"
    assert 0 <= card.metrics[f"validation_{metric}"] <= 1
    data = ("--dataset", name, "--data-path", trees[name], "--clips", "2", "--workers", "0")
    file = tmp_path / "out/network.safetensors"
    result = call("evaluate", file, *data, "--out", tmp_path / "results")
    assert result.exit_code == 0, result.output


def test_transfer_with_longer_mixtures(trees, architecture, tmp_path):
    """From HMDB51 to Charades as in table 11: the backbone is taken, iTGM layers are stretched."""
    first = train(
        trees, "hmdb51", tmp_path / "first", "--architecture", architecture, "--width", "4"
    )
    init = ("--init", tmp_path / "first/network.safetensors", "--stretch", "11")
    # Without a step that matters, what was taken is what is there.
    second = train(trees, "charades", tmp_path / "second", *init, "--learning-rate", "1e-12")
    layers = [module for module in second.modules() if isinstance(module, ITGM)]
    assert {layer.kernel().shape[2] for layer in layers} == {11}
    before, after = dict(first.named_parameters()), dict(second.named_parameters())
    assert before.keys() == after.keys()
    for name, value in before.items():
        if not name.startswith("head"):
            assert value.sub(after[name]).abs().max() < 1e-6, name
    assert len(second.card.classes) == 4 and "initialisation" in str(second.card.provenance)
    data = ("--dataset", "hmdb51", "--data-path", trees["hmdb51"])
    result = call("evaluate", tmp_path / "second/network.safetensors", *data, "--out", tmp_path)
    one_line(result, "second", "network.safetensors")


def test_what_cannot_be_used_is_one_line(trees, architecture, tmp_path):
    hmdb51 = ("--dataset", "hmdb51", "--data-path", trees["hmdb51"], "--out", tmp_path / "out")
    fixed = ("--iterations", "2", *SMALL)
    no_flow = ("--modality", "flow", "--flow-path", tmp_path / "nowhere")
    result = call("train", *hmdb51, "--architecture", architecture, *fixed, *no_flow)
    one_line(result, "nowhere")
    result = call("train", *hmdb51, "--init", architecture, *fixed)
    one_line(result, "architecture.json", "not a safetensors file")
    result = call("evaluate", architecture, *hmdb51)
    one_line(result, "architecture.json", "not a safetensors file")
    result = call("train", *hmdb51, "--architecture", "no_such_experiment", *fixed)
    one_line(result, "experiment no_such_experiment")
