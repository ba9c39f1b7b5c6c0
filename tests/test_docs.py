"""The code in docs/ runs as it stands."""

import re
from fractions import Fraction
from pathlib import Path

from nni_evanet.architecture import Architecture, Module, ResNetStem, Stream
from nni_evanet.networks.blueprint import Blueprint
from nni_evanet.networks.card import NetworkCard
from nni_evanet.networks.files import save_network

PAGE = Path(__file__).parents[1] / "docs" / "fine_tuning.md"


def test_fine_tuning(tmp_path, monkeypatch):
    streams = (Stream("conv", "itgm", 3),)
    architecture = Architecture(
        "resnet", ResNetStem("conv3d", 3, 1, 1, 1), (Module(1, streams),) * 4
    )
    card = NetworkCard(
        blueprint=Blueprint(architecture=architecture, width=4),
        classes=("a", "b"),
        modality="rgb",
        frames=8,
        size=16,
        fps=Fraction(25),
        margin=1,
        multi_label=False,
        dropout=0.5,
        dataset="test",
    )
    save_network(tmp_path / "network.safetensors", card.blueprint.build(num_classes=2), card)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    assert names["probabilities"].shape == (8, 4)
    assert names["loss"].isfinite()
