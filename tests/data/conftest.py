"""Encoded videos for the data tests."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from nni_evanet.data.moving_digits import make_moving_digits

CLIPS_PER_CLASS = 12


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A moving-digits dataset of 12 training clips a class."""
    folder = tmp_path_factory.mktemp("digits")
    make_moving_digits(folder, clips_per_class=CLIPS_PER_CLASS, seed=3, progress=False)
    return folder


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    """A function that encodes random pictures; every frame's brightness tells its number."""

    def write(
        path: Path,
        *,
        frames: int,
        fps: int = 25,
        height: int = 32,
        width: int = 48,
        container_options: dict[str, str] | None = None,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(frames)
        with av.open(str(path), "w", options=container_options or {}) as container:
            stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "8"})
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            for number in range(frames):
                picture = rng.integers(0, 12, (height, width, 3)) + 8 + 3 * number % 230
                frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture(scope="session")
def decode() -> Callable[[Path], np.ndarray]:
    """A function that decodes a whole file with PyAV alone, to (T, H, W, 3)."""

    def read(path: Path) -> np.ndarray:
        with av.open(str(path)) as container:
            return np.stack([f.to_rgb().to_ndarray() for f in container.decode(video=0)])

    return read
