import json
from random import Random

import pytest
import torch
from nni.mutable import SampleValidationError
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import LayerChoice
from nni.nas.space import RawFormatModelSpace
from nni.nas.strategy import DARTS, RandomOneShot
from numpy.random import RandomState
from torch.utils.data import TensorDataset

from nni_evanet.architecture import Architecture, ArchitectureError
from nni_evanet.networks import build_network
from nni_evanet.search_spaces.supernet import (
    InceptionSuperSpace,
    ResNetSuperSpace,
    architecture_of_path,
    path_of,
)
from nni_evanet.space import SearchSpace

torch.set_num_threads(1)

SPACES = [ResNetSuperSpace, InceptionSuperSpace]
CLASSES = 3
SMALL = {"width": 8, "slots": 2, "ops": ("conv2plus1d", "itgm"), "times": (1, 3), "modules": 2}


def make(space, **options):
    return space(CLASSES, **({"repeats": (1, 2)} | SMALL | options))


def clips(count=4):
    return torch.randn(count, 3, 8, 16, 16)


@pytest.fixture(scope="module", params=SPACES)
def small(request):
    """A space that no strategy has changed, and its decisions, which NNI takes long to collect."""
    space = make(request.param)
    return space, space.simplify()


@pytest.fixture(scope="module")
def resnet():
    return make(ResNetSuperSpace)


@pytest.fixture
def path(resnet):
    return random_path(resnet.simplify(), seed=0)


def random_path(mutables, seed):
    rng = RandomState(seed)
    return {str(label): mutable.random({}, rng) for label, mutable in mutables.items()}


def evaluator():
    """Two steps of training on clips of noise."""
    data = TensorDataset(clips(8), torch.arange(8) % CLASSES)
    loaders = [DataLoader(data, batch_size=4) for _ in range(2)]
    return Classification(
        num_classes=CLASSES,
        train_dataloaders=loaders[0],
        val_dataloaders=loaders[1],
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.mark.parametrize("make_strategy", [DARTS, RandomOneShot])
@pytest.mark.parametrize("space_class", SPACES)
def test_nnis_one_shot_strategies_train_it_and_export_architectures(space_class, make_strategy):
    torch.manual_seed(0)
    space = make(space_class)
    before = {name: value.clone() for name, value in space.state_dict().items()}
    strategy = make_strategy()
    strategy(RawFormatModelSpace.from_model(space, evaluator()), SequentialExecutionEngine())

    trained = strategy.supernet.state_dict()
    name = "head.classifier.weight"
    assert not torch.equal(trained[name], before[name])
    assert all(value.isfinite().all() for value in trained.values())

    (model,) = strategy.list_models()
    architecture = space.architecture_of(model.sample)
    assert architecture.meta == space.meta and len(architecture.modules) == 2
    network = build_network(architecture, num_classes=CLASSES, width=8)
    assert network(clips()).shape == (4, CLASSES)


def test_darts_moves_every_decision():
    # Two steps of opposite sign would leave a decision where it was: that is up to the draws.
    torch.manual_seed(0)
    space = make(ResNetSuperSpace)
    labels = {str(label) for label in space.simplify()}
    strategy = DARTS(arc_learning_rate=0.1)
    strategy(RawFormatModelSpace.from_model(space, evaluator()), SequentialExecutionEngine())
    probabilities = strategy.oneshot_module.export_probs()
    assert {str(label) for label in probabilities} == labels
    # Two steps of Adam at 0.1 move a logit further than its initial values, of 1e-3, are apart.
    for distribution in probabilities.values():
        assert max(distribution.values()) - min(distribution.values()) > 0.01


def test_a_trained_supernet_evaluates_any_architecture():
    torch.manual_seed(0)
    space = make(ResNetSuperSpace)
    strategy = RandomOneShot()
    model_space = RawFormatModelSpace.from_model(space, evaluator())
    strategy(model_space, SequentialExecutionEngine())
    architecture = space.search_space.random(Random(0))
    network = space.freeze(space.path_of(architecture)).eval()
    assert not any(isinstance(module, LayerChoice) for module in network.modules())
    weights = strategy.supernet.state_dict()
    assert torch.equal(network.head.classifier.weight, weights["head.classifier.weight"])
    with torch.no_grad():
        assert network(clips()).shape == (4, CLASSES)


def test_paths_are_architectures_and_back(small):
    space, mutables = small
    for seed in range(50):
        path = random_path(mutables, seed)
        architecture = space.architecture_of(path)
        space.search_space.check(architecture)
        complete = space.path_of(architecture)
        assert complete.keys() == path.keys()
        assert all(complete[str(label)] in mutables[label].values for label in mutables)
        assert space.architecture_of(complete) == architecture
    assert space.contains(complete)


@pytest.mark.parametrize("meta", ["resnet", "inception"])
def test_any_architecture_is_a_path_of_the_whole_space(meta):
    whole = SearchSpace(meta)
    rng = Random(0)
    for _ in range(50):
        architecture = Architecture.random(meta, rng)
        assert architecture_of_path(path_of(architecture, whole), whole) == architecture


def test_a_slot_without_a_stream_is_dropped_and_the_order_kept():
    space = SearchSpace("resnet", stream_counts=(1, 2, 3))
    path = path_of(space.random(Random(0)), space) | {
        "module1/stream1/type": "conv",
        "module1/stream1/conv1": "itgm_3",
        "module1/stream2/type": "none",
        "module1/stream3/type": "pool",
        "module1/stream3/pool": "pool_1",
        "learning_rate": 0.1,
    }
    streams = architecture_of_path(path, space).modules[0].streams
    assert [(stream.type, stream.op, stream.time) for stream in streams] == [
        ("conv", "itgm", 3),
        ("pool", None, 1),
    ]


def test_a_module_is_never_empty(resnet, path):
    types = {str(k): m.values for k, m in resnet.simplify().items() if str(k).endswith("/type")}
    assert len(types) == 4
    for label, values in types.items():
        assert ("none" in values) == label.endswith("stream2/type")
    path |= {f"module2/stream{slot}/type": "none" for slot in (1, 2)}
    with pytest.raises(SampleValidationError, match="none not found in"):
        resnet.freeze(path)
    with pytest.raises(ArchitectureError, match=r"module2/streams: \[\] is not a list"):
        resnet.architecture_of(path)


def test_streams_have_the_same_width_whichever_are_active(resnet, path):
    kept = "module1/stream1/type"
    alone = resnet.freeze(path | {kept: "conv1x1x1", "module1/stream2/type": "none"})
    both = resnet.freeze(path | {kept: "conv1x1x1", "module1/stream2/type": "conv1x1x1"})
    x = torch.randn(2, 8, 2, 4, 4)
    module = 2  # after the stem's convolution and pool
    with_none, with_two = (network.body[module][0].body(x) for network in (alone, both))
    assert with_none.shape == with_two.shape == (2, 32, 2, 4, 4)
    assert torch.equal(with_none[:, :16], with_two[:, :16])
    assert not with_none[:, 16:].any() and with_two[:, 16:].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stem/conv": "lstm_3"}, "stem/conv/op: 'lstm' is not one of"),
        ({"stem/conv": "itgm_5"}, "stem/conv/time: 5 is not one of 1, 3$"),
        ({"stem/conv": "itgm"}, "stem/conv/time: 'itgm' is not one of"),
        ({"stem/conv": None}, "stem/conv/op: None is not one of"),
        ({"module1/repeats": 3}, "module1/repeats: 3 is not one of 1, 2$"),
        ({"module1/stream1/type": "lstm"}, "module1/stream1/type: 'lstm' is not one of"),
    ],
)
def test_what_is_no_path_is_named(resnet, path, change, message):
    with pytest.raises(ArchitectureError, match=message):
        resnet.architecture_of(path | change)


@pytest.mark.parametrize("label", ["stem/pool1", "module1/repeats", "module1/stream1/type"])
def test_what_is_missing_is_named(resnet, path, label):
    del path[label]
    with pytest.raises(ArchitectureError, match=f"{label}(/time)?: missing"):
        resnet.architecture_of(path)


def test_an_architecture_of_another_space_is_refused(resnet):
    with pytest.raises(ArchitectureError, match="modules: 4 is not one of 2"):
        resnet.path_of(Architecture.random("resnet", Random(0)))
    data = json.loads(resnet.search_space.random(Random(0)).to_json())
    unalternating = Architecture.from_json({**data, "alternate_repeats": False})
    with pytest.raises(ArchitectureError, match="alternate_repeats"):
        resnet.path_of(unalternating)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ops": ("lstm",)}, "ops: 'lstm' is not one of"),
        ({"slots": 7}, "stream_counts: 7 is not one of"),
        ({"slots": 0}, "slots: 0 is not a positive"),
        ({"width": 1, "slots": 6}, "it leaves 4 filters to 6 slots"),
    ],
)
def test_a_wrong_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        make(ResNetSuperSpace, **options)
