"""Algorithm 1, asked and told asynchronously."""

import json
import math
import subprocess
import sys
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_evanet.architecture import Architecture
from nni_evanet.strategies import Annealed, Constant, Evolution


def score(architecture):
    """A synthetic fitness: long iTGM layers and few repeats are good."""
    times = [s.time or 0 for m in architecture.modules for s in m.streams if s.op == "itgm"]
    return sum(times) - sum(m.repeats for m in architecture.modules)


def evaluate(evolution, count):
    for _ in range(count):
        proposal = evolution.ask()
        evolution.tell(proposal, score(proposal.architecture))


def test_the_initial_population_is_random_and_then_children_come():
    evolution = Evolution("resnet", population_size=5, schedule=Constant(2))
    first = [evolution.ask() for _ in range(5)]
    assert all(p.parent is None and p.mutations == () for p in first)
    for proposal in first[:3]:
        evolution.tell(proposal, 0.5)
    child = evolution.ask()
    assert child.parent in {p.architecture.fingerprint for p in first[:3]}
    assert len(child.mutations) >= 2


def test_proposals_are_random_while_nothing_has_succeeded():
    evolution = Evolution("resnet", population_size=2)
    assert [evolution.ask().parent for _ in range(7)] == [None] * 7


def test_a_failed_individual_is_replaced_by_a_new_random_one():
    evolution = Evolution("resnet", population_size=3)
    a, b, c = (evolution.ask() for _ in range(3))
    evolution.tell(a, 0.5)
    assert evolution.ask().parent is not None
    evolution.tell(b, None)
    evolution.tell(c, float("nan"))
    assert [evolution.ask().parent for _ in range(2)] == [None, None]
    assert evolution.ask().parent is not None
    assert [e.fitness for e in evolution.population] == [0.5]


@pytest.mark.parametrize("fitness", [None, math.nan, math.inf, -math.inf])
def test_only_finite_fitness_enters_the_population(fitness):
    evolution = Evolution("resnet", population_size=3)
    evolution.tell(evolution.ask(), fitness)
    assert evolution.population == [] and evolution.history[0].fitness is None


def test_the_round_counts_children_with_a_finite_fitness():
    evolution = Evolution("resnet", population_size=2, schedule=Annealed(3, 2))
    evaluate(evolution, 2)
    assert evolution.round == 0
    lengths = []
    for i in range(6):
        child = evolution.ask()
        lengths.append(len(child.mutations))
        evolution.tell(child, None if i == 1 else 1.0)
    assert evolution.round == 5
    # At rounds 0, 1, 1 (one failed), 2, 3, 4 with d = 3, r = 2.
    assert lengths == [3, 3, 3, 2, 2, 1]


def test_the_fittest_of_the_sample_is_the_parent_and_later_arrivals_win_ties():
    evolution = Evolution("resnet", population_size=4)
    proposals = [evolution.ask() for _ in range(4)]
    for proposal, fitness in zip(proposals, [0.1, 0.9, 0.9, 0.2], strict=True):
        evolution.tell(proposal, fitness)
    # A sample of 25 from 4 is the whole population.
    assert {evolution.ask().parent for _ in range(10)} == {proposals[2].architecture.fingerprint}


def test_a_sample_of_one_chooses_parents_uniformly_without_regard_to_fitness():
    evolution = Evolution("resnet", population_size=4, sample_size=1)
    evaluate(evolution, 4)
    assert len({evolution.ask().parent for _ in range(60)}) == 4


def test_the_least_fit_leaves_and_of_equals_the_oldest():
    evolution = Evolution("resnet", population_size=3)
    for fitness in (0.5, 0.2, 0.2):
        evolution.tell(evolution.ask(), fitness)
    second = evolution.population[1]
    evolution.tell(evolution.ask(), 0.3)
    assert second not in evolution.population
    assert [e.fitness for e in evolution.population] == [0.5, 0.2, 0.3]
    evolution.tell(evolution.ask(), 0.1)
    assert [e.fitness for e in evolution.population] == [0.5, 0.2, 0.3]


def test_the_oldest_leaves_when_asked_to():
    evolution = Evolution("resnet", population_size=2, removal="oldest")
    for fitness in (0.9, 0.1, 0.2):
        evolution.tell(evolution.ask(), fitness)
    assert [e.fitness for e in evolution.population] == [0.1, 0.2]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.randoms(use_true_random=False))
def test_whatever_the_order_children_are_new_and_the_population_bounded(seed, order):
    evolution = Evolution("resnet", population_size=6, sample_size=3, seed=seed)
    flying, seen = [], set()
    for _ in range(60):
        while len(flying) < 4:
            proposal = evolution.ask()
            fingerprint = proposal.architecture.fingerprint
            assert fingerprint not in seen
            seen.add(fingerprint)
            flying.append(proposal)
        proposal = flying.pop(order.randrange(len(flying)))
        evolution.tell(proposal, None if order.random() < 0.2 else order.random())
        assert len(evolution.population) <= 6


def test_search_improves_on_its_initial_population():
    evolution = Evolution("resnet", population_size=20, schedule=Annealed(3, 40), seed=1)
    evaluate(evolution, 20)
    initial = max(e.fitness for e in evolution.population)
    evaluate(evolution, 180)
    assert evolution.best(1)[0].fitness > initial + 10


def test_a_child_that_was_seen_is_mutated_further_and_the_list_says_so():
    class Ring:
        """Twelve architectures in a ring; a mutation is a step in either direction."""

        def random(self, rng):
            return rng.randrange(12)

        def mutate(self, architecture, rng):
            step = rng.choice([-1, 1])
            return f"step{step:+}", (architecture + step) % 12

        def fingerprint(self, architecture):
            return str(architecture)

        def dump(self, architecture):
            return architecture

        def load(self, data):
            return data

    evolution = Evolution(Ring(), population_size=1, schedule=Constant(1))
    visited = []
    for fitness in range(12):
        proposal = evolution.ask()
        if proposal.parent is not None:
            steps = sum(int(name.removeprefix("step")) for name in proposal.mutations)
            assert proposal.architecture == (int(proposal.parent) + steps) % 12
        visited.append(proposal.architecture)
        evolution.tell(proposal, fitness)
    assert sorted(visited) == list(range(12))
    # Everything was seen: the search goes on, and a child still is not its parent.
    for _ in range(50):
        proposal = evolution.ask()
        assert str(proposal.architecture) != proposal.parent
        assert len(proposal.mutations) <= 102


def test_revisits_are_allowed_when_asked_for():
    evolution = Evolution("resnet", population_size=1, schedule=Constant(1), revisit=True)
    evaluate(evolution, 1)
    children = [evolution.ask() for _ in range(400)]
    assert all(len(child.mutations) == 1 for child in children)
    assert len({c.architecture.fingerprint for c in children}) < 400


def test_an_architecture_that_was_never_asked_for_can_be_told():
    evolution = Evolution("resnet", population_size=2)
    mine = Architecture.random("resnet", Random(99))
    evaluation = evolution.tell(mine, 0.7, {"params": 12})
    assert evaluation.parent is None and evaluation.metrics == {"params": 12}
    assert evolution.population == [evaluation] and evolution.was_evaluated(mine)


def test_telling_an_architecture_in_flight_keeps_its_parent():
    evolution = Evolution("resnet", population_size=1)
    evaluate(evolution, 1)
    child = evolution.ask()
    copy = Architecture.from_json(child.architecture.to_json())
    assert evolution.tell(copy, 0.5).parent == child.parent
    assert evolution.in_flight == []


def test_a_proposal_can_be_told_once():
    evolution = Evolution("resnet", population_size=2)
    proposal = evolution.ask()
    evolution.tell(proposal, 0.5)
    with pytest.raises(ValueError, match="not in flight"):
        evolution.tell(proposal, 0.6)


def run_and_report(seed):
    """A fixed interleaving of asks and tells; the fingerprints of all proposals."""
    evolution, order = Evolution("resnet", population_size=4, seed=seed), Random(1)
    flying, asked = [], []
    for _ in range(40):
        while len(flying) < 3:
            flying.append(evolution.ask())
            asked.append(flying[-1].architecture.fingerprint)
        proposal = flying.pop(order.randrange(3))
        evolution.tell(proposal, None if order.random() < 0.2 else score(proposal.architecture))
    return asked


def test_the_same_seed_and_order_give_the_same_search_in_another_process():
    code = (
        f"import sys; sys.path.insert(0, {str(__file__.rpartition('/')[0])!r});"
        "from test_evolution import run_and_report; print(run_and_report(7))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == str(run_and_report(7)), output.stderr
    assert run_and_report(7) != run_and_report(8)


def test_a_search_continues_from_its_state():
    original = Evolution("resnet", population_size=4, seed=3)
    evaluate(original, 9)
    flying = original.ask()
    state = json.loads(json.dumps(original.state_dict()))
    resumed = Evolution("resnet", population_size=4, seed=3)
    resumed.load_state_dict(state)
    assert resumed.round == original.round == 5
    for evolution in (original, resumed):
        evolution.tell(flying.architecture, 3.0)
    assert resumed.history[-1].parent == flying.parent
    for _ in range(10):
        ours, theirs = original.ask(), resumed.ask()
        assert ours.architecture == theirs.architecture and ours.mutations == theirs.mutations
        original.tell(ours, 1.0)
        resumed.tell(theirs, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"population_size": 0}, "population_size: 0"),
        ({"population_size": 2.0}, "population_size: 2.0"),
        ({"population_size": 2, "sample_size": -1}, "sample_size: -1"),
        ({"population_size": 2, "removal": "youngest"}, "removal: 'youngest' is not one of"),
        ({"population_size": 2, "seed": "x"}, "seed: 'x'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError) as error:
        Evolution("resnet", **arguments)
    assert str(error.value).startswith(message)


def test_an_unknown_space_is_named():
    with pytest.raises(ValueError, match="meta: 'vgg' is not one of resnet"):
        Evolution("vgg", population_size=2)
