"""Frames of one encoded file at a constant frame rate."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter

from nni_evanet.compat import import_pytorchvideo
from nni_evanet.data.scaling import scale, scaled_size
from nni_evanet.data.source import UnreadableVideo

_pyav, _clip_sampling = import_pytorchvideo("encoded_video_pyav", "clip_sampling")
if TYPE_CHECKING:
    from pytorchvideo.data.encoded_video_pyav import EncodedVideoPyAV
else:
    EncodedVideoPyAV = _pyav.EncodedVideoPyAV

ClipSampler, ClipInfo = _clip_sampling.ClipSampler, _clip_sampling.ClipInfo

# How far a file may end before the duration that its header states.
_TOLERATED_GAP = Fraction(1, 2)
# Frames a second; what states fewer is damaged, and would be taken for a video of days.
_SLOWEST = Fraction(1, 10)


class FrameReader(EncodedVideoPyAV):
    """pytorchvideo's encoded video, asked for frames at given times.

    ``get_clip`` of the base class does not tell the times of the frames it returns, without which
    a file cannot be resampled; it takes frames within a margin of 1024 ticks, however long a tick
    is, which are not enough where the frame rate varies; it returns float32 of what are bytes; it
    opens a colour converter with threads of its own for every frame; and it leaves phone video
    lying on its side. Its ``duration`` is wrong where a stream does not start at 0.

    Time 0 is that of the first frame that can be decoded. AVI stores no times, and those that
    FFmpeg makes up are late, or even out of order, where the codec reorders frames: there the
    k-th frame is shown at the time of the k-th packet, and decoding always starts at the first.

    Args:
        path: the file.

    Raises:
        UnreadableVideo: it cannot be opened or has no video.
    """

    start = Fraction(0)

    def __init__(self, path: Path) -> None:
        # The handle goes on being read: the file is not copied into memory.
        try:
            self._file = open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise UnreadableVideo(error.strerror or str(error)) from None
        try:
            super().__init__(self._file, path.name, decode_audio=False)
            self._stream: Any = self._container.streams.video[0]
            # Two threads a file would gain nothing: trials and loader workers run side by side.
            self._stream.thread_count = 1
            self._first_pts = 0
            self._times = self._packet_times() if self._container.format.name == "avi" else None
            first = next(self._from_beginning(), None)
        except Exception as error:
            self._file.close()
            raise UnreadableVideo(one_line(error)) from None
        if first is None or first.pts is None:
            self.close()
            raise UnreadableVideo(
                "its frames have no times" if first else "its video stream has no picture"
            )
        if self._rate < _SLOWEST:
            self.close()
            raise UnreadableVideo(f"its header states a frame every {float(1 / self._rate):.0f} s")
        self._first_pts = first.pts
        self._quarter_turns = round(first.rotation / 90) % 4
        self._height, self._width = first.height, first.width
        if self._quarter_turns % 2:
            self._height, self._width = self._width, self._height
        self._reformatter = VideoReformatter()

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._file.close()

    @property
    def seconds(self) -> Fraction:
        """The video's length in seconds."""
        if self._stream.duration is not None:
            return self._stream.duration * self._stream.time_base
        return self._seconds(self._video[-1][1]) + 1 / self._rate

    @property
    def _rate(self) -> Fraction:
        return self._stream.average_rate or self._stream.guessed_rate or Fraction(25)

    def count(self, fps: Fraction) -> int:
        """How many frames the whole video has at ``fps``; at least 1."""
        return max(1, round(self.seconds * fps))

    def scaled(self, short_side: int) -> tuple[int, int]:
        """Height and width of the frames when their shorter side is scaled to ``short_side``."""
        return scaled_size(self._height, self._width, short_side)

    def read(self, first: int, count: int, fps: Fraction, short_side: int) -> np.ndarray:
        """Return frames ``first`` to ``first + count - 1`` of the video at ``fps``.

        Frame k is the source's frame nearest to k / fps seconds, the earlier one of two equally
        near; at the source's own constant rate these are its frames, one by one.

        Returns:
            (count, H, W, 3) uint8, RGB, upright, scaled to ``short_side``.

        Raises:
            UnreadableVideo: frames cannot be decoded.
        """
        size = self.scaled(short_side)
        pictures: list[np.ndarray] = []
        latest = None
        try:
            for frame in self._nearest(first, count, fps):
                pictures.append(pictures[-1] if frame is latest else self._rgb(frame, size))
                latest = frame
        except UnreadableVideo:
            raise
        except Exception as error:
            raise UnreadableVideo(one_line(error)) from None
        return np.stack(pictures)

    def _pyav_decode_video(
        self, start_secs: float = 0.0, end_secs: float = inf
    ) -> tuple[list[tuple[None, int]] | None, None]:
        """Find the last frame's time where the header states no duration (Matroska, WebM).

        The base class calls this when it opens such a file, and decodes all of it to learn the
        same.
        """
        times = [p.pts for p in self._container.demux(video=0) if p.pts is not None]
        self._container.seek(0)
        return ([(None, max(times))] if times else None), None

    def _packet_times(self) -> list[int]:
        packets = self._container.demux(self._stream)
        return sorted(p.dts for p in packets if p.size and p.dts is not None)

    def _seconds(self, pts: int) -> Fraction:
        return (pts - self._first_pts) * self._stream.time_base

    def _nearest(self, first: int, count: int, fps: Fraction) -> Iterator[Any]:
        """The frames nearest to ``count`` consecutive times, in order, decoded one by one."""
        base: Fraction = self._stream.time_base
        frames = self._from(first / fps)
        current, following = next(frames, None), next(frames, None)
        if current is None:
            raise UnreadableVideo("no frame can be decoded")
        for k in range(first, first + count):
            # Twice the wanted time, in ticks, counted as `pts` is.
            wanted = 2 * (k / fps / base + self._first_pts)
            while following is not None and current.pts + following.pts < wanted:
                current, following = following, next(frames, None)
            if following is None:
                end = self._seconds(current.pts + (current.duration or 0)) + 1 / self._rate
                if end + _TOLERATED_GAP < k / fps:
                    raise UnreadableVideo(f"ends at {float(end):.2f} s, before its header says")
            yield current

    def _from(self, start: Fraction) -> Iterator[Any]:
        """Decode on from a frame that is not later than ``start``, in seconds."""
        # A demuxer may go by the order of decoding, or land behind a frame that others build on:
        # then from farther back, and at last from the beginning.
        for margin in (0, 2) if self._times is None else ():
            target = self._first_pts + (start - margin) // self._stream.time_base
            if target <= self._first_pts:
                break
            try:
                self._container.seek(target, stream=self._stream)
                frames = self._container.decode(self._stream)
                found = next(frames, None)
            except FFmpegError:
                continue
            if found is not None and found.key_frame and self._seconds(found.pts) <= start:
                yield found
                yield from frames
                return
        yield from self._from_beginning()

    def _from_beginning(self) -> Iterator[Any]:
        self._container.seek(min(self._first_pts, 0), stream=self._stream)
        frames = self._container.decode(self._stream)
        if self._times is None:
            yield from frames
        else:
            for frame, pts in zip(frames, self._times, strict=False):
                frame.pts = pts
                yield frame

    def _rgb(self, frame: Any, size: tuple[int, int]) -> np.ndarray:
        picture = self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
        return scale(np.rot90(picture, self._quarter_turns), size)


def one_line(error: Exception) -> str:
    """What an error of a library says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
