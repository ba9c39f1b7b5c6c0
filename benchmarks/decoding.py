"""Clips a second: PyAV, torchcodec, and pytorchvideo's own way, on the same files.

    python benchmarks/decoding.py

Random windows of 32 frames of H.264 clips of 10 s, 340 x 256 pixels, 25 frames a second, one key
frame every 250 (libx264's default), scaled to a short side of 201 (clips of 176 with room to crop).
A file is opened for every clip, as in training. One thread. The readers take turns, so that
whatever else the machine does meets all of them.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from nni_evanet.data.opening import open_video
from nni_evanet.data.videos import Video
from nni_evanet.errors import InputError

FPS = Fraction(25)
LENGTH, FRAMES, SHORT_SIDE = 250, 32, 201
HEIGHT, WIDTH = 256, 340
FILES, CLIPS = 4, 40

Read = Callable[[Path, int], object]


def write_clip(path: Path, seed: int) -> None:
    """A texture that moves, with some noise."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(40, 200, (60, 80, 3))
    texture = np.kron(blocks, np.ones((8, 8, 1))).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for k in range(LENGTH):
            y, x = (round(100 + 90 * np.sin(k / period)) for period in (20, 33))
            noise = rng.integers(0, 10, (HEIGHT, WIDTH, 3), np.uint8)
            picture = texture[y : y + HEIGHT, x : x + WIDTH] + noise
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def read_with(decoder: str) -> Read:
    def read(path: Path, first: int) -> object:
        video = Video(path=path, labels=(0,), group="")
        with open_video(video, decoder=decoder) as source:
            return source.read(first, FRAMES, FPS, SHORT_SIDE)

    return read


def read_with_pytorchvideo(path: Path, first: int) -> object:
    """Its EncodedVideo and ShortSideScale, which is this one call."""
    from pytorchvideo.data.encoded_video import EncodedVideo

    video = EncodedVideo.from_path(str(path), decode_audio=False)
    clip = video.get_clip(first / FPS, (first + FRAMES) / FPS)["video"]
    video.close()
    assert clip.shape[1] == FRAMES
    size = (SHORT_SIDE, WIDTH * SHORT_SIDE // HEIGHT)
    return torch.nn.functional.interpolate(clip, size=size, mode="bilinear", align_corners=False)


def measure(readers: dict[str, Read], files: list[Path]) -> dict[str, float]:
    """Median seconds a clip of each reader."""
    rng = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(CLIPS):
        path, first = rng.choice(files), rng.randint(0, LENGTH - FRAMES)
        for name, read in readers.items():
            start = time.perf_counter()
            read(path, first)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[2:]) for name, values in seconds.items()}


def main() -> None:
    torch.set_num_threads(1)
    readers = {"pytorchvideo": read_with_pytorchvideo, "pyav": read_with("pyav")}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{k}.mp4") for k in range(FILES)]
        for k, path in enumerate(files):
            write_clip(path, k)
        try:
            torchcodec = read_with("torchcodec")
            torchcodec(files[0], 0)
            readers["torchcodec"] = torchcodec
        except InputError as error:
            print(error)
        seconds = measure(readers, files)
    table = Table("reader", title=f"{FRAMES} frames of {HEIGHT} x {WIDTH} to {SHORT_SIDE}")
    for column in ("ms a clip", "clips/s", "clips/s, of pytorchvideo's"):
        table.add_column(column, justify="right")
    for name, value in seconds.items():
        ratio = seconds["pytorchvideo"] / value
        table.add_row(name, f"{1e3 * value:.1f}", f"{1 / value:.1f}", f"{ratio:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
