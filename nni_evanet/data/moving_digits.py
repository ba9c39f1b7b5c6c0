"""Moving digits: a small video dataset whose classes are motions and nothing else.

A handwritten digit travels over a textured background for two segments of equal length. In 8 of the
12 classes it goes straight on, in one of eight directions; in the others it turns off at a right
angle. The frame is a torus: what leaves on one side enters on the other, and every segment runs
exactly once around it. Three properties follow from that and from a uniformly random start:

- at every time index of every class the digit's position is uniform over the frame, so that a
  single frame says nothing about the class (every frame is encoded by itself, at a constant
  quantiser, so that the codec says nothing about it either);
- the set of frames, their order forgotten, is the same for both directions of a line and for all
  four turns, so that shuffled frames tell at most five of the 12 classes apart;
- "right then up" and "up then right" contain the same motions: only their order, over the whole
  clip, tells them apart.

The files stand in a Kinetics-style tree. The source image takes the place of the YouTube id, so
that the rule which keeps the clips of one YouTube video together keeps those of one digit together.
"""

from __future__ import annotations

import csv
import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from nni_evanet.atomic import replacing
from nni_evanet.data.kinetics import CSV_FIELDS, SUBSETS, load_layout
from nni_evanet.data.videos import DataError, VideoSet

FPS = 25
FRAMES = 32
SIZE = 32
DIGIT = 16
IMAGES = 1797
CLIPS_PER_IMAGE = 4
# Of the source, for the names: a clip's length in whole seconds.
SECONDS = -(-FRAMES // FPS)

DIRECTIONS = {
    "right": (0, 1),
    "left": (0, -1),
    "down": (1, 0),
    "up": (-1, 0),
    "down right": (1, 1),
    "up left": (-1, -1),
    "down left": (1, -1),
    "up right": (-1, 1),
}
TURNS = (("right", "up"), ("up", "right"), ("left", "down"), ("down", "left"))
# The directions of the two segments.
MOTIONS = (*((name, name) for name in DIRECTIONS), *TURNS)
CLASSES = tuple(
    f"moving {first}" if first == second else f"moving {first} then {second}"
    for first, second in MOTIONS
)
_MARKER = "moving_digits.json"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Look:
    """How hard the pictures are to read; all brightness in shares of the full range.

    ``texture`` and ``noise`` are standard deviations: of the background, constant during a clip,
    and of the noise that every frame draws anew. ``grain`` is the highest frequency of the texture,
    in cycles a pixel; ``contrast`` how much brighter than the background the digit is.
    """

    background: float = 0.35
    texture: float = 0.04
    grain: float = 0.08
    contrast: tuple[float, float] = (0.45, 0.7)
    noise: float = 0.01


LOOK = Look()


def trajectory(label: int, start: tuple[float, float]) -> np.ndarray:
    """Return the digit's (y, x) offsets of one clip, (FRAMES, 2), in pixels, on the torus."""
    half = FRAMES // 2
    velocities = np.array([DIRECTIONS[name] for name in MOTIONS[label]]) * (SIZE / half)
    steps = np.repeat(velocities, half, axis=0)
    # The frame at index t lies after t steps; the first segment's last step leads to its start.
    walked = np.cumsum(steps, axis=0) - steps
    return (np.asarray(start) + walked) % SIZE


def render(image: np.ndarray, label: int, rng: np.random.Generator, look: Look) -> np.ndarray:
    """Draw one clip: an 8 x 8 digit (0-16) moving as class ``label``; (FRAMES, SIZE, SIZE, 3)."""
    shape = _enlarge(image / 16.0)
    offsets = trajectory(label, tuple(rng.uniform(0, SIZE, 2)))
    mask = np.stack([_shift(shape, y, x) for y, x in offsets])[..., None]
    background = look.background + look.texture * _texture(rng, look.grain)
    colour = rng.uniform(*look.contrast) * rng.uniform(0.85, 1.15, 3)
    frames = background + mask * colour + look.noise * rng.standard_normal((*mask.shape[:3], 1))
    return (frames.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _enlarge(image: np.ndarray) -> np.ndarray:
    """Scale a digit bilinearly to DIGIT x DIGIT and lay it into an empty frame."""
    at = np.linspace(0, 7, DIGIT)
    low = np.minimum(at.astype(int), 6)
    weights = np.zeros((DIGIT, 8))
    weights[np.arange(DIGIT), low] = 1 - (at - low)
    weights[np.arange(DIGIT), low + 1] = at - low
    frame = np.zeros((SIZE, SIZE))
    frame[:DIGIT, :DIGIT] = weights @ image @ weights.T
    return frame


def _shift(frame: np.ndarray, y: float, x: float) -> np.ndarray:
    """Move a frame by a fraction of pixels around the torus (bilinear)."""
    for axis, by in enumerate((y, x)):
        whole = int(np.floor(by))
        part = by - whole
        frame = (1 - part) * np.roll(frame, whole, axis) + part * np.roll(frame, whole + 1, axis)
    return frame


def _texture(rng: np.random.Generator, grain: float) -> np.ndarray:
    """Return smooth random colour, (SIZE, SIZE, 3), mean 0 and standard deviation 1, periodic."""
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE)[None, :])
    lowpass = np.exp(-((frequency / grain) ** 2))
    spectrum = np.fft.fft2(rng.standard_normal((3, SIZE, SIZE))) * lowpass
    spectrum[:, 0, 0] = 0
    texture = np.fft.ifft2(spectrum).real
    texture /= texture.std(axis=(1, 2), keepdims=True)
    # Half of the variance is common to the three colours: a coloured pattern, mostly of grey.
    texture = (texture + texture.mean(axis=0)) / np.sqrt(2)
    return texture.transpose(1, 2, 0)


def encode(frames: np.ndarray, path: Path) -> None:
    """Write frames (T, H, W, 3) uint8 as H.264 in mp4, each frame coded by itself."""
    import av

    with av.open(str(path), "w", format="mp4") as container:
        # One thread: the bytes must not depend on the machine. A constant quantiser and a key
        # frame at every time: no frame may carry a trace of its neighbours.
        stream: Any = container.add_stream(
            "libx264",
            rate=Fraction(FPS),
            options={"qp": "14", "g": "1", "preset": "veryfast", "threads": "1"},
        )
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def load_moving_digits(data_path: Path, *, subset: str) -> VideoSet:
    """List the videos of a subset; clips of one source image form a group.

    Clips are neither mirrored, since direction is the class, nor cropped, since they are small.

    Raises:
        DataError: nothing there, or not what `make_moving_digits` writes.
    """
    return load_layout(data_path, subset=subset, name="moving-digits", flip=False, margin=1)


@dataclass(frozen=True)
class _Clip:
    """One file to write: where, and of what. ``number`` seeds its randomness."""

    subset: str
    label: int
    image: int
    start: int
    number: int

    @property
    def path(self) -> Path:
        name = f"{self.youtube_id}_{self.start:06d}_{self.end:06d}.mp4"
        return Path(self.subset, CLASSES[self.label], name)

    @property
    def youtube_id(self) -> str:
        return f"digit{self.image:04d}"

    @property
    def end(self) -> int:
        return self.start + SECONDS


def make_moving_digits(
    out: str | Path, *, clips_per_class: int, seed: int = 0, progress: bool = True
) -> None:
    """Write the dataset into a folder.

    The images of scikit-learn's digits are divided into 70 % for training and 15 % each for
    validation and test, by the seed. The training subset has ``clips_per_class`` clips of every
    class, each of the others a quarter of that, rounded up. An image gives four clips, more only
    where the images do not suffice, of random classes. The same arguments give the same files.

    Args:
        out: a new or empty folder, or one in which the same call was interrupted: it goes on there.
        clips_per_class: of the training subset; at least 1.
        seed: of everything random.
        progress: whether to show a progress bar.

    Raises:
        DataError: the folder holds something else; clips_per_class is below 1.
    """
    if clips_per_class < 1:
        raise DataError(f"clips per class: {clips_per_class} is not a number of at least 1")
    folder = Path(out)
    _claim(folder, {"format": _FORMAT, "clips_per_class": clips_per_class, "seed": seed})
    clips = _plan(clips_per_class, seed)
    _write_clips(folder, clips, seed, progress)
    for subset in SUBSETS:
        _write_csv(folder / f"{subset}.csv", [clip for clip in clips if clip.subset == subset])


def _claim(folder: Path, settings: dict[str, int]) -> None:
    """Take an empty folder for these settings, or find that it has been taken for the same."""
    marker = folder / _MARKER
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: not a folder")
    if marker.is_file():
        try:
            found = json.loads(marker.read_text())
        except ValueError:
            found = None
        if found != settings:
            raise DataError(f"{folder}: holds moving digits of other settings, {found}")
        return
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder}: not empty, and not a moving-digits folder")
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(marker) as temporary:
        temporary.write_text(json.dumps(settings))


def _plan(clips_per_class: int, seed: int) -> list[_Clip]:
    rng = random.Random(seed)
    images = list(range(IMAGES))
    rng.shuffle(images)
    cuts = (0, round(0.7 * IMAGES), round(0.85 * IMAGES), IMAGES)
    others = -(-clips_per_class // 4)
    clips: list[_Clip] = []
    for subset, count, low, high in zip(
        SUBSETS, (clips_per_class, others, others), cuts, cuts[1:], strict=False
    ):
        labels = [label for label in range(len(CLASSES)) for _ in range(count)]
        # Dealt at random: which image it is says nothing about the class.
        rng.shuffle(labels)
        per_image = max(CLIPS_PER_IMAGE, -(-len(labels) // (high - low)))
        for position, label in enumerate(labels):
            image, turn = divmod(position, per_image)
            clips.append(_Clip(subset, label, images[low + image], turn * SECONDS, len(clips)))
    return clips


def _write_clips(folder: Path, clips: list[_Clip], seed: int, progress: bool) -> None:
    from rich.progress import track
    from sklearn.datasets import load_digits

    images = load_digits().images
    for directory in {(folder / clip.path).parent for clip in clips}:
        directory.mkdir(parents=True, exist_ok=True)

    def write(clip: _Clip) -> None:
        path = folder / clip.path
        if path.exists():
            return
        rng = np.random.default_rng((seed, clip.number))
        with replacing(path) as temporary:
            encode(render(images[clip.image], clip.label, rng, LOOK), temporary)

    # Threads suffice: the encoder and NumPy work outside the interpreter's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(write, clips)
        for _ in track(done, "moving digits", total=len(clips), disable=not progress):
            pass


def _write_csv(path: Path, clips: list[_Clip]) -> None:
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_FIELDS)
        for clip in clips:
            label = CLASSES[clip.label]
            writer.writerow((label, clip.youtube_id, clip.start, clip.end, clip.subset))
