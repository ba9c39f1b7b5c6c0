"""A map-style dataset of clips.

Not pytorchvideo's LabeledVideoDataset, which has no length and no random access, cannot reach a
video's last clip with its constant sampler, draws from the global random generator, and tells of
files that it could not read only at level DEBUG until ten in a row have failed. Its encoded video,
its frame video and its clip samplers are what this one builds on.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from nni_evanet.data.decoding import ClipInfo, ClipSampler
from nni_evanet.data.opening import open_video
from nni_evanet.data.source import FrameSource, UnreadableVideo, frame_rate
from nni_evanet.data.videos import DataError, Video, VideoSet

# Of how many files tried, at least, an intermediate share of unreadable ones is judged.
_ENOUGH_TRIED = 100

logger = logging.getLogger(__name__)


class AlignedClipSampler(ClipSampler):  # type: ignore[misc, valid-type]
    """Choose a clip that starts at a multiple of 1 / fps, so that it consists of whole frames.

    pytorchvideo's random sampler starts anywhere, and its constant one never reaches the last clip.

    Args:
        frames: of a clip.
        fps: frames a second.
        choose: gives the first frame's index, from 0 to the last that is possible.
    """

    def __init__(self, frames: int, fps: Fraction, choose: Callable[[int], int]) -> None:
        super().__init__(Fraction(frames) / fps)
        self._frames, self._fps, self._choose = frames, fps, choose

    def __call__(
        self, last_clip_time: Fraction, video_duration: Fraction, annotation: object
    ) -> ClipInfo:  # type: ignore[valid-type]
        last = max(round(video_duration * self._fps) - self._frames, 0)
        start = Fraction(self._choose(last)) / self._fps
        return ClipInfo(start, start + self._clip_duration, 0, 0, True)


@dataclass(frozen=True)
class Sample:
    """The clips of one video, or none where it is unreadable and is not replaced.

    Args:
        clips: (V, T, H, W, C) uint8, one a view.
        target: the class, () int64; with multi-label data (classes,) float32 of 0 and 1.
        index: of the video that the clips are from.
        failures: indices of the videos that could not be read instead, each with the reason.
    """

    clips: Tensor | None
    target: Tensor
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

    @classmethod
    def of(cls, videos: VideoSet, *, frames: int, size: int, fps: float) -> Geometry:
        """Clips of a dataset, which knows the margin and whether to mirror."""
        return cls(
            frames=frames,
            size=size,
            fps=frame_rate(fps),
            margin=videos.margin,
            flip=videos.flip,
        )

    @property
    def short_side(self) -> int:
        """Of the scaled frames, in pixels."""
        return max(self.size, round(self.size * self.margin))


@dataclass(frozen=True, kw_only=True)
class Views:
    """What is seen of a video in testing.

    Args:
        clips: evenly spaced from the first frame to the last; one is the centre clip.
        crops: of each clip: 1 in the centre, or 3 along the longer side, from edge to edge.
    """

    clips: int = 1
    crops: int = 1

    def __post_init__(self) -> None:
        if self.clips < 1 or self.crops not in (1, 3):
            raise DataError(f"{self.clips} clips x {self.crops} crops: expected n x 1 or n x 3")

    def __len__(self) -> int:
        return self.clips * self.crops

    def firsts(self, last: int) -> list[int]:
        """First frames of the clips, where ``last`` is the last one possible."""
        if self.clips == 1:
            return [last // 2]
        return [round(Fraction(last * k, self.clips - 1)) for k in range(self.clips)]

    def corners(self, height: int, width: int, size: int) -> list[tuple[int, int]]:
        """Upper left corners (y, x) of the crops of size x size."""
        y, x = height - size, width - size
        if self.crops == 1:
            return [(y // 2, x // 2)]
        if y > x:
            return [(0, x // 2), (y // 2, x // 2), (y, x // 2)]
        return [(y // 2, 0), (y // 2, x // 2), (y // 2, x)]


@dataclass
class Reading:
    """Which files have been tried, and which could not be read."""

    total: int
    limit: float
    tried: set[int] = field(default_factory=set)
    unreadable: dict[int, str] = field(default_factory=dict)


class ClipDataset(Dataset[Sample]):
    """Clips of videos: a random one of each for training, fixed views of it otherwise.

    A training clip is determined by the seed and the key ``(draw, index)``, whichever process
    reads it; its temporal position and its crop are uniform. A video shorter than a clip is
    repeated from its beginning until the clip is full. In training an unreadable video is replaced
    by another one, drawn from the same seed; in evaluation it is left out.

    Args:
        videos: what to take clips from.
        geometry: of the clips.
        training: whether clips are random.
        classes: of multi-label data, whose targets are vectors; None if single-label.
        views: what evaluation sees of a video.
        seed: of the random clips.
        open_source: gives a video's frames: `open_video`, or a cache's.
        max_unreadable: the largest share of unreadable files that is tolerated.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        geometry: Geometry,
        *,
        training: bool,
        classes: int | None = None,
        views: Views = Views(),
        seed: int = 0,
        open_source: Callable[[Video], FrameSource] = open_video,
        max_unreadable: float = 0.05,
    ) -> None:
        if not videos:
            raise DataError("no videos to take clips from")
        self.videos = tuple(videos)
        self.geometry = geometry
        self.training = training
        self.classes = classes
        self.views = views
        self.seed = seed
        self.reading = Reading(len(videos), max_unreadable)
        self._open = open_source

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def unreadable(self) -> dict[str, str]:
        """The unreadable files found so far, by path, and why."""
        return {str(self.videos[i].path): why for i, why in self.reading.unreadable.items()}

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """Return the views of a video's index, or the clip of ``(draw, index)`` in training."""
        draw, index = key if isinstance(key, tuple) else (0, key)
        rng = random.Random(f"{self.seed}/{draw}/{index}") if self.training else None
        failures: list[tuple[int, str]] = []
        while True:
            try:
                clips, target = self._random_clip(index, rng) if rng else self._fixed_views(index)
                return Sample(clips, target, index, tuple(failures))
            except UnreadableVideo as error:
                failures.append((index, str(error)))
            others = sorted(set(range(len(self))) - {i for i, _ in failures})
            if rng is None or not others or len(failures) > 10:
                return Sample(None, self._target(index), index, tuple(failures))
            index = rng.choice(others)

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

    def _random_clip(self, index: int, rng: random.Random) -> tuple[Tensor, Tensor]:
        """A clip (1, T, H, W, C) and its target."""
        geometry = self.geometry
        with self._open(self.videos[index]) as source:
            first, frames = self._read(source, lambda last: rng.randint(0, last))
            begin = source.start + first / geometry.fps
        y, x = (rng.randint(0, extent - geometry.size) for extent in frames.shape[1:3])
        window = frames[:, y : y + geometry.size, x : x + geometry.size]
        clip = torch.from_numpy(np.array(window, order="C"))
        if geometry.flip and rng.random() < 0.5:
            clip = mirrored(clip)
        target = self._target(index, (begin, begin + geometry.frames / geometry.fps))
        return clip[None], target

    def _fixed_views(self, index: int) -> tuple[Tensor, Tensor]:
        """All views of a video, (V, T, H, W, C), and its target."""
        geometry, size = self.geometry, self.geometry.size
        views = []
        with self._open(self.videos[index]) as source:
            last = max(source.count(geometry.fps) - geometry.frames, 0)
            for first in self.views.firsts(last):
                _, frames = self._read(source, partial(min, first))
                height, width = frames.shape[1:3]
                corners = self.views.corners(height, width, size)
                views += [frames[:, y : y + size, x : x + size] for y, x in corners]
        return torch.from_numpy(np.stack(views)), self._target(index)

    def _read(self, source: FrameSource, choose: Callable[[int], int]) -> tuple[int, np.ndarray]:
        """A clip's first frame and its scaled frames; a short video is looped."""
        geometry = self.geometry
        available = source.count(geometry.fps)
        sampler = AlignedClipSampler(geometry.frames, geometry.fps, choose)
        first = int(
            sampler(Fraction(0), available / geometry.fps, {}).clip_start_sec * geometry.fps
        )
        count = min(geometry.frames, available)
        frames = source.read(first, count, geometry.fps, geometry.short_side)
        if count < geometry.frames:
            frames = frames[np.arange(geometry.frames) % count]
        return first, frames

    def _target(self, index: int, span: tuple[Fraction, Fraction] | None = None) -> Tensor:
        """What a clip shows; where the labels' times are known, during ``span`` (seconds)."""
        video = self.videos[index]
        if self.classes is None:
            return torch.tensor(video.label)
        labels = list(video.labels)
        if span and video.actions:
            labels = [a.label for a in video.actions if a.start < span[1] and a.end > span[0]]
        target = torch.zeros(self.classes)
        target[labels] = 1
        return target


def mirrored(clip: Tensor) -> Tensor:
    """Mirror a clip (T, H, W, C); optical flow, C = 2, then points the other way in x."""
    clip = clip.flip(2)
    if clip.shape[-1] == 2:
        clip[..., 0] = 255 - clip[..., 0]
    return clip
