"""Reference numbers of the authors' release, and a record of how near we come to them."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from release_reference import HERE, read
from torch import Tensor

FOLDER = "NNI_EVANET_RELEASE_DATA"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def rgb1() -> dict[str, np.ndarray]:
    """`rgb1` at an eighth of its width: var/..., and in0/ with its endpoints."""
    return read(HERE / "rgb1_w8_c51_in0.npz")


@pytest.fixture(scope="session")
def rgb1_variables(rgb1: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """{TensorFlow's name: array}."""
    return {name[4:]: array for name, array in rgb1.items() if name.startswith("var/")}


@pytest.fixture(scope="session")
def whole_data() -> Path:
    """The folder with all reference numbers, of which the tests carry a part."""
    if FOLDER not in os.environ:
        pytest.skip(f"{FOLDER} does not name the folder with the release's reference numbers")
    return Path(os.environ[FOLDER])


@pytest.fixture
def compare(record_property: Callable[[str, object], None]) -> Callable[..., float]:
    """A function that gives the largest difference over the largest absolute reference value.

    The numbers that a test measures are listed at the end of the run.
    """

    def measure(what: str, ours: Tensor, reference: np.ndarray) -> float:
        ours = ours.detach().to(torch.float64)
        assert ours.shape == reference.shape, what
        difference = np.abs(ours.numpy() - reference.astype(np.float64)).max()
        error = float(difference / np.abs(reference).max())
        record_property(f"parity: {what}", error)
        return error

    return measure


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The largest error of each test that compared numbers."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    lines = []
    for report in reports:
        errors = [(value, name) for name, value in report.user_properties if "parity: " in name]
        if errors and report.when == "call":
            worst, what = max(errors)
            test = report.nodeid.rpartition("::")[2]
            lines.append(f"{worst:.1e}  {test}: {len(errors)} compared, {what[8:]} is the worst")
    if lines:
        terminalreporter.section("parity with the release: difference over the largest value")
        for line in lines:
            terminalreporter.write_line(line)
