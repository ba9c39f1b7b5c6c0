"""Checkpoints to safetensors, and those to networks."""

import builtins

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from nni_evanet import release
from nni_evanet.architecture import Architecture
from nni_evanet.errors import InputError
from nni_evanet.release import checkpoint, files


@pytest.fixture
def fake_checkpoint(monkeypatch, rgb1_variables):
    """The variables that a checkpoint seems to hold; a test may change them."""
    variables = {k.replace("Logits/Conv/", "Logits/Conv3d/"): v for k, v in rgb1_variables.items()}

    def read(path, wanted):
        return {name: array for name, array in variables.items() if wanted(name)}

    monkeypatch.setattr(files, "read_checkpoint", read)
    return variables


def check_imported(imported, out, rgb1):
    assert imported[:5] == ("rgb1", 51, 8, 3, 417)
    assert str(imported) == (f"rgb1: 51 classes, width 8, 3 input channels, 417 variables -> {out}")
    with safe_open(out, "pt") as file:
        metadata = file.metadata()
    assert metadata["dna"] == release.DNAS["rgb1"]
    assert Architecture.from_json(metadata["architecture"]) == release.architecture("rgb1")
    network = release.load(out)
    assert not network.training
    with torch.no_grad():
        logits = network(torch.from_numpy(rgb1["in0/video"]).movedim(-1, 1)).numpy()
    assert np.abs(logits - rgb1["in0/Logits"]).max() < 1e-4 * np.abs(rgb1["in0/Logits"]).max()


def test_import(tmp_path, fake_checkpoint, rgb1):
    out = tmp_path / "rgb1.safetensors"
    check_imported(release.import_release("model.ckpt", "rgb1", out), out, rgb1)


def test_a_real_checkpoint(tmp_path, whole_data, rgb1):
    pytest.importorskip("tensorflow")
    folder = whole_data / "ckpt_rgb1_w8_c51"
    out = tmp_path / "rgb1.safetensors"
    for path in (folder, folder / "model.ckpt", folder / "model.ckpt.index"):
        check_imported(release.import_release(path, "rgb1", out), out, rgb1)


def test_a_damaged_checkpoint(tmp_path):
    pytest.importorskip("tensorflow")
    (tmp_path / "model.ckpt.index").write_bytes(b"nothing" * 20)
    (tmp_path / "model.ckpt.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read"):
        release.import_release(tmp_path / "model.ckpt", "rgb1", tmp_path / "out")
    with pytest.raises(InputError, match="cannot be read"):
        (tmp_path / "empty").mkdir()
        release.import_release(tmp_path / "empty", "rgb1", tmp_path / "out")


def test_flow_is_told_from_the_first_convolution(tmp_path, fake_checkpoint):
    name = "VidIncRes/Conv2d_1a_7x7/weights"
    fake_checkpoint[name] = fake_checkpoint[name][:, :, :, :2]
    imported = release.import_release("x", "rgb1", tmp_path / "out")
    assert imported.in_channels == 2


def test_values_of_an_optimizer_are_ignored_and_others_are_not(tmp_path, fake_checkpoint):
    beta = "VidIncRes/BatchNorm/beta"
    for name in ("global_step", "beta1_power", f"{beta}/Momentum", f"{beta}/Adam_1"):
        fake_checkpoint[name] = np.float32(1)
    release.import_release("x", "rgb1", tmp_path / "out")
    fake_checkpoint[f"{beta}/ExponentialMovingAverage"] = np.float32(1)
    with pytest.raises(InputError, match=f"1 unused: {beta}/ExponentialMovingAverage$"):
        release.import_release("x", "rgb1", tmp_path / "out")


def test_variables_of_another_network(tmp_path, fake_checkpoint):
    with pytest.raises(InputError, match="missing"):
        release.import_release("x", "rgb2", tmp_path / "out")
    del fake_checkpoint["VidIncRes/Logits/Conv3d/biases"]
    with pytest.raises(InputError, match="Conv3d/biases, which tells the num_classes"):
        release.import_release("x", "rgb1", tmp_path / "out")
    fake_checkpoint["VidIncRes/Logits/Conv3d/biases"] = np.float32(1)
    with pytest.raises(InputError, match="not 1-dimensional"):
        release.import_release("x", "rgb1", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_does_not_exist(tmp_path, fake_checkpoint):
    with pytest.raises(InputError, match="cannot be written"):
        release.import_release("x", "rgb1", tmp_path / "none" / "out")
    with pytest.raises(InputError, match="neither"):
        release.import_release("x", "rgb3", tmp_path / "out")


def test_a_checkpoint_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match=r"neither .*model.ckpt.index nor .*model.ckpt exists"):
        release.import_release(tmp_path / "model.ckpt.index", "rgb1", tmp_path / "out")


def test_without_tensorflow(tmp_path, monkeypatch):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "tensorflow":
            raise ImportError("No module named 'tensorflow'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install \"nni-evanet\[tensorflow\]\""):
        checkpoint.read_checkpoint(tmp_path, wanted=lambda name: True)


def test_files_that_are_no_imported_network(tmp_path):
    path = tmp_path / "file"
    for content in (None, b"", b"nothing" * 20):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match="no imported release network"):
            release.load(path)
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="its metadata lack 'dna'"):
        release.load(path)
    metadata = {"num_classes": "3", "width": "8", "in_channels": "3"}
    save_file({"x": torch.zeros(2)}, path, metadata | {"dna": release.DNAS["rgb1"]})
    with pytest.raises(InputError, match="no imported release network"):
        release.load(path)
