"""TensorFlow variables to and from our networks."""

import numpy as np
import pytest
import torch

from nni_evanet import release
from nni_evanet.release import VariablesError

HEAD = "VidIncRes/Logits/Conv/biases"


@pytest.fixture
def network():
    return release.build("rgb1", num_classes=51, width=8)


@pytest.mark.parametrize("name", ["rgb1", "rgb2"])
def test_every_parameter_and_moving_statistic_has_one_name(name):
    network = release.build(name, num_classes=3, width=8)
    counters = "num_batches_tracked"  # PyTorch's own
    state = {k: v for k, v in network.state_dict().items() if not k.endswith(counters)}
    variables = release.variables(network)
    ours = sorted((tensor.data_ptr(), tensor.numel()) for tensor in state.values())
    assert sorted((view.data_ptr(), view.numel()) for view in variables.values()) == ours


def test_names_and_shapes_are_the_release_s(network, rgb1_variables):
    theirs = {
        name.replace("Logits/Conv/", "Logits/Conv3d/"): array.shape
        for name, array in rgb1_variables.items()
    }
    ours = {name: tuple(view.shape) for name, view in release.variables(network).items()}
    assert ours == theirs


def test_names_of_streams_with_two_convolutions():
    names = release.variables(release.build("rgb2", num_classes=3, width=8))
    scope = "VidIncRes/res_block_2/BaseBlock/res_block_2/Branch_2"
    assert [name.removeprefix(f"{scope}/") for name in names if scope in name] == [
        "Conv2d_0a_1x1/weights",
        *(f"BatchNorm/{n}" for n in ("gamma", "beta", "moving_mean", "moving_variance")),
        "Conv2d_0b_3x3/weights",
        *(f"BatchNorm_1/{n}" for n in ("gamma", "beta", "moving_mean", "moving_variance")),
        "Conv2d_0c_3x3/weights",
        *(f"BatchNorm_2/{n}" for n in ("gamma", "beta", "moving_mean", "moving_variance")),
        "Conv2d_0c_3x3s/weights",
        *(f"BatchNorm_3/{n}" for n in ("gamma", "beta", "moving_mean", "moving_variance")),
    ]


def test_what_is_loaded_comes_back(network, rgb1_variables):
    release.load_variables(network, rgb1_variables)
    for name, view in release.variables(network).items():
        theirs = rgb1_variables[name.replace("Conv3d/", "Conv/")]
        np.testing.assert_array_equal(view.numpy(), theirs)


def test_either_name_of_the_head(network, rgb1_variables):
    renamed = {k.replace("Logits/Conv/", "Logits/Conv3d/"): v for k, v in rgb1_variables.items()}
    release.load_variables(network, renamed)
    with pytest.raises(VariablesError) as caught:
        release.load_variables(network, renamed | rgb1_variables)
    assert len(caught.value.unused) == 2


def refused(network, variables):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(VariablesError) as caught:
        release.load_variables(network, variables)
    assert all(torch.equal(tensor, before[k]) for k, tensor in network.state_dict().items())
    assert "\n" not in str(caught.value)
    return caught.value


def test_missing_unused_and_misshapen_variables_are_named(network, rgb1_variables):
    shortcut = "VidIncRes/res_block_4/BaseBlock/res_block_4/shortcut/weights"
    variables = rgb1_variables | {"global_step": 7, shortcut: np.zeros((1, 1, 1, 60, 127))}
    del variables[HEAD]
    assert str(refused(network, variables)) == (
        f"variables: 1 missing: {HEAD}; 1 unused: global_step; "
        f"1 misshapen: {shortcut} is (1, 1, 1, 60, 127), expected (1, 1, 1, 60, 128)"
    )


def test_another_number_of_classes(rgb1_variables):
    network = release.build("rgb1", num_classes=50, width=8)
    assert f"{HEAD} is (51,), expected (50,)" in str(refused(network, rgb1_variables))


def test_another_network(rgb1_variables):
    error = refused(release.build("rgb2", num_classes=51, width=8), rgb1_variables)
    assert error.missing and error.unused and error.misshapen
    assert "more" in str(error)


def test_no_variables(network):
    assert len(refused(network, {}).missing) == 417


def test_what_holds_no_numbers(network, rgb1_variables):
    words = np.full((51,), "word")
    assert "of <U4" in str(refused(network, rgb1_variables | {HEAD: words}))


def test_another_kind_of_network(rgb1_variables):
    with pytest.raises(TypeError, match="Linear"):
        release.load_variables(torch.nn.Linear(2, 2), rgb1_variables)
