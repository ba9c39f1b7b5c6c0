"""Groups of processes, with gloo on the CPU in the place of nccl on GPUs."""

import os
import signal
import subprocess
import sys
import time

import psutil
import torch

from nni_evanet import trial
from nni_evanet.architecture import Architecture, Module, ResNetStem, Stream
from nni_evanet.data import DataSource, split_validation
from nni_evanet.data.clips import ClipDataset, Geometry
from nni_evanet.data.moving_digits import make_moving_digits
from nni_evanet.networks import build_network
from nni_evanet.training.processes import run_group

CPU = torch.device("cpu")
ARCHITECTURE = Architecture(
    "resnet",
    ResNetStem("itgm", 3, 1, 3, 1),
    (Module(1, (Stream("conv", "conv2plus1d", 3),)),) * 4,
)


class Silent:
    def intermediate(self, metrics):
        pass


def weights_after_training(member, folder, micro_batch):
    """Train a real network as a trial does; the weights, and what evaluation gives."""
    torch.set_num_threads(1)
    parts = split_validation(
        DataSource(dataset="moving-digits", data_path=folder).load("train").videos, count=12
    )
    shape = Geometry(frames=4, size=16, margin=1)
    settings = trial.Settings(
        data=None, architecture=None, meta="resnet", frames=4, size=16, fps=25, iterations=3,
        batch_size=8, micro_batch=micro_batch, learning_rate=0.01, width=4, dropout=0,
        training_clips=None, validation_clips=12,
        max_unreadable=0, seed=0, cache=None, decoder="auto", workers=0,
        threads=1, gpus=None,
    )  # fmt: skip
    torch.manual_seed(0)
    network = build_network(ARCHITECTURE, num_classes=12, width=4, dropout=0)
    trial.train(
        network, ClipDataset(parts.training, shape, training=True), settings, member, Silent()
    )
    scores = trial.evaluate(
        network, ClipDataset(parts.validation, shape, training=False), settings, member
    )
    return {name: p.detach() for name, p in network.named_parameters()}, scores


def test_two_processes_train_like_one(tmp_path):
    """Each micro-batch of 4 passes batch norm by itself, in one process or in two."""
    make_moving_digits(tmp_path, clips_per_class=3, progress=False)
    alone, one = run_group(weights_after_training, [CPU], tmp_path, 4)
    shared, two = run_group(weights_after_training, [CPU, CPU], tmp_path, 4)
    for name, value in alone.items():
        torch.testing.assert_close(shared[name], value, rtol=1e-4, atol=1e-6)
    # The batch-norm statistics are rank 0's: those of other clips.
    assert all(map(torch.isfinite, map(torch.tensor, (*one, *two))))


def test_each_member_sees_a_part_and_rank_0_has_all():
    assert run_group(rank_squares, [CPU, CPU, CPU]) == [0, 1, 4]


def rank_squares(member):
    assert member.world == 3
    return member.gather(member.rank**2)


def run(body):
    code = f"""
import os, sys, time, torch
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_processes import {body}
from nni_evanet.training.processes import run_group
if __name__ == "__main__":
    run_group({body}, [torch.device("cpu")] * 2)
"""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def sleeping(member):
    print(os.getpid(), flush=True)
    time.sleep(60)


def failing_beside_one_that_waits(member):
    if member.rank == 1:
        raise SystemExit(3)
    time.sleep(60)


def test_the_others_die_with_rank_0():
    process = run("sleeping")
    pids = {int(process.stdout.readline()) for _ in range(2)}
    os.kill(process.pid, signal.SIGKILL)
    others = [psutil.Process(pid) for pid in pids - {process.pid} if psutil.pid_exists(pid)]
    assert psutil.wait_procs(others, 20)[1] == []


def test_rank_0_ends_when_another_dies():
    assert run("failing_beside_one_that_waits").wait(50) == 1
