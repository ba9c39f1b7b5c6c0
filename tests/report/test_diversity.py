"""The diversity of a population, and the search replayed from its journal."""

import itertools
import random
from dataclasses import replace
from statistics import fmean

import pytest

from nni_evanet.architecture import Architecture, Module, ResNetStem, Stream
from nni_evanet.report.diversity import Diversity, distance, parts_of
from nni_evanet.report.pareto import pareto_front
from nni_evanet.report.progress import effects_by_count, effects_by_operator, replay
from nni_evanet.strategies import Evolution

RANDOM = [Architecture.random(m, random.Random(i)) for i in range(8) for m in ("resnet",)]
SMALL = Architecture(
    "resnet",
    ResNetStem("conv3d", 3, 1),
    (Module(2, (Stream("conv", "itgm", 5), Stream("pool", time=3), Stream("conv1x1x1"))),),
)


def with_streams(*streams):
    return replace(SMALL, modules=(replace(SMALL.modules[0], streams=streams),))


def between(a, b):
    return distance(parts_of(a), parts_of(b))


def test_the_distance_is_the_share_of_parts_not_in_common():
    # Parts: three of the stem, one number of repeats, three streams.
    first, second, third = SMALL.modules[0].streams
    other = Stream("conv", "itgm", 7)
    assert between(SMALL, SMALL) == 0
    assert between(SMALL, with_streams(other, second, third)) == pytest.approx(1 - 6 / 8)
    assert between(SMALL, with_streams(first, second)) == pytest.approx(1 - 6 / 7)
    assert between(SMALL, with_streams(first, second, third, third)) == pytest.approx(1 - 7 / 8)


def test_what_computes_the_same_is_at_no_distance():
    first, second, third = SMALL.modules[0].streams
    assert between(SMALL, with_streams(third, first, second)) == 0
    one, plain = Stream("conv", "itgm", 1), Stream("conv", "conv3d", 1)
    assert between(with_streams(one), with_streams(plain)) == 0


def test_the_diversity_is_the_mean_over_pairs_whatever_came_and_went():
    diversity = Diversity()
    for key, architecture in enumerate(RANDOM):
        diversity.add(key, architecture)
    for key in (0, 3):
        diversity.remove(key)
    living = [a for key, a in enumerate(RANDOM) if key not in (0, 3)]
    expected = fmean(between(a, b) for a, b in itertools.combinations(living, 2))
    assert diversity.mean == pytest.approx(expected)
    for key in (1, 2, 4, 5, 6):
        diversity.remove(key)
    assert diversity.mean is None


@pytest.mark.parametrize("removal", ["least_fit", "oldest"])
def test_a_replay_has_the_population_that_the_search_had(removal):
    evolution = Evolution("resnet", population_size=6, sample_size=3, removal=removal, seed=2)
    rng, records, expected = random.Random(0), [], []
    for number in range(40):
        proposal = evolution.ask()
        fitness = None if number % 9 == 4 else rng.random()
        records.append(evolution.dump(evolution.tell(proposal, fitness)))
        if fitness is not None:
            living = [e.architecture for e in evolution.population]
            pairs = [between(a, b) for a, b in itertools.combinations(living, 2)]
            mean = fmean(e.fitness for e in evolution.population)
            expected.append((mean, fmean(pairs) if pairs else None))
    steps = list(replay(records, population_size=6, removal=removal))
    assert len(steps) == len(expected) == 36
    for step, (mean, diversity) in zip(steps, expected, strict=True):
        assert step.mean == pytest.approx(mean)
        assert step.diversity == (diversity and pytest.approx(diversity))


def record(fingerprint, fitness, parent=None, mutations=(), **metrics):
    return {
        "fingerprint": fingerprint, "fitness": fitness, "parent": parent,
        "mutations": list(mutations), "metrics": metrics,
    }  # fmt: skip


def test_gains_are_the_childs_fitness_minus_its_parents():
    records = [
        record("a", 0.5),
        record("b", 0.75, "a", ["change_op", "change_op", "change_time"]),
        record("c", None, "a", ["change_op"]),
        record("d", 0.5, "b", ["change_time"]),
        record("e", 0.9, "unknown", ["change_op"]),
    ]
    by_operator = {e.name: e.gains for e in effects_by_operator(records)}
    assert by_operator == {"change_op": (0.25,), "change_time": (0.25, -0.25)}
    assert {e.name: e.gains for e in effects_by_count(records)} == {"1": (-0.25,), "3": (0.25,)}
    time = effects_by_operator(records)[1]
    assert (time.median, time.better) == (0, 0.5)


def test_no_record_dominates_one_of_the_pareto_front_and_the_others_are_dominated():
    rng = random.Random(0)
    records = [
        record(str(i), rng.randrange(8) / 8, gmacs=rng.randrange(8)) for i in range(40)
    ]  # fmt: skip

    def dominates(a, b):
        fitter, cheaper = a["fitness"] - b["fitness"], b["metrics"]["gmacs"] - a["metrics"]["gmacs"]
        return fitter >= 0 and cheaper >= 0 and (fitter > 0 or cheaper > 0)

    front = {(r["metrics"]["gmacs"], r["fitness"]) for r in pareto_front(records, "gmacs")}
    best = [b for b in records if not any(dominates(a, b) for a in records)]
    assert front == {(r["metrics"]["gmacs"], r["fitness"]) for r in best}
