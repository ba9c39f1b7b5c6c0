"""Reading the reference numbers that the tests carry."""

from pathlib import Path

import numpy as np

HERE = Path(__file__).parent / "data"


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}
