"""The paper's method after the search: the best architectures trained, ensembled and compared.

Every network has a folder below `networks/` in the output folder, in which its training is resumed;
what is finished is skipped, so that the same command goes on after an interruption.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from random import Random
from statistics import fmean

import torch
from rich.console import Console
from rich.table import Table

from nni_evanet.architecture import Architecture
from nni_evanet.data import VideoSet
from nni_evanet.data.parallel import end_with_parent
from nni_evanet.errors import InputError
from nni_evanet.evaluation.comparison import Comparison, Ensemble, compare, save
from nni_evanet.evaluation.evaluate import Settings as Evaluation
from nni_evanet.evaluation.evaluate import evaluate_networks
from nni_evanet.evaluation.listing import list_videos
from nni_evanet.gpus import visible_gpus
from nni_evanet.networks.baselines import BASELINES
from nni_evanet.networks.blueprint import Blueprint
from nni_evanet.networks.cost import count_macs, count_parameters
from nni_evanet.networks.widths import width_of_cost
from nni_evanet.report.plots import plot_results
from nni_evanet.report.top import best, read_evaluations
from nni_evanet.training.train import NETWORK, train
from nni_evanet.training.train import Settings as Training

PICTURE = "results.png"
PUBLISHED_WIDTH = 64

_HOMOGENEOUS = {
    "3d": ("3D ensemble", "inception-conv3d"),
    "itgm": ("iTGM ensemble", "inception-itgm"),
}
_MIXED = {
    "diverse": (
        "Diverse ensemble",
        ("inception-conv3d", "inception-conv2plus1d", "inception-itgm"),
    ),
    "arch": ("Arch. ensemble", ("i3d", "resnet50-conv2plus1d", "resnet101-conv2plus1d")),
}
ENSEMBLES = (*_HOMOGENEOUS, *_MIXED, "random")
"""The ensembles of tables 3 and 12 that an EvaNet is compared with."""

# s3d has one width only.
COMPARED = (*ENSEMBLES, *(name for name in BASELINES if name != "s3d"))
"""What an EvaNet can be compared with: an ensemble, or a single network."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A network to train.

    Args:
        name: of its folder, and in tables.
        group: "evanet", "baseline" or "random".
        blueprint: what it is built from.
        seed: of its training.
    """

    name: str
    group: str
    blueprint: Blueprint
    seed: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is trained, and the ensembles that are made of it."""

    candidates: tuple[Candidate, ...]
    ensembles: tuple[Ensemble, ...]


def best_of_searches(experiments: Sequence[str], k: int) -> list[Architecture]:
    """The k fittest architectures of all experiments together (table 8 combines two metas).

    Raises:
        InputError: no such experiment; fewer than k were evaluated with success.
    """
    records = [record for name in experiments for record in read_evaluations(name)]
    chosen = best(records, k)
    if len(chosen) < k:
        raise InputError(f"--top {k}: only {len(chosen)} architectures have been evaluated")
    return [Architecture.from_json(record["architecture"]) for record in chosen]


def make_plan(
    evolved: Sequence[Architecture],
    compared: Sequence[str],
    *,
    width: int,
    baseline_width: int | None,
    clip: tuple[int, int, int, int],
    num_classes: int,
    seed: int,
) -> Plan:
    """The networks of the EvaNet and of what it is compared with; a shared one is trained once.

    Args:
        evolved: the architectures of the EvaNet.
        compared: some of `COMPARED`.
        width: of the evolved and of the random networks.
        baseline_width: of the baselines. None for the published 64 where ``width`` is 64 too;
            at another width the filters of different families cannot be set equal in any sense that
            matters, and each baseline gets the width at which it costs what the evolved networks
            cost on average.
        clip: (C, T, H, W).
        num_classes: the number of logits.
        seed: of the first training of each network, and of the random architectures.

    Raises:
        InputError: an unknown name in ``compared``; a width that a network cannot have.
    """
    if unknown := [name for name in compared if name not in COMPARED]:
        raise InputError(f"--compare {unknown[0]}: expected some of {', '.join(COMPARED)}")
    evolved_networks = [_searched("evanet", each, width, seed) for each in evolved]
    if baseline_width is None and width == PUBLISHED_WIDTH:
        baseline_width = PUBLISHED_WIDTH
    mean_cost = fmean(cost(each.blueprint, clip, num_classes)[1] for each in evolved_networks)

    @cache
    def width_of(name: str) -> int:
        return baseline_width or width_of_cost(name, mean_cost, clip, num_classes=num_classes)

    def baseline(name: str, number: int = 1) -> Candidate:
        return Candidate(
            name=name if number == 1 else f"{name}-{number}",
            group="baseline",
            blueprint=Blueprint(baseline=name, width=width_of(name)),
            seed=seed + number - 1,
        )

    members: dict[str, list[Candidate]] = {"EvaNet": evolved_networks}
    singles: list[Candidate] = []
    for key in dict.fromkeys(compared):
        if key in _HOMOGENEOUS:
            title, name = _HOMOGENEOUS[key]
            members[title] = [baseline(name, n) for n in range(1, len(evolved) + 1)]
        elif key in _MIXED:
            title, names = _MIXED[key]
            members[title] = [baseline(name) for name in names]
        elif key == "random":
            members["Random ensemble"] = _random_networks(evolved, width, seed)
        else:
            singles.append(baseline(key))
    candidates = {c.name: c for group in (*members.values(), singles) for c in group}
    ensembles = tuple(
        Ensemble(name=title, group=group[0].group, members=tuple(c.name for c in group))
        for title, group in members.items()
        if len(group) > 1
    )
    return Plan(candidates=tuple(candidates.values()), ensembles=ensembles)


def cost(
    blueprint: Blueprint, clip: tuple[int, int, int, int], num_classes: int
) -> tuple[int, float]:
    """Parameters, and multiply-adds of a clip in billions."""
    with torch.device("meta"):
        network = blueprint.build(num_classes=num_classes, in_channels=clip[0])
    return count_parameters(network), count_macs(network, clip) / 1e9


def show_plan(plan: Plan, training: Training, videos: VideoSet, console: Console) -> None:
    """Print every network with its cost, and how much training is left."""
    clip = (videos.channels, training.frames, training.size, training.size)
    table = Table(title="networks to train", title_justify="left")
    for heading in ("network", "group"):
        table.add_column(heading)
    for heading in ("seed", "width", "params", "GMACs"):
        table.add_column(heading, justify="right")
    for each in plan.candidates:
        params, gmacs = cost(each.blueprint, clip, len(videos.classes))
        table.add_row(
            each.name,
            each.group,
            str(each.seed),
            str(each.blueprint.width),
            f"{params / 1e6:.2f} M",
            f"{gmacs:.3g}",
        )
    console.print(table)
    for ensemble in plan.ensembles:
        console.print(f"{ensemble.name}: {', '.join(ensemble.members)}", markup=False)
    finished = sum(network_file(training.out, each).is_file() for each in plan.candidates)
    console.print(
        f"{len(plan.candidates)} trainings, each of {training.optimisation.iterations} iterations "
        f"of {training.batch_size} clips; {finished} are finished"
    )


def run(plan: Plan, training: Training, evaluation: Evaluation) -> Comparison:
    """Train all networks, evaluate them and their ensembles, and write the results.

    Args:
        plan: of the networks.
        training: of each, in the place of whose `blueprint`, `seed` and `out` come its own.
        evaluation: of all.

    Raises:
        InputError: unusable data or options; another training in a network's folder.
        Diverged: a training did.
    """
    # Test data that are missing are better missed before the training than after it.
    list_videos(evaluation.data, evaluation.subset)
    train_all(
        [
            replace(
                training,
                blueprint=each.blueprint,
                seed=each.seed,
                out=network_file(training.out, each).parent,
            )
            for each in plan.candidates
        ],
        visible_gpus(),
    )
    scores = evaluate_networks(
        [network_file(training.out, each) for each in plan.candidates],
        evaluation,
        groups=[each.group for each in plan.candidates],
    )
    comparison = compare(scores, plan.ensembles)
    save(comparison, evaluation.out)
    figure = plot_results(comparison.results)
    figure.savefig(evaluation.out / PICTURE, dpi=150, facecolor="white")
    return comparison


def network_file(out: Path, candidate: Candidate) -> Path:
    """Where a network's training leaves it."""
    return out / "networks" / candidate.name / NETWORK


def train_all(trainings: Sequence[Training], gpus: Sequence[str]) -> None:
    """Train networks one after the other, or on several GPUs side by side, each on one GPU.

    Side by side, each training's messages and progress are in `log.txt` in its folder.
    """
    if len(gpus) < 2:
        for number, training in enumerate(trainings, 1):
            _logger.info("training %d of %d: %s", number, len(trainings), training.out.name)
            train(replace(training, devices=1))
        return
    # A process takes a GPU once, before it initialises CUDA.
    context = multiprocessing.get_context("spawn")
    free = context.SimpleQueue()
    for gpu in gpus:
        free.put(gpu)
    _logger.info("%d trainings on %d GPUs, see log.txt of each", len(trainings), len(gpus))
    with ProcessPoolExecutor(len(gpus), context, partial(_take_gpu, free)) as pool:
        try:
            for done in pool.map(_train_quietly, trainings):
                _logger.info("trained: %s", done)
        except BrokenProcessPool:
            raise InputError("a training was killed: call this again to go on with it") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _take_gpu(free: multiprocessing.SimpleQueue[str]) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = free.get()
    end_with_parent()


def _train_quietly(training: Training) -> str:
    training.out.mkdir(parents=True, exist_ok=True)
    with open(training.out / "log.txt", "a") as log, redirect_stdout(log), redirect_stderr(log):
        handler = logging.StreamHandler(log)
        logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
        train(replace(training, devices=1))
    return training.out.name


def _searched(group: str, architecture: Architecture, width: int, seed: int) -> Candidate:
    # Named by what it is: while a search goes on, another one may be the best tomorrow.
    return Candidate(
        name=f"{group}-{architecture.fingerprint[:8]}",
        group=group,
        blueprint=Blueprint(architecture=architecture, width=width),
        seed=seed,
    )


def _random_networks(evolved: Sequence[Architecture], width: int, seed: int) -> list[Candidate]:
    """As many random architectures, each of the meta-architecture of an evolved one."""
    rng = Random(f"{seed}/random ensemble")
    return [
        _searched("random", Architecture.random(each.meta, rng), width, seed) for each in evolved
    ]
