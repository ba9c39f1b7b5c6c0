"""Frames of one encoded file at a constant frame rate."""

from __future__ import annotations

from fractions import Fraction
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from av.video.reformatter import VideoReformatter

from nni_evanet.compat import import_pytorchvideo
from nni_evanet.data.source import UnreadableVideo, nearest

_pyav, _clip_sampling = import_pytorchvideo("encoded_video_pyav", "clip_sampling")
if TYPE_CHECKING:
    from pytorchvideo.data.encoded_video_pyav import EncodedVideoPyAV
else:
    EncodedVideoPyAV = _pyav.EncodedVideoPyAV

ClipSampler, ClipInfo = _clip_sampling.ClipSampler, _clip_sampling.ClipInfo

# How far a file may end before the duration that its header states.
_TOLERATED_GAP = Fraction(1, 2)


class FrameReader(EncodedVideoPyAV):
    """pytorchvideo's encoded video, asked for frames at given times.

    ``get_clip`` of the base class does not tell the times of the frames it returns, without which
    a file cannot be resampled; it returns float32 of what are bytes; and it opens a colour
    converter with threads of its own for every frame, which takes five times as long as decoding
    a small one. Its ``duration`` is wrong where a stream does not start at 0.

    Args:
        path: the file.

    Raises:
        UnreadableVideo: it cannot be opened or has no video.
    """

    def __init__(self, path: Path) -> None:
        # The handle goes on being read: the file is not copied into memory.
        try:
            self._file = open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise UnreadableVideo(error.strerror or str(error)) from None
        try:
            super().__init__(self._file, path.name, decode_audio=False)
        except Exception as error:
            self._file.close()
            raise UnreadableVideo(_one_line(error)) from None
        self._stream: Any = self._container.streams.video[0]
        if not self._stream.height:
            self.close()
            raise UnreadableVideo("its video stream has no picture")
        # Two threads a file would gain nothing: trials and loader workers run side by side.
        self._stream.thread_count = 1
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
        last = self._video[-1][1] - int(self._video_start_pts)
        return last * self._stream.time_base + 1 / self._rate

    @property
    def _rate(self) -> Fraction:
        return self._stream.average_rate or self._stream.guessed_rate or Fraction(25)

    def count(self, fps: Fraction) -> int:
        """How many frames the whole video has at ``fps``; at least 1."""
        return max(1, round(self.seconds * fps))

    def scaled(self, short_side: int) -> tuple[int, int]:
        """Height and width of the frames when their shorter side is scaled to ``short_side``."""
        height, width = self._stream.height, self._stream.width
        scale = Fraction(short_side, min(height, width))
        return round(height * scale), round(width * scale)

    def read(self, first: int, count: int, fps: Fraction, short_side: int) -> np.ndarray:
        """Return frames ``first`` to ``first + count - 1`` of the video at ``fps``.

        Frame k is the source's frame nearest to k / fps seconds, the earlier one of two equally
        near; at the source's own constant rate these are its frames, one by one.

        Returns:
            (count, H, W, 3) uint8, RGB, scaled to ``short_side`` (bilinear, antialiased); not
            resampled where they have that size already.

        Raises:
            UnreadableVideo: frames cannot be decoded.
        """
        last, reach = Fraction(first + count - 1) / fps, 1 / self._rate
        frames = self._decode(max(first / fps - reach, Fraction(0)), last + reach)
        end = self._time(frames[-1])
        if end + reach + _TOLERATED_GAP < last:
            raise UnreadableVideo(f"ends at {float(end):.2f} s, before its header says")
        # In whole numbers of a unit that divides both clocks: exact, and faster than fractions.
        base, offset = self._stream.time_base, int(self._video_start_pts)
        times = [(frame.pts - offset) * base.numerator * fps.numerator for frame in frames]
        unit = base.denominator * fps.denominator
        chosen = nearest(times, [(first + k) * unit for k in range(count)])
        size = self.scaled(short_side)
        arrays: dict[int, np.ndarray] = {}
        for k in chosen:
            if k not in arrays:
                arrays[k] = self._rgb(frames[k], *size)
        return np.stack([arrays[k] for k in chosen])

    def _pyav_decode_video(
        self, start_secs: float = 0.0, end_secs: float = inf
    ) -> tuple[list[tuple[None, int]] | None, None]:
        """Find the last frame's time where the header states no duration (Matroska, WebM).

        The base class calls this when it opens such a file, and decodes all of it to learn the
        same.
        """
        times = [p.pts for p in self._container.demux(video=0) if p.pts is not None]
        return ([(None, max(times))] if times else None), None

    def _time(self, frame: Any) -> Fraction:
        return (frame.pts - int(self._video_start_pts)) * self._stream.time_base

    def _decode(self, start: Fraction, end: Fraction) -> list[Any]:
        """Return the frames between two times, at least; the first is not later than ``start``."""
        base, offset = self._stream.time_base, int(self._video_start_pts)
        first, last = int(start / base) + offset, int(end / base) + offset + 1
        # Where a file has no index (MPEG-TS), pytorchvideo's seek lands behind the frames that
        # were asked for: then decode from the beginning.
        for begin in dict.fromkeys((first, 0)):
            try:
                frames, _ = _pyav._pyav_decode_stream(
                    self._container, begin, last, self._stream, {"video": 0}
                )
            except Exception as error:
                raise UnreadableVideo(_one_line(error)) from None
            if frames and self._time(frames[0]) <= start + 1 / self._rate:
                return frames
        if not frames:
            raise UnreadableVideo(f"no frame from {float(start):.2f} s to {float(end):.2f} s")
        return frames

    def _rgb(self, frame: Any, height: int, width: int) -> np.ndarray:
        # Converting and scaling in one step costs no more than converting.
        return self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            interpolation="BILINEAR",
            threads=1,
        ).to_ndarray()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
