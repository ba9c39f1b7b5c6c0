import io
import json
from random import Random

import nni
import pytest
import torch
from nni.mutable import ExpressionConstraint, MutableExpression
from nni.nas.evaluator import Evaluator, FunctionalEvaluator
from nni.nas.execution import ExecutionEngine, SequentialExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, TrainingEndEvent
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, Repeat
from nni.nas.space import ModelStatus, SimplifiedModelSpace
from nni.runtime.tuner_command_channel.channel import TunerCommandChannel
from nni.runtime.tuner_command_channel.command_type import CommandType, RequestTrialJobs
from torch import nn

from nni_evanet.search_spaces import ResNetSpace, architecture_of
from nni_evanet.strategies import Annealed, DiversityAnnealedEvolution, nni_strategy
from nni_evanet.strategies.evolution import Proposal
from nni_evanet.strategies.nni_space import DecisionSpace, PaperSpace, sample_space

torch.set_num_threads(1)


def fitness(sample):
    """How many streams are of type conv: 24 at most."""
    modules = architecture_of(sample).modules
    return sum(stream.type == "conv" for module in modules for stream in module.streams)


class Synthetic(Evaluator):
    """Reports a function of the sample, without building the network; fails where told to."""

    def __init__(self, function=fitness, fails=lambda sample: False):
        self.function, self.fails = function, fails

    def _execute(self, model):
        if self.fails(model.sample):
            raise RuntimeError("this model does not train")
        nni.report_final_result(self.function(model.sample))


def paper_space(evaluator=None):
    return SimplifiedModelSpace.from_model(ResNetSpace(3, width=4), evaluator or Synthetic())


def search(strategy, model_space, count):
    engine = SequentialExecutionEngine(max_model_count=count, continue_on_failure=True)
    strategy(model_space, engine)
    return strategy.evolution


def make(**options):
    options = {"population_size": 10, "sample_size": 5, "schedule": Annealed(3, 20)} | options
    return DiversityAnnealedEvolution(**options)


def fingerprints(evolution):
    return [evolution.space.fingerprint(e.architecture) for e in evolution.history]


def journal_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- with the sequential engine, on the paper's space ---


def test_fitness_improves():
    evolution = search(make(), paper_space(), 120)
    initial = [e.fitness for e in evolution.history if e.parent is None]
    assert len(initial) == 10
    assert len(evolution.history) == 120
    assert min(e.fitness for e in evolution.population) > max(initial)


def test_the_papers_operators_are_used_on_the_papers_space():
    evolution = search(make(), paper_space(), 30)
    assert isinstance(evolution.space, PaperSpace)
    names = {name for e in evolution.history for name in e.mutations}
    assert names == {"change_op", "change_time", "change_streams", "change_repeats"}


def test_the_same_seed_gives_the_same_search():
    runs = [fingerprints(search(make(seed=seed), paper_space(), 20)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_nothing_is_evaluated_twice():
    seen = fingerprints(search(make(), paper_space(), 60))
    assert len(set(seen)) == 60


def test_failed_models_are_remembered_and_never_enter_the_population():
    def fails(sample):
        return sample["stem/conv/op"] == "itgm"

    evolution = search(make(), paper_space(Synthetic(fails=fails)), 60)
    failed = [e for e in evolution.history if e.architecture.stem.conv_op == "itgm"]
    assert failed
    assert all(e.fitness is None for e in failed)
    assert not any(e in failed for e in evolution.population)
    initial = [e for e in evolution.history if e.parent is None and e.fitness is not None]
    assert len(initial) == 10
    assert not evolution.in_flight


@pytest.mark.parametrize("metric", ["good", {"accuracy": 1.0}, {"default": "0.5"}])
def test_what_is_not_a_metric_is_a_failure(metric):
    evolution = search(make(), paper_space(Synthetic(lambda sample: metric)), 3)
    assert [e.fitness for e in evolution.history] == [None] * 3


def test_nan_is_a_failure():
    evolution = search(make(), paper_space(Synthetic(lambda sample: float("nan"))), 3)
    assert [e.fitness for e in evolution.history] == [None] * 3


def test_further_metrics_are_kept():
    evolution = search(make(), paper_space(Synthetic(lambda s: {"default": 0.5, "params": 7})), 1)
    assert evolution.history[0].fitness == 0.5
    assert evolution.history[0].metrics == {"default": 0.5, "params": 7}


def test_the_best_models_can_be_listed_and_built():
    strategy = make()
    search(strategy, paper_space(), 30)
    best = list(strategy.list_models(limit=3))
    assert [model.metric for model in best] == [e.fitness for e in strategy.evolution.best(3)]
    assert fitness(best[0].sample) == best[0].metric
    assert best[0].status == ModelStatus.Trained
    assert len(list(strategy.list_models(sort=False))) == 30


def test_networks_are_evaluated():
    def evaluate(network):
        network.eval()
        with torch.no_grad():
            nni.report_final_result(float(network(torch.zeros(1, 3, 2, 16, 16)).mean()))

    evolution = search(make(population_size=2), paper_space(FunctionalEvaluator(evaluate)), 4)
    assert all(e.fitness is not None for e in evolution.history)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population_size": 0}, "population_size: 0"),
        ({"sample_size": 2.5}, "sample_size: 2.5"),
        ({"removal": "fittest"}, "removal: 'fittest' is not one of"),
        ({"seed": "x"}, "seed: 'x'"),
    ],
)
def test_a_wrong_argument_is_named_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_a_strategy_without_a_space_says_so():
    with pytest.raises(RuntimeError, match="no model space yet"):
        make().state_dict()


# --- interrupted and resumed ---


def checkpoint(strategy):
    """What NasExperiment does with a strategy's state between two processes."""
    file = io.BytesIO()
    torch.save(strategy.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def initialised(strategy, count=60):
    strategy.initialize(paper_space(), SequentialExecutionEngine(max_model_count=count))
    return strategy


def test_a_checkpoint_continues_the_same_search():
    whole = search(make(), paper_space(), 40)
    first = make()
    search(first, paper_space(), 15)
    second = initialised(make(seed=99), 25)
    second.load_state_dict(checkpoint(first))
    second.run()
    assert fingerprints(second.evolution) == fingerprints(whole)
    assert second.evolution.round == whole.round == 30


def test_what_was_in_flight_is_submitted_again():
    def interrupt(sample):
        if len(first.evolution.history) == 3:
            raise KeyboardInterrupt
        return fitness(sample)

    first = make()
    with pytest.raises(KeyboardInterrupt):
        search(first, paper_space(Synthetic(interrupt)), 10)
    (lost,) = first.evolution.in_flight
    second = initialised(make(), 1)
    second.load_state_dict(checkpoint(first))
    second.run()
    assert second.evolution.history[-1].architecture == lost.architecture
    assert not second.evolution.in_flight


def test_every_result_is_in_the_journal(tmp_path):
    journal = tmp_path / "run" / "evaluations.jsonl"
    evolution = search(make(journal=journal), paper_space(), 15)
    records = journal_of(journal)
    assert [record["fingerprint"] for record in records] == fingerprints(evolution)
    assert [record["fitness"] for record in records] == [e.fitness for e in evolution.history]


def test_a_journal_alone_continues_a_search(tmp_path):
    journal = tmp_path / "evaluations.jsonl"
    search(make(journal=journal), paper_space(), 25)
    evolution = search(make(journal=journal), paper_space(), 25)
    assert len(evolution.history) == len(set(fingerprints(evolution))) == 50
    assert evolution.round == 40
    assert len(journal_of(journal)) == 50


def test_journal_and_checkpoint_together_count_once(tmp_path):
    journal = tmp_path / "evaluations.jsonl"
    first = make(journal=journal)
    search(first, paper_space(), 15)
    second = initialised(make(journal=journal), 5)
    second.load_state_dict(checkpoint(first))
    second.run()
    assert len(second.evolution.history) == len(journal_of(journal)) == 20
    assert fingerprints(second.evolution) == fingerprints(search(make(), paper_space(), 20))


def test_a_checkpoint_from_before_a_crash_does_not_bring_proposals_back(tmp_path):
    journal = tmp_path / "evaluations.jsonl"
    at_start = checkpoint(initialised(make(population_size=200)))
    search(make(population_size=200, journal=journal), paper_space(), 110)
    second = initialised(make(population_size=200, journal=journal), 5)
    second.load_state_dict(at_start)
    second.run()
    assert len(set(fingerprints(second.evolution))) == 115


def test_a_journal_that_is_given_late_gets_the_history(tmp_path):
    journal = tmp_path / "evaluations.jsonl"
    first = make()
    search(first, paper_space(), 5)
    second = initialised(make(journal=journal))
    second.load_state_dict(checkpoint(first))
    assert len(journal_of(journal)) == 5


def test_an_error_in_a_callback_ends_the_run(tmp_path):
    strategy = initialised(make(journal=tmp_path / "evaluations.jsonl"))
    (tmp_path / "evaluations.jsonl").mkdir()
    with pytest.raises(IsADirectoryError):
        strategy.run()


def test_a_resumed_experiments_channel_skips_what_nni_does_not_know():
    class Socket:
        commands = iter(
            [
                {"type": CommandType.ImportData.value, "content": "[]"},
                {"type": CommandType.AddCustomizedTrialJob.value, "content": "[]"},
                {"type": CommandType.RequestTrialJobs.value, "content": "2"},
            ]
        )

        def receive(self):
            return next(self.commands)

    make()
    make()
    channel = TunerCommandChannel("ws://localhost:1/tuner")
    channel._channel = Socket()
    assert channel.receive() == RequestTrialJobs(2)


# --- two trials at a time, which get each other's models ---


class SwappingEngine(ExecutionEngine):
    """Trials run in pairs. In each pair the second asks first, and is given the first's model.

    Like NNI's training service (microsoft/nni#5726): a metric names the model that ran, an end
    the model that the trial was made for.
    """

    def __init__(self, budget, fails=lambda sample: False):
        super().__init__()
        self.budget, self.fails = budget, fails
        self.pair = []
        self.log = []

    def submit_models(self, *models):
        for model in models:
            model.status = ModelStatus.Training
            self.budget -= 1
            self.pair.append(model)

    def idle_worker_available(self):
        if len(self.pair) == 2:
            self.run_pair()
        return True

    def budget_available(self):
        return self.budget > 0

    def wait_models(self, *models):
        self.run_pair()

    def run_pair(self):
        for made_for, ran in zip(self.pair, reversed(self.pair), strict=True):
            failed = self.fails(ran.sample)
            if not failed:
                self.dispatch_model_event(FinalMetricEvent(ran, fitness(ran.sample)))
            status = ModelStatus.Failed if failed else ModelStatus.Trained
            self.dispatch_model_event(TrainingEndEvent(made_for, status))
        self.pair = []


@pytest.fixture
def no_grace(monkeypatch):
    monkeypatch.setattr(nni_strategy, "RESULT_GRACE_S", 0.0)


def test_swapped_models_get_their_own_metric(no_grace):
    strategy = make()
    strategy(paper_space(), SwappingEngine(40))
    history = strategy.evolution.history
    assert len(history) == 40
    for evaluation in history:
        assert evaluation.fitness == fitness(evaluation.architecture.to_sample())


def test_swapped_models_that_fail_are_told_from_those_that_do_not(no_grace):
    def fails(sample):
        return sample["stem/conv/op"] == "itgm"

    strategy = make()
    strategy(paper_space(), SwappingEngine(60, fails))
    history = strategy.evolution.history
    assert len(history) == 60
    assert not strategy.evolution.in_flight
    for evaluation in history:
        failed = evaluation.architecture.stem.conv_op == "itgm"
        expected = None if failed else fitness(evaluation.architecture.to_sample())
        assert evaluation.fitness == expected


def ask(trials, *names):
    proposals = {name: Proposal(name) for name in names}
    for name, proposal in proposals.items():
        trials.submitted(name, proposal)
    return proposals


def test_the_population_does_not_wait_for_the_end_of_training():
    trials = nni_strategy._Trials()
    proposals = ask(trials, "a")
    assert trials.reported("a") is proposals["a"]
    assert trials.reported("a") is None  # a second final metric
    trials.ended("a", interrupted=False)
    assert not trials.ended_without_result()


def test_an_end_alone_is_no_failure(no_grace):
    trials = nni_strategy._Trials()
    ask(trials, "a", "b")
    trials.ended("a", interrupted=False)  # it ran b, and b's trial runs a
    assert not trials.failures()


def test_a_model_has_failed_when_a_later_one_reported_and_the_running_ones_ended(no_grace):
    trials = nni_strategy._Trials()
    proposals = ask(trials, "a", "b", "c")
    trials.ended("a", interrupted=False)
    trials.reported("b")
    assert not trials.failures()
    trials.ended("b", interrupted=False)
    assert not trials.failures()  # c's trial may be the one that runs a
    trials.ended("c", interrupted=False)
    assert trials.failures() == [proposals["a"]]
    assert trials.ended_without_result() == [proposals["c"]]


def test_a_trial_that_dies_before_it_asks_shifts_the_later_ones(no_grace):
    trials = nni_strategy._Trials()
    submitted = ask(trials, "a")
    trials.ended("a", interrupted=False)
    for previous, name in (("a", "b"), ("b", "c"), ("c", "d")):
        submitted |= ask(trials, name)
        assert trials.reported(previous) is submitted[previous]
        trials.ended(name, interrupted=False)
        assert not trials.failures()


def test_a_result_may_come_shortly_after_the_end():
    trials = nni_strategy._Trials()
    proposals = ask(trials, "a", "b")
    trials.reported("b")
    trials.ended("a", interrupted=False)
    trials.ended("b", interrupted=False)
    assert not trials.failures()
    assert trials.reported("a") is proposals["a"]


def test_an_interrupted_model_stays_in_flight():
    trials = nni_strategy._Trials()
    ask(trials, "a")
    trials.ended("a", interrupted=True)
    assert not trials.ended_without_result()
    assert trials.untold


# --- on any other space ---


class SmallSpace(ModelSpace):
    def __init__(self, limit=None):
        super().__init__()
        first = LayerChoice({"linear": nn.Linear(4, 4), "none": nn.Identity()}, label="first")

        def block(index):
            candidates = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "none": nn.Identity()}
            return LayerChoice(candidates, label=f"act{index}")

        self.body = nn.Sequential(first, Repeat(block, (1, 4), label="depth"))
        self.width = self.add_mutable(nni.choice("width", [(1, 2), (3, 4), (5, 6)]))
        if limit is not None:
            wide = MutableExpression.to_int(self.width == (5, 6))
            self.add_mutable(ExpressionConstraint(wide * limit == 0, label="narrow"))

    def freeze(self, sample):
        raise NotImplementedError


def small_fitness(sample):
    return sum(sample[f"act{i}"] == "tanh" for i in range(sample["depth"])) + sample["width"][0]


def small_space(**options):
    return SimplifiedModelSpace.from_model(SmallSpace(**options), Synthetic(small_fitness))


def test_a_foreign_space_is_searched_and_kept_in_a_journal(tmp_path):
    journal = tmp_path / "evaluations.jsonl"
    evolution = search(make(journal=journal), small_space(), 80)
    assert isinstance(evolution.space, DecisionSpace)
    assert max(e.fitness for e in evolution.population) == 4 + 5
    assert {name.split()[0] for e in evolution.history for name in e.mutations} == {"resample"}
    restored = make(journal=journal)
    restored.initialize(small_space(), SequentialExecutionEngine())
    before, after = evolution.history, restored.evolution.history
    assert [e.architecture for e in before] == [e.architecture for e in after]


def test_a_foreign_checkpoint_is_made_of_builtin_types():
    strategy = make()
    search(strategy, small_space(), 12)
    assert checkpoint(strategy)["history"][0]["architecture"]["width"] in ([1, 2], [3, 4], [5, 6])


def test_only_active_decisions_are_kept_and_mutated():
    space, rng = DecisionSpace(small_space()), Random(0)
    architecture = space.random(rng)
    for _ in range(100):
        active = {"first", "depth", "width", *(f"act{i}" for i in range(architecture["depth"]))}
        assert architecture.keys() == active
        name, child = space.mutate(architecture, rng)
        label = name.removeprefix("resample ")
        assert child[label] != architecture[label]
        kept = (architecture.keys() & child.keys()) - {label}
        assert all(child[other] == architecture[other] for other in kept)
        assert space.load(json.loads(json.dumps(space.dump(child)))) == child
        assert space.fingerprint(child) != space.fingerprint(architecture)
        architecture = child


def test_inactive_decisions_have_one_value_in_the_sample():
    space = DecisionSpace(small_space())
    shallow = {"first": "none", "depth": 1, "act0": "tanh", "width": (1, 2)}
    rest = {"act1": "relu", "act2": "relu", "act3": "relu"}
    assert space.sample(shallow) == {**shallow, **rest}


def test_constraints_hold():
    evolution = search(make(), small_space(limit=1), 40)
    assert all(e.architecture["width"] != (5, 6) for e in evolution.history)


def test_data_of_another_space_is_refused():
    space = DecisionSpace(small_space())
    with pytest.raises(ValueError, match="kernel: no such decision"):
        space.load({"kernel": 3})
    with pytest.raises(ValueError, match="act0: 'gelu' is not one of"):
        space.load({"act0": "gelu"})


def test_a_searched_evaluator_makes_the_space_a_foreign_one():
    evaluator = FunctionalEvaluator(print, rate=nni.choice("rate", [0.1, 0.2]))
    space = sample_space(paper_space(evaluator))
    assert isinstance(space, DecisionSpace)
    architecture = space.random(Random(0))
    assert "rate" in architecture
    active = architecture_of(space.sample(architecture)).to_sample()
    assert len(architecture) == len(active) + 1
