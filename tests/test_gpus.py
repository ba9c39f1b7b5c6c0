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
from nni_evanet.gpus import claim_gpu, visible_gpus

HOLD = """
import sys, time, pathlib, os
from nni_evanet.gpus import claim_gpu
print(claim_gpu(sys.argv[2:], pathlib.Path(sys.argv[1])), flush=True)
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
        assert {taken, claim_gpu(["0", "1"], tmp_path)} == {"0", "1"}
    finally:
        first.kill()


def test_a_killed_trial_gives_its_gpu_back_though_its_worker_lives(tmp_path):
    process, taken = holder(tmp_path, "0")
    assert taken == "0"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    started = time.monotonic()
    assert claim_gpu(["0"], tmp_path) == "0"
    assert time.monotonic() - started < 10


def test_a_trial_without_a_free_gpu_waits_and_says_so(tmp_path, caplog, monkeypatch):
    process, _ = holder(tmp_path, "GPU-8a/b")
    monkeypatch.setattr(gpus, "POLL_S", 0.05)
    monkeypatch.setattr(gpus.time, "sleep", lambda _: process.kill() or process.wait())
    with caplog.at_level(logging.WARNING):
        assert claim_gpu(["GPU-8a/b"], tmp_path) == "GPU-8a/b"
    assert "waiting for a free GPU among GPU-8a/b" in caplog.text


def test_visible_gpus_are_those_of_cuda(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-8a")
    assert visible_gpus() == ["2", "GPU-8a"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


def test_no_gpu_at_all_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no visible GPU"):
        claim_gpu([], tmp_path)
