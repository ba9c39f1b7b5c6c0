"""`nni-evanet ensemble`: from the journals of searches to a table, on real clips."""

import random

import pytest
import torch
from click.testing import CliRunner

from nni_evanet.architecture import Architecture, Module, ResNetStem, Stream
from nni_evanet.commands.ensemble import ensemble
from nni_evanet.data.moving_digits import make_moving_digits
from nni_evanet.errors import InputError
from nni_evanet.evaluation.results import read_results
from nni_evanet.evanet import (
    COMPARED,
    best_of_searches,
    cost,
    make_plan,
)
from nni_evanet.networks.files import load_network
from nni_evanet.networks.widths import ABOVE
from nni_evanet.strategies import Evolution
from nni_evanet.strategies.journal import FILE_NAME, Journal

torch.set_num_threads(1)
CLIP = (3, 8, 16, 16)
OPTIONS = ["--frames", "8", "--size", "16", "--width", "4", "--iterations", "2", "--workers", "0"]
OPTIONS += ["--batch-size", "4", "--clips", "1", "--crops", "1", "--top", "2"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips") / "moving_digits"
    make_moving_digits(folder, clips_per_class=3, seed=0)
    return folder


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    """Folders of a ResNet-like and of an Inception-like search."""
    folders = []
    for meta in ("resnet", "inception"):
        folder = tmp_path_factory.mktemp(meta)
        journal, rng = Journal(folder / FILE_NAME), random.Random(meta)
        journal.path.touch()
        evolution = Evolution(meta, population_size=4, seed=1)
        for _ in range(5):
            evaluation = evolution.tell(evolution.ask(), fitness=rng.random())
            journal.append(evolution.dump(evaluation))
        folders.append(folder)
    return folders


def plan_of(evolved, compared, **options):
    options = {"width": 4, "baseline_width": None, "clip": CLIP, "seed": 5} | options
    return make_plan(evolved, compared, num_classes=12, **options)


def test_the_fittest_of_all_searches_are_chosen(searches):
    records = [r for folder in searches for r in Journal(folder / FILE_NAME).read()]
    expected = sorted(records, key=lambda record: record["fitness"], reverse=True)[:3]
    found = best_of_searches([str(folder) for folder in searches], 3)
    assert [a.fingerprint for a in found] == [r["fingerprint"] for r in expected]
    with pytest.raises(InputError, match="--top 11: only 10"):
        best_of_searches([str(folder) for folder in searches], 11)


def test_the_plan_is_that_of_the_papers_tables_and_trains_no_network_twice(searches):
    evolved = best_of_searches([str(folder) for folder in searches], 3)
    plan = plan_of(evolved, COMPARED, baseline_width=4)
    members = {ensemble.name: ensemble.members for ensemble in plan.ensembles}
    assert members["3D ensemble"] == (
        "inception-conv3d", "inception-conv3d-2", "inception-conv3d-3"
    )  # fmt: skip
    assert members["Diverse ensemble"] == (
        "inception-conv3d", "inception-conv2plus1d", "inception-itgm"
    )  # fmt: skip
    assert members["Arch. ensemble"] == ("i3d", "resnet50-conv2plus1d", "resnet101-conv2plus1d")
    assert len(members["iTGM ensemble"]) == 3
    candidates = {c.name: c for c in plan.candidates}
    assert len(candidates) == len(plan.candidates) == 3 + 3 + 3 + 1 + 3 + 3
    assert [candidates[name].seed for name in members["3D ensemble"]] == [5, 6, 7]
    chosen = [candidates[name].blueprint.architecture for name in members["EvaNet"]]
    drawn = [candidates[name].blueprint.architecture for name in members["Random ensemble"]]
    assert chosen == evolved
    assert [a.meta for a in drawn] == [a.meta for a in evolved] and not set(drawn) & set(evolved)
    assert plan_of(evolved, COMPARED, baseline_width=4) == plan
    with pytest.raises(InputError, match="--compare best: expected"):
        plan_of(evolved, ["best"])


def test_baselines_cost_what_the_evolved_networks_cost(searches):
    evolved = best_of_searches([str(searches[0])], 2)
    compared = ["i3d", "resnet50-conv2plus1d"]
    plan = plan_of(evolved, compared, width=8)
    costs = [cost(c.blueprint, CLIP, 12)[1] for c in plan.candidates]
    mean = sum(costs[:2]) / 2
    assert all(0.5 * mean < each <= ABOVE * mean for each in costs[2:])
    assert [e.name for e in plan.ensembles] == ["EvaNet"]
    published = plan_of(evolved, compared, width=64)
    assert {c.blueprint.width for c in published.candidates} == {64}
    fixed = plan_of(evolved, compared, baseline_width=6)
    assert {c.blueprint.width for c in fixed.candidates[2:]} == {6}


@pytest.fixture(scope="module")
def small_search(tmp_path_factory):
    """A search of two shallow architectures, whose training takes no time."""
    folder = tmp_path_factory.mktemp("small")
    journal = Journal(folder / FILE_NAME)
    journal.path.touch()
    for time in (1, 3, 5):
        streams = (Stream("conv", "conv2plus1d", time),)
        value = Architecture("resnet", ResNetStem("itgm", 3, 1, 3, 1), (Module(1, streams),) * 4)
        record = {"architecture": value.to_json(), "fingerprint": value.fingerprint}
        journal.append(record | {"fitness": 0.1 * time, "parent": None, "mutations": []})
    return folder


def test_one_command_trains_evaluates_and_compares_and_goes_on(small_search, digits, tmp_path):
    out = tmp_path / "out"
    data = ["--dataset", "moving-digits", "--data-path", str(digits), "--out", str(out)]
    arguments = [str(small_search), *data, "--compare", "i3d,random"]
    arguments += ["--baseline-width", "4", *OPTIONS]
    result = CliRunner().invoke(ensemble, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "5 trainings, each of 2 iterations of 4 clips; 0 are finished" in result.stdout
    results = read_results(out / "results.json")
    assert results.subset == "test" and [row.group for row in results.rows] == [
        "evanet", "evanet", "random", "random", "baseline", "evanet", "random",
    ]  # fmt: skip
    assert [row.name for row in results.rows[-2:]] == ["EvaNet", "Random ensemble"]
    assert (out / "results.png").read_bytes().startswith(b"\x89PNG")
    network = load_network(out / "networks" / "i3d" / "network.safetensors")
    assert network.card.blueprint.baseline == "i3d" and network.card.frames == 8

    # Killed: of what is left, only what is missing is done again.
    (out / "networks" / "i3d" / "network.safetensors").unlink()
    (out / "results.json").unlink()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("networks/*/network.safetensors")}
    result = CliRunner().invoke(ensemble, arguments, catch_exceptions=False)
    assert "5 trainings, each of 2 iterations of 4 clips; 4 are finished" in result.stdout
    assert read_results(out / "results.json") == results
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_nothing_is_trained_without_data_to_test_on(small_search, digits, tmp_path):
    copy = tmp_path / "digits"
    copy.mkdir()
    for path in digits.iterdir():
        if "test" not in path.name:
            (copy / path.name).symlink_to(path)
    data = ["--dataset", "moving-digits", "--data-path", str(copy), "--out", str(tmp_path / "out")]
    with pytest.raises(InputError, match=r"no test\.csv"):
        CliRunner().invoke(
            ensemble,
            [str(small_search), *data, "--compare", "none", *OPTIONS],
            catch_exceptions=False,
        )
    assert not (tmp_path / "out" / "networks").exists()
