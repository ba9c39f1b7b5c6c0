"""GPU claims, with pretend GPUs: what is locked is a file for each."""

import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from nni_evanet import gpus
from nni_evanet.errors import InputError
from nni_evanet.gpus import claim_gpus, visible_gpus

HOLD = """
import sys, time, pathlib, os
from nni_evanet.gpus import claim_gpus
print(*claim_gpus(sys.argv[2:], folder=pathlib.Path(sys.argv[1])), flush=True)
if os.fork() == 0:
    time.sleep(30)  # a data worker that outlives its trial
    os._exit(0)
time.sleep(30)
"""


def holder(folder, *names):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder, *names], stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline().strip()


def test_two_trials_never_share_a_gpu(tmp_path):
    first, taken = holder(tmp_path, "0", "1")
    try:
        assert {taken, *claim_gpus(["0", "1"], folder=tmp_path)} == {"0", "1"}
    finally:
        first.kill()


def test_a_killed_trial_gives_its_gpu_back_though_its_worker_lives(tmp_path):
    process, taken = holder(tmp_path, "0")
    assert taken == "0"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    started = time.monotonic()
    assert claim_gpus(["0"], folder=tmp_path) == ["0"]
    assert time.monotonic() - started < 10


def test_a_trial_without_a_free_gpu_waits_and_says_so(tmp_path, caplog, monkeypatch):
    process, _ = holder(tmp_path, "GPU-8a/b")
    monkeypatch.setattr(gpus, "POLL_S", 0.05)
    monkeypatch.setattr(gpus.time, "sleep", lambda _: process.kill() or process.wait())
    with caplog.at_level(logging.WARNING):
        assert claim_gpus(["GPU-8a/b"], folder=tmp_path) == ["GPU-8a/b"]
    assert "waiting for 1 free of the GPUs GPU-8a/b" in caplog.text


def test_visible_gpus_are_those_of_cuda(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-8a")
    assert visible_gpus() == ["2", "GPU-8a"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


def test_several_gpus_are_taken_together_or_not_at_all(tmp_path, monkeypatch):
    """One that waits for two of three holds none meanwhile: the third stays free for others."""
    process, taken = holder(tmp_path, "0", "1", "2")
    other, _ = holder(tmp_path, *({"0", "1", "2"} - {taken}))
    free = []

    def look(_):
        locks = tmp_path.glob("*.lock")
        free.append(
            [path for path in locks if (lock := gpus._try_lock(path)) and not os.close(lock)]
        )
        process.kill()
        process.wait()

    monkeypatch.setattr(gpus.time, "sleep", look)
    got = claim_gpus(["0", "1", "2"], 2, tmp_path)
    other.kill()
    assert len(free[0]) == 1
    assert len(set(got)) == 2 and taken in got


def test_more_gpus_than_there_are_is_an_error(tmp_path):
    with pytest.raises(InputError, match="--gpus 3: this machine has 2 visible GPUs"):
        claim_gpus(["0", "1"], 3, tmp_path)


def test_no_gpu_at_all_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no visible GPU"):
        claim_gpus([], folder=tmp_path)
