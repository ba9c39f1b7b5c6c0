"""Our strategy on spaces of NNI's hub, and NNI's strategies on our Inception-like space."""

from statistics import mean

import nni
import pytest
import torch
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.hub.pytorch import MobileNetV3Space, NasBench201
from nni.nas.space import SimplifiedModelSpace
from nni.nas.strategy import TPE, GridSearch, RegularizedEvolution
from nni.nas.strategy import Random as RandomSearch

from nni_evanet.networks import build_network
from nni_evanet.networks.cost import count_parameters
from nni_evanet.search_spaces import InceptionSpace
from nni_evanet.strategies import Annealed, DiversityAnnealedEvolution
from nni_evanet.strategies.nni_space import DecisionSpace

torch.set_num_threads(1)


def mobilenet():
    widths = (8, 8, 8, 16, 16, 16, 32, 32, 64)
    return MobileNetV3Space(num_labels=10, base_widths=widths, depth_range=(1, 2))


def nasbench():
    return NasBench201(stem_out_channels=4, num_modules_per_stack=1)


def report_size(network):
    network.eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    nni.report_final_result(float(count_parameters(network)))


def search(model_space, count, evaluate=report_size, **options):
    options = {"population_size": 6, "sample_size": 3, "schedule": Annealed(3, 10)} | options
    strategy = DiversityAnnealedEvolution(**options)
    executable = SimplifiedModelSpace.from_model(model_space, FunctionalEvaluator(evaluate))
    strategy(executable, SequentialExecutionEngine(max_model_count=count))
    return strategy


@pytest.mark.parametrize("make", [mobilenet, nasbench])
def test_our_strategy_evolves_the_networks_of_nnis_hub(make):
    strategy = search(make(), 24)
    evolution = strategy.evolution
    assert isinstance(evolution.space, DecisionSpace)
    assert len(evolution.history) == 24
    assert all(e.fitness is not None for e in evolution.history)
    fingerprints = {evolution.space.fingerprint(e.architecture) for e in evolution.history}
    assert len(fingerprints) == 24
    children = [e for e in evolution.history if e.parent is not None]
    assert len(children) == 18
    assert {name.split()[0] for e in children for name in e.mutations} == {"resample"}
    initial = [e.fitness for e in evolution.history if e.parent is None]
    assert mean(e.fitness for e in evolution.population) > mean(initial)


@pytest.mark.parametrize("make", [mobilenet, nasbench])
def test_the_best_network_of_nnis_hub_can_be_built(make):
    strategy = search(make(), 8)
    best = next(strategy.list_models(limit=1))
    assert count_parameters(best.executable_model()) == best.metric


@pytest.mark.parametrize("make", [mobilenet, nasbench])
def test_a_search_of_nnis_hub_goes_on_from_its_journal(make, tmp_path):
    journal = tmp_path / "evaluations.jsonl"
    first = search(make(), 8, journal=journal).evolution
    second = search(make(), 4, journal=journal).evolution
    architectures = [e.architecture for e in second.history]
    assert architectures[:8] == [e.architecture for e in first.history]
    assert len(architectures) == 12


SIZES = {"num_classes": 3, "width": 4}


def report_logits(network):
    network.eval()
    with torch.no_grad():
        logits = network(torch.zeros(1, 3, 2, 16, 16))
    assert logits.shape == (1, 3)
    nni.report_final_result(float(logits.sum()))


@pytest.mark.parametrize(
    ("strategy", "count"),
    [
        (RandomSearch(seed=0), 5),
        (RegularizedEvolution(population_size=3, sample_size=2, mutation_prob=0.2, seed=0), 5),
        (GridSearch(shuffle=False, seed=0), 5),
        (TPE(seed=0), 2),  # NNI sleeps for a second after each
    ],
    ids=["Random", "RegularizedEvolution", "GridSearch", "TPE"],
)
def test_nnis_strategies_search_the_inception_space(strategy, count):
    space = InceptionSpace(**SIZES)
    model_space = SimplifiedModelSpace.from_model(space, FunctionalEvaluator(report_logits))
    strategy(model_space, SequentialExecutionEngine(max_model_count=count))
    models = list(strategy.list_models())
    assert len(models) == count
    for model in models:
        architecture = space.architecture_of(model.sample)
        assert len(architecture.modules) == 9
        expected = build_network(architecture, **SIZES)
        assert count_parameters(model.executable_model()) == count_parameters(expected)


def test_our_strategy_uses_the_papers_operators_on_the_inception_space():
    evolution = search(InceptionSpace(**SIZES), 12, report_logits).evolution
    names = {name for e in evolution.history for name in e.mutations}
    assert names and names <= {"change_op", "change_time", "change_streams"}
