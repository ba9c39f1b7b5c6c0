"""A map-style dataset of clips.

Not pytorchvideo's LabeledVideoDataset, which has no length and no random access, cannot reach a
video's last clip with its constant sampler, draws from the global random generator, and tells of
files that it could not read only at level DEBUG until ten in a row have failed. Its encoded video
and its clip samplers are what this one builds on.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch
from torch.utils.data import Dataset

from nni_evanet.data.decoding import ClipInfo, ClipSampler, FrameReader, UnreadableVideo
from nni_evanet.data.videos import DataError, Video

# A dataset whose decoded, scaled frames take less than this is decoded once into memory.
MEMORY_LIMIT = 2 * 1024**3
# Of how many files tried, at least, an intermediate share of unreadable ones is judged.
_ENOUGH_TRIED = 100

logger = logging.getLogger(__name__)


class AlignedClipSampler(ClipSampler):  # type: ignore[misc, valid-type]
    """Choose a clip that starts at a multiple of 1 / fps, so that it consists of whole frames.

    pytorchvideo's random sampler starts anywhere, and it has none for the centre.

    Args:
        frames: of a clip.
        fps: frames a second.
        rng: where the clip is drawn from, uniformly; without one it is the centre clip.
    """

    def __init__(self, frames: int, fps: Fraction, rng: random.Random | None = None) -> None:
        super().__init__(Fraction(frames) / fps)
        self._frames, self._fps, self._rng = frames, fps, rng

    def __call__(
        self, last_clip_time: Fraction, video_duration: Fraction, annotation: object
    ) -> ClipInfo:  # type: ignore[valid-type]
        last = max(round(video_duration * self._fps) - self._frames, 0)
        first = self._rng.randint(0, last) if self._rng else last // 2
        start = Fraction(first) / self._fps
        return ClipInfo(start, start + self._clip_duration, 0, 0, True)


@dataclass(frozen=True)
class Sample:
    """One clip, or none where the file is unreadable and the dataset does not replace it.

    Args:
        clip: (T, H, W, 3) uint8, RGB.
        label: class index.
        index: of the video that the clip is from.
        failures: indices of the videos that could not be read instead, each with the reason.
    """

    clip: torch.Tensor | None
    label: int
    index: int
    failures: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What a clip is.

    Args:
        frames: T, consecutive at ``fps``.
        size: H and W, in pixels.
        fps: frames a second, whatever the source's rate.
        margin: frames are scaled to a short side of ``margin * size`` before the crop.
        flip: whether training mirrors half of the clips.
    """

    frames: int
    size: int
    fps: Fraction = Fraction(25)
    margin: float = 8 / 7
    flip: bool = True

    @property
    def short_side(self) -> int:
        """Of the scaled frames, in pixels."""
        return max(self.size, round(self.size * self.margin))


@dataclass
class Reading:
    """Which files have been tried, and which could not be read."""

    total: int
    limit: float
    tried: set[int] = field(default_factory=set)
    unreadable: dict[int, str] = field(default_factory=dict)


class ClipDataset(Dataset[Sample]):
    """Clips of videos: one of each, random for training, in the centre otherwise.

    A training clip is determined by the seed and the key ``(draw, index)``, whichever process
    reads it; its temporal position and its crop are uniform. An evaluation clip is the centre crop
    of the centre clip. A video shorter than a clip is repeated from its beginning until the clip
    is full. In training an unreadable video is replaced by another one, drawn from the same seed;
    in evaluation it is left out.

    Args:
        videos: single-label videos.
        geometry: of the clips.
        training: whether clips are random.
        seed: of the random clips.
        max_unreadable: the largest share of unreadable files that is tolerated.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        geometry: Geometry,
        *,
        training: bool,
        seed: int = 0,
        max_unreadable: float = 0.05,
    ) -> None:
        if not videos:
            raise DataError("no videos to take clips from")
        self.videos = tuple(videos)
        self.geometry = geometry
        self.training = training
        self.seed = seed
        self.reading = Reading(len(videos), max_unreadable)
        self._decoded: dict[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def in_memory(self) -> bool:
        """Whether the videos have been decoded into memory."""
        return self._decoded is not None

    @property
    def unreadable(self) -> dict[str, str]:
        """The unreadable files found so far, by path, and why."""
        return {str(self.videos[i].path): why for i, why in self.reading.unreadable.items()}

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """Return the clip of a video's index, or of ``(draw, index)`` in training."""
        draw, index = key if isinstance(key, tuple) else (0, key)
        rng = random.Random(f"{self.seed}/{draw}/{index}") if self.training else None
        failures: list[tuple[int, str]] = []
        while True:
            try:
                clip = torch.from_numpy(self._clip(index, rng))
                return Sample(clip, self.videos[index].label, index, tuple(failures))
            except UnreadableVideo as error:
                failures.append((index, str(error)))
            others = sorted(set(range(len(self))) - {i for i, _ in failures})
            if rng is None or not others or len(failures) > 10:
                return Sample(None, self.videos[index].label, index, tuple(failures))
            index = rng.choice(others)

    def load(self) -> None:
        """Decode every video into memory, whole, as scaled uint8.

        Raises:
            DataError: too many of the files are unreadable.
        """
        decoded = {}
        for index in range(len(self)):
            try:
                decoded[index] = self._read_whole(index)
                self.note(index)
            except UnreadableVideo as error:
                self.note(index, ((index, str(error)),))
        self._decoded = decoded

    def fits_in_memory(self, limit: int = MEMORY_LIMIT) -> bool:
        """Whether the decoded videos take less than ``limit`` bytes, judged by up to 16 of them."""
        step = max(1, len(self) // 16)
        sizes = []
        for index in range(0, len(self), step)[:16]:
            try:
                sizes.append(self._decoded_size(index))
            except UnreadableVideo:
                continue
        return bool(sizes) and sum(sizes) / len(sizes) * len(self) < limit

    def note(self, index: int, failures: Sequence[tuple[int, str]] = ()) -> None:
        """Count a sample that was read; name every unreadable file once.

        Raises:
            DataError: more than the tolerated share of the files is unreadable.
        """
        reading = self.reading
        reading.tried.add(index)
        for failed, reason in failures:
            reading.tried.add(failed)
            if failed not in reading.unreadable:
                reading.unreadable[failed] = reason
                logger.warning("unreadable video: %s: %s", self.videos[failed].path, reason)
        found = len(reading.unreadable)
        of_tried = len(reading.tried) if len(reading.tried) >= _ENOUGH_TRIED else reading.total
        if found > reading.limit * min(of_tried, reading.total):
            first = next(iter(reading.unreadable))
            raise DataError(
                f"{found} of {len(reading.tried)} video files tried are unreadable, more than "
                f"{reading.limit:.0%}; the first is {self.videos[first].path}: "
                f"{reading.unreadable[first]}"
            )

    def _clip(self, index: int, rng: random.Random | None) -> np.ndarray:
        geometry = self.geometry
        if self._decoded is None:
            frames = self._read_window(index, rng)
        elif index in self._decoded:
            whole = self._decoded[index]
            first = self._first_frame(len(whole), rng)
            frames = whole[_looped(first, geometry.frames, len(whole))]
        else:
            raise UnreadableVideo(self.reading.unreadable[index])
        return _crop(frames, geometry.size, rng, flip=geometry.flip)

    def _first_frame(self, available: int, rng: random.Random | None) -> int:
        fps = self.geometry.fps
        sampler = AlignedClipSampler(self.geometry.frames, fps, rng)
        return int(sampler(Fraction(0), available / fps, {}).clip_start_sec * fps)

    def _read_window(self, index: int, rng: random.Random | None) -> np.ndarray:
        geometry = self.geometry
        with FrameReader(self.videos[index].path) as reader:
            available = reader.count(geometry.fps)
            first = self._first_frame(available, rng)
            count = min(geometry.frames, available)
            frames = reader.read(first, count, geometry.fps, geometry.short_side)
        return frames[_looped(0, geometry.frames, count)]

    def _read_whole(self, index: int) -> np.ndarray:
        fps = self.geometry.fps
        with FrameReader(self.videos[index].path) as reader:
            return reader.read(0, reader.count(fps), fps, self.geometry.short_side)

    def _decoded_size(self, index: int) -> int:
        with FrameReader(self.videos[index].path) as reader:
            height, width = reader.scaled(self.geometry.short_side)
            return reader.count(self.geometry.fps) * height * width * 3


def _looped(first: int, count: int, available: int) -> np.ndarray:
    return np.arange(first, first + count) % available


def _crop(frames: np.ndarray, size: int, rng: random.Random | None, *, flip: bool) -> np.ndarray:
    free = [extent - size for extent in frames.shape[1:3]]
    y, x = (rng.randint(0, n) if rng else n // 2 for n in free)
    frames = frames[:, y : y + size, x : x + size]
    if flip and rng and rng.random() < 0.5:
        frames = frames[:, :, ::-1]
    return np.ascontiguousarray(frames)
