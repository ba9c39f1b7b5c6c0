"""The command line: what each command writes, and one line for what is wrong."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from nni_evanet import Architecture
from nni_evanet.cli import main
from nni_evanet.space import SearchSpace

SPACES = Path(__file__).parents[1] / "search_spaces"


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def architecture(tmp_path):
    path = tmp_path / "found.json"
    path.write_text(Architecture.random("resnet", Random(1)).to_json())
    return path


@pytest.mark.parametrize("meta", ["resnet", "inception"])
def test_the_search_space_files_are_what_the_command_writes(meta):
    text = (SPACES / f"evanet_{meta}.json").read_text()
    assert call("export-space", meta).stdout == text
    choices = {label: choice["_value"] for label, choice in json.loads(text).items()}
    assert SearchSpace.from_choices(choices) == SearchSpace(meta)


def test_export_space_writes_a_file(tmp_path):
    path = tmp_path / "space.json"
    assert call("export-space", "resnet", "--out", path).exit_code == 0
    assert path.read_text() == (SPACES / "evanet_resnet.json").read_text()


def test_describe_prints_layers_and_cost(architecture):
    result = call("describe", architecture, "--frames", 8, "--size", 32, "--width", 8)
    assert result.exit_code == 0, result.output
    assert "itgm" in result.output.lower() and "receptive field" in result.output.lower()


def test_draw_writes_a_picture_of_a_file(architecture, tmp_path):
    out = tmp_path / "found.svg"
    assert call("draw", architecture, "-o", out).exit_code == 0
    assert out.read_text().lstrip().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["describe", "nowhere.json"], "'nowhere.json' does not exist"),
        (["draw", "nowhere", "-o", "x.svg"], "experiment nowhere: not known to nnictl"),
        (["top", "nowhere"], "experiment nowhere: not known to nnictl"),
        (["export-space", "vgg"], "'vgg' is not one of 'resnet', 'inception'"),
        (["make-dataset", "moving-digits", "out"], "Missing option '--clips-per-class'"),
        (["import-release", "nowhere", "--network", "rgb3", "--out", "x"], "network: 'rgb3'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1 and message in result.stderr
    assert result.stderr.startswith(f"nni-evanet {arguments[0]}: ")


def test_a_broken_architecture_file_is_named(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text('{"meta": "resnet"}')
    result = call("describe", path)
    assert result.exit_code == 2 and f"{path}: stem: missing" in result.stderr
    path.write_bytes(b"\xff\xfe\x00")
    assert call("draw", path, "-o", tmp_path / "x.svg").exit_code == 2


def test_the_command_starts_without_torch():
    code = "import sys, nni_evanet.cli; print([m for m in ('torch', 'nni') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == "[]", output.stderr
