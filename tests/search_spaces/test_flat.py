import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

import nni_evanet.search_spaces
from nni_evanet.architecture import Architecture, ArchitectureError
from nni_evanet.search_spaces import architecture_of, json_space, json_space_text, sample_of
from nni_evanet.space import SearchSpace

FILE = Path(nni_evanet.search_spaces.__file__).parent / "evanet_resnet.json"


def test_the_file_is_what_the_package_writes():
    text = FILE.read_text(encoding="utf-8")
    assert text == json_space_text("resnet")
    assert json.loads(text) == json_space("resnet")


def test_a_sample_of_the_flat_space_is_an_architecture():
    rng = Random(0)
    for _ in range(50):
        sample = {label: rng.choice(choice["_value"]) for label, choice in json_space().items()}
        architecture = Architecture.from_sample(sample)
        assert len(architecture.modules[0].streams) == sample["module1/streams"]


def test_an_unknown_meta_architecture_is_named():
    with pytest.raises(ArchitectureError, match="meta: 'vgg' is not one of resnet"):
        json_space_text("vgg")


def test_neither_torch_nor_nni_is_imported():
    code = (
        "import sys, nni_evanet.search_spaces as s; s.json_space('resnet');"
        "assert not {'torch', 'nni'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_complete_samples_are_architectures_and_back():
    rng = Random(1)
    for _ in range(50):
        architecture = Architecture.random("resnet", rng)
        sample = sample_of(architecture)
        assert sample.keys() == SearchSpace("resnet").choices().keys()
        assert architecture_of(sample) == architecture


def test_inactive_decisions_have_one_canonical_value():
    architecture = Architecture.random("resnet", Random(2))
    noisy = sample_of(architecture)
    inactive = noisy.keys() - architecture.to_sample().keys()
    noisy |= {label: SearchSpace("resnet").choices()[label][-1] for label in inactive}
    assert sample_of(architecture_of(noisy)) == sample_of(architecture)


def test_labels_of_an_evaluator_are_ignored():
    architecture = Architecture.random("resnet", Random(3))
    assert architecture_of({**sample_of(architecture), "learning_rate": 0.1}) == architecture


def test_alternate_repeats_survive():
    data = json.loads(Architecture.random("resnet", Random(4)).to_json())
    architecture = Architecture.from_json({**data, "alternate_repeats": False})
    assert architecture_of(sample_of(architecture)) == architecture
