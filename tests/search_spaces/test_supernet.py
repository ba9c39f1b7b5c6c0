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
from nni_evanet.search_spaces.supernet import InceptionSuperSpace, ResNetSuperSpace
from nni_evanet.space import SearchSpace

torch.set_num_threads(1)

SPACES = [ResNetSuperSpace, InceptionSuperSpace]
CLASSES = 3
SMALL = {"width": 4, "slots": 2, "ops": ("conv2plus1d", "itgm"), "times": (1, 3), "modules": 2}


def make(space, **options):
    return space(CLASSES, **({"repeats": (1, 2)} | SMALL | options))


def clips(count=4):
    return torch.randn(count, 3, 4, 16, 16)


def random_path(space, seed):
    path = {}
    space.random(path, RandomState(seed))
    return path


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
    network = build_network(architecture, num_classes=CLASSES, width=4)
    assert network(clips()).shape == (4, CLASSES)


def test_darts_moves_every_decision():
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


@pytest.mark.parametrize("space_class", SPACES)
def test_paths_are_architectures_and_back(space_class):
    space = make(space_class)
    for seed in range(30):
        path = random_path(space, seed)
        architecture = space.architecture_of(path)
        space.search_space.check(architecture)
        complete = space.path_of(architecture)
        assert complete.keys() == path.keys()
        assert space.contains(complete)
        assert space.architecture_of(complete) == architecture


@pytest.mark.parametrize("space_class", SPACES)
def test_the_whole_space_can_be_declared(space_class):
    with torch.device("meta"):
        space = space_class(400)
    whole = SearchSpace(space.meta)
    assert space.search_space == whole
    for seed in range(5):
        architecture = Architecture.random(space.meta, Random(seed))
        assert space.architecture_of(space.path_of(architecture)) == architecture


def test_a_slot_without_a_stream_is_dropped_and_the_order_kept():
    space = make(ResNetSuperSpace, slots=3)
    path = {label: value for label, value in random_path(space, 0).items()}
    path |= {
        "module1/stream1/type": "conv",
        "module1/stream1/conv1": "itgm_3",
        "module1/stream2/type": "none",
        "module1/stream3/type": "pool",
        "module1/stream3/pool": "pool_1",
        "learning_rate": 0.1,
    }
    streams = space.architecture_of(path).modules[0].streams
    assert [(stream.type, stream.op, stream.time) for stream in streams] == [
        ("conv", "itgm", 3),
        ("pool", None, 1),
    ]


def test_a_module_is_never_empty():
    space = make(ResNetSuperSpace)
    slots = {str(label): m for label, m in space.simplify().items() if label.endswith("/type")}
    assert all(("none" in m.values) == (not label.endswith("1/type")) for label, m in slots.items())
    path = random_path(space, 0) | {f"module2/stream{slot}/type": "none" for slot in (1, 2)}
    with pytest.raises(SampleValidationError, match="'none' not found"):
        space.freeze(path)
    with pytest.raises(ArchitectureError, match=r"module2/streams: \[\] is not a list"):
        space.architecture_of(path)


def test_streams_have_the_same_width_whichever_are_active():
    space = make(ResNetSuperSpace, slots=3)
    path = random_path(space, 0) | {"module1/stream2/type": "none"}
    repeat = space.freeze(path).body[2]
    out = repeat[0].body(torch.randn(2, 4, 2, 4, 4))
    assert out.shape[1] == 15  # 16 filters, five for each of three slots
    assert not out[:, 5:10].any() and out[:, :5].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stem/conv": "lstm_3"}, "stem/conv/op: 'lstm' is not one of"),
        ({"stem/conv": "itgm_5"}, "stem/conv/time: 5 is not one of 1, 3$"),
        ({"stem/conv": "itgm"}, "stem/conv/time: 'itgm' is not one of 1, 3$"),
        ({"stem/conv": None}, "stem/conv/op: None is not one of"),
        ({"module1/repeats": 3}, "module1/repeats: 3 is not one of 1, 2$"),
        ({"module1/stream1/type": "lstm"}, "module1/stream1/type: 'lstm' is not one of"),
    ],
)
def test_what_is_no_path_is_named(change, message):
    space = make(ResNetSuperSpace)
    with pytest.raises(ArchitectureError, match=message):
        space.architecture_of(random_path(space, 0) | change)


@pytest.mark.parametrize("label", ["stem/pool1", "module1/repeats", "module1/stream1/type"])
def test_what_is_missing_is_named(label):
    space = make(ResNetSuperSpace)
    path = random_path(space, 0)
    del path[label]
    with pytest.raises(ArchitectureError, match=f"{label}(/time)?: missing"):
        space.architecture_of(path)


def test_an_architecture_of_another_space_is_refused():
    space = make(ResNetSuperSpace)
    with pytest.raises(ArchitectureError, match="modules: 4 is not one of 2"):
        space.path_of(Architecture.random("resnet", Random(0)))


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
