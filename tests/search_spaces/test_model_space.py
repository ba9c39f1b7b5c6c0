from collections import Counter
from random import Random

import nni
import pytest
import torch
from nni.mutable import Categorical, CategoricalMultiple, SampleMissingError, SampleValidationError
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import InputChoice, LayerChoice, Repeat
from nni.nas.space import RawFormatModelSpace, SimplifiedModelSpace
from nni.nas.strategy import TPE, GridSearch, RegularizedEvolution
from nni.nas.strategy import Random as RandomSearch
from numpy.random import RandomState

from nni_evanet import Architecture, build_network
from nni_evanet.search_spaces import InceptionSpace, ResNetSpace, architecture_of
from nni_evanet.space import SearchSpace

torch.set_num_threads(1)

SIZES = {"num_classes": 3, "width": 4}


@pytest.fixture(scope="module")
def space():
    return ResNetSpace(**SIZES)


@pytest.fixture(scope="module")
def executable(space):
    return SimplifiedModelSpace.from_model(space, FunctionalEvaluator(report_logits))


def report_logits(network):
    network.eval()
    with torch.no_grad():
        logits = network(torch.zeros(1, 3, 2, 16, 16))
    assert logits.shape == (1, 3)
    nni.report_final_result(float(logits.sum()))


def count_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_labels_and_choices_are_those_of_the_flat_space(space):
    mutables = {str(label): mutable for label, mutable in space.simplify().items()}
    assert list(mutables) == list(SearchSpace("resnet").choices())
    for label, choices in SearchSpace("resnet").choices().items():
        if label.endswith("/streams"):
            assert mutables[label].values == list(range(len(choices)))
        else:
            assert type(mutables[label]) is Categorical
            assert mutables[label].values == list(choices)


def test_the_decisions_are_nnis_primitives(space):
    kinds = Counter(type(module) for module in space.modules())
    assert kinds[Repeat] == 4  # no module is declared more than once
    assert sum(isinstance(module, InputChoice) for module in space.modules()) == 4
    types = [m for m in space.modules() if isinstance(m, LayerChoice) and "type" in m.label]
    assert len(types) == 4 * 6


def test_declaring_takes_no_memory():
    assert count_parameters(ResNetSpace(num_classes=400)) == 0


def test_a_declaration_does_not_run(space):
    with pytest.raises(RuntimeError, match="freeze a sample"):
        space(torch.zeros(1, 3, 2, 16, 16))


def test_random_samples_are_architectures(space, executable):
    rng = RandomState(0)
    counts: Counter[int] = Counter()
    for _ in range(200):
        sample = executable.random(random_state=rng).sample
        architecture = space.architecture_of(sample)
        for m, module in enumerate(architecture.modules, 1):
            assert len(module.streams) == len(sample[f"module{m}/streams"])
            counts[len(module.streams)] += 1
    # Uniform, as in Architecture.random: 800 draws, 133 of each, standard deviation 11.
    assert counts.keys() == {1, 2, 3, 4, 5, 6}
    assert all(85 < count < 185 for count in counts.values())


def test_any_architecture_is_a_sample(space, executable):
    rng = Random(0)
    for _ in range(20):
        architecture = Architecture.random("resnet", rng)
        sample = space.sample_of(architecture)
        assert space.architecture_of(executable.freeze(sample).sample) == architecture


def test_no_stream_at_all_is_refused(space, executable):
    sample = space.sample_of(Architecture.random("resnet", Random(0)))
    sample["module2/streams"] = []
    for refusing in (space, executable):
        with pytest.raises(SampleValidationError, match="module2/streams: 0 chosen, not one of"):
            refusing.freeze(sample)
    streams = space.simplify()["module2/streams"]
    assert len(list(streams.grid())) == len(streams.as_legacy_dict()["_value"]) == 63
    off = {f"module2/streams/{i}": False for i in range(6)}
    assert not streams.contains(off)
    assert streams.contains({**off, "module2/streams/3": True})


def test_an_algorithm_that_knows_booleans_only_can_split_the_subset(space):
    split = space.simplify(is_leaf=lambda mutable: not isinstance(mutable, CategoricalMultiple))
    assert split["module1/streams/0"].values == [True, False]


def test_freezing_builds_what_was_chosen_and_nothing_else(space, executable):
    rng = Random(1)
    for _ in range(3):
        architecture = Architecture.random("resnet", rng)
        expected = build_network(architecture, **SIZES)
        sample = space.sample_of(architecture)
        for network in (space.freeze(sample), executable.freeze(sample).executable_model()):
            assert type(network) is type(expected)
            assert count_parameters(network) == count_parameters(expected)
            assert network.state_dict().keys() == expected.state_dict().keys()


def test_the_raw_format_builds_the_same(space):
    sample = space.sample_of(Architecture.random("resnet", Random(2)))
    model = RawFormatModelSpace.from_model(space, None).freeze(sample)
    assert count_parameters(model.executable_model()) == count_parameters(space.freeze(sample))


def test_freezing_needs_every_active_decision_only(space, executable):
    architecture = Architecture.random("resnet", Random(3))
    complete = space.sample_of(architecture)
    active = {label: complete[label] for label in architecture.to_sample()}
    assert count_parameters(space.freeze(active)) == count_parameters(space.freeze(complete))
    with pytest.raises(SampleMissingError):
        executable.freeze(active)


def test_a_wrong_value_is_refused(space):
    sample = space.sample_of(Architecture.random("resnet", Random(4)))
    with pytest.raises(SampleValidationError, match=r"4 not found in \[1, 3, 5, 7, 9, 11\]"):
        space.freeze({**sample, "stem/conv/time": 4})


def test_a_sampled_model_survives_the_way_to_a_trial(executable):
    model = executable.random(random_state=RandomState(5))
    text = nni.dump(model)
    assert len(text) < 64 * 1024  # NNI's limit for a trial's parameters
    loaded = nni.load(text)
    assert loaded.sample == model.sample
    network = loaded.executable_model()
    assert count_parameters(network) == count_parameters(model.executable_model())


def test_the_networks_options_reach_it():
    space = ResNetSpace(5, in_channels=2, width=8, dropout=0.25)
    architecture = Architecture.random("resnet", Random(6))
    network = space.freeze(space.sample_of(architecture)).eval()
    assert network(torch.zeros(2, 2, 3, 16, 18)).shape == (2, 5)
    expected = build_network(architecture, num_classes=5, in_channels=2, width=8, dropout=0.25)
    assert str(network) == str(expected)


@pytest.mark.parametrize(
    "strategy",
    [
        RandomSearch(seed=0),
        RegularizedEvolution(population_size=4, sample_size=2, mutation_prob=0.2, seed=0),
        GridSearch(shuffle=False, seed=0),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_nnis_strategies_search_the_space(space, strategy):
    model_space = SimplifiedModelSpace.from_model(space, FunctionalEvaluator(report_logits))
    engine = SequentialExecutionEngine(max_model_count=6)
    strategy(model_space, engine)
    models = list(strategy.list_models())
    assert len(models) == 6
    assert all(architecture_of(model.sample) for model in models)


def test_nnis_hpo_tuners_search_the_space(space):
    # One model, since NNI sleeps for a second after each.
    model_space = SimplifiedModelSpace.from_model(space, FunctionalEvaluator(report_logits))
    strategy = TPE(seed=0)
    strategy(model_space, SequentialExecutionEngine(max_model_count=1))
    assert len(list(strategy.list_models())) == 1


NARROW = {"ops": ("conv3d", "itgm"), "times": (1, 5), "stream_counts": (2, 3), "modules": 2}


@pytest.mark.parametrize("make", [ResNetSpace, InceptionSpace])
def test_narrowed_spaces_of_both_metas_agree_with_their_flat_form(make):
    model_space = make(**SIZES, **NARROW)
    flat = SearchSpace(make.meta, **NARROW)
    mutables = {str(label): mutable for label, mutable in model_space.simplify().items()}
    assert mutables.keys() == flat.choices().keys()
    for seed in range(20):
        sample = {}
        model_space.random(sample, RandomState(seed))
        architecture = model_space.architecture_of(sample)
        flat.check(architecture)
        complete = model_space.sample_of(architecture)
        assert complete.keys() == flat.choices().keys()
        assert model_space.architecture_of(complete) == architecture
        expected = build_network(architecture, **SIZES)
        assert count_parameters(model_space.freeze(complete)) == count_parameters(expected)


def test_what_a_narrowed_space_lacks_is_refused():
    with pytest.raises(ValueError, match="ops: 'lstm' is not one of"):
        ResNetSpace(**SIZES, ops=("lstm",))
    narrow = ResNetSpace(**SIZES, stream_counts=(2, 3))
    sample = narrow.sample_of(SearchSpace("resnet", stream_counts=(2, 3)).random(Random(0)))
    with pytest.raises(SampleValidationError, match="module1/streams: 1 chosen, not one of"):
        narrow.freeze(sample | {"module1/streams": [0]})
