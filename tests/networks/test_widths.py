"""Baselines whose cost is given."""

from functools import cache

import pytest
import torch

from nni_evanet.networks.baselines import build_baseline
from nni_evanet.networks.cost import count_macs
from nni_evanet.networks.widths import ABOVE, width_of_cost

CLIP = (3, 8, 16, 16)


@cache
def cost(name, width):
    with torch.device("meta"):
        return count_macs(build_baseline(name, num_classes=12, width=width), CLIP) / 1e9


@pytest.mark.parametrize("name", ["inception-conv3d", "resnet50-conv2plus1d"])
def test_no_other_width_is_nearer_to_the_cost(name):
    for wanted in (0.0012, 0.0042):
        width = width_of_cost(name, wanted, CLIP, num_classes=12)
        found = cost(name, width)
        assert found <= ABOVE * wanted
        for other in (cost(name, width + 1), *([cost(name, width - 1)] if width > 1 else [])):
            assert abs(found - wanted) <= abs(other - wanted) or other > ABOVE * wanted


def test_a_width_gives_itself_and_nothing_is_below_one():
    assert width_of_cost("i3d", cost("i3d", 13), CLIP, num_classes=12) == 13
    assert width_of_cost("i3d", 1e-9, CLIP, num_classes=12) == 1
