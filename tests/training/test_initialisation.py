"""First weights: from our networks, from the authors', from two-dimensional ones."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from nni_evanet import release
from nni_evanet.errors import InputError
from nni_evanet.layers import ITGM
from nni_evanet.networks.blueprint import Blueprint, head_tensors
from nni_evanet.training.inflation import inflate_into
from nni_evanet.training.initialisation import choose_blueprint, initialise_from, read_source

torch.set_num_threads(1)

HEAD = {"head.classifier.weight", "head.classifier.bias"}


def initialised(path, classes, *, in_channels=3, stretch=None):
    source = read_source(path)
    blueprint = choose_blueprint(None, source, stretch)
    network = blueprint.build(num_classes=len(classes), in_channels=in_channels).eval()
    return network, initialise_from(network, blueprint, source, classes)


def test_the_same_classes_keep_the_head(make_network_file, small_blueprint):
    path, original = make_network_file(small_blueprint)
    network, report = initialised(path, ("a", "b", "c"))
    clips = torch.randn(1, 3, 8, 16, 16)
    torch.testing.assert_close(network(clips), original(clips), rtol=0, atol=0)
    assert report.fresh == () and report.taken.keys() == network.state_dict().keys()


@pytest.mark.parametrize("classes", [("a", "c", "b"), ("x", "y")])
def test_other_classes_get_a_new_head(make_network_file, small_blueprint, classes):
    path, original = make_network_file(small_blueprint)
    network, report = initialised(path, classes)
    assert set(report.fresh) == HEAD and "new head" in report.notes[0]
    for name, value in network.state_dict().items():
        if name not in HEAD:
            torch.testing.assert_close(value, original.state_dict()[name], rtol=0, atol=0)


def test_stretching_keeps_all_weights_and_lengthens_itgm(make_network_file, small_blueprint):
    path, original = make_network_file(small_blueprint)
    network, report = initialised(path, ("a", "b", "c"), stretch=11)
    times = {layer.time for layer in network.modules() if isinstance(layer, ITGM)}
    assert times == {11} and any("stretched" in note for note in report.notes)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, original.state_dict()[name], rtol=0, atol=0)
    # The same as asking for the stretched architecture by itself.
    stretched = small_blueprint.stretched(11)
    assert choose_blueprint(stretched, read_source(path), None) == stretched


def test_another_architecture_is_refused(make_network_file, small_blueprint):
    path, _ = make_network_file(small_blueprint)
    other = small_blueprint.architecture.with_ops(conv3d="conv2plus1d")
    with pytest.raises(InputError, match="in more than iTGM's temporal sizes"):
        choose_blueprint(Blueprint(architecture=other, width=4), read_source(path), None)


def test_flow_starts_from_the_mean_over_rgb(make_network_file, small_blueprint):
    path, original = make_network_file(small_blueprint)
    network, report = initialised(path, ("a", "b", "c"), in_channels=2)
    kernel, rgb = network.stem.conv.conv.spatial, original.stem.conv.conv.spatial
    torch.testing.assert_close(kernel[:, 0], rgb.mean(1))
    torch.testing.assert_close(kernel[:, 1], rgb.mean(1))
    assert any("mean over 3 channels" in note for note in report.notes)


@pytest.mark.parametrize("classes", [3, 4])
def test_an_imported_release_network_starts_another(tmp_path, classes):
    dna = release.DNAS["rgb1"]
    original = release.build(dna, num_classes=3, width=8).eval()
    metadata = {"dna": dna, "num_classes": "3", "width": "8", "in_channels": "3"}
    path = tmp_path / "rgb1.safetensors"
    save_file({n: t.contiguous() for n, t in original.state_dict().items()}, path, metadata)
    network, report = initialised(path, [str(n) for n in range(classes)])
    assert set(report.fresh) == (set() if classes == 3 else HEAD)
    torch.testing.assert_close(
        network.stages[3].state_dict(), original.stages[3].state_dict(), rtol=0, atol=0
    )


class Image(nn.Module):
    """A two-dimensional network with kernels for the small architecture's layers."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 7, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 8, 3, bias=False)
        self.conv3 = nn.Conv2d(4, 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4)
        self.conv4 = nn.Conv2d(99, 5, 3, bias=False)
        self.fc = nn.Linear(5, 2)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("in_channels", [3, 2])
def test_image_weights_are_inflated_in_order(tmp_path, small_blueprint, ending, in_channels):
    torch.manual_seed(0)
    image = Image()
    nn.init.normal_(image.bn1.running_mean)
    path = tmp_path / f"image.{ending}"
    (torch.save if ending == "pth" else save_file)(image.state_dict(), path)
    network = small_blueprint.build(num_classes=3, in_channels=in_channels)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    report = inflate_into(network, small_blueprint, path)
    state, weights = network.state_dict(), image.state_dict()
    assert {report.taken[n] for n in report.taken} | set(report.unused) == set(weights)
    assert set(report.taken) | set(report.fresh) == set(state)
    # The iTGM stem has the spatial kernel, and its batch norm.
    rgb = weights["conv1.weight"]
    expected = rgb if in_channels == 3 else rgb.mean(1, keepdim=True).expand(-1, 2, -1, -1)
    torch.testing.assert_close(state["stem.conv.conv.spatial"], expected)
    torch.testing.assert_close(state["stem.conv.norm.running_mean"], weights["bn1.running_mean"])
    # The first 3D convolution of that shape repeats it; a 1x1x1 takes it as it is.
    for name, source in report.taken.items():
        if state[name].dim() == 5:
            assert name not in head_tensors(small_blueprint)
            torch.testing.assert_close(state[name].sum(2), weights[source])
            assert (state[name] == state[name][:, :, :1]).all()
    assert "conv4.weight" in report.unused and "fc.weight" in report.unused
    for name in report.fresh:
        torch.testing.assert_close(state[name], before[name], rtol=0, atol=0)
    assert any("temporal" in name for name in report.fresh)


def test_a_pickle_is_not_taken_for_weights(tmp_path, small_blueprint):
    path = tmp_path / "image.pth"
    torch.save(Image(), path)
    with pytest.raises(InputError, match="not readable as weights alone"):
        inflate_into(small_blueprint.build(num_classes=3), small_blueprint, path)
    torch.save({"x": 1}, path)
    with pytest.raises(InputError, match="expected a state dict"):
        inflate_into(small_blueprint.build(num_classes=3), small_blueprint, path)
