"""Frames of one encoded file, decoded by torchcodec where it is installed."""

from __future__ import annotations

import json
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nni_evanet.data.decoding import FrameReader, one_line
from nni_evanet.data.scaling import scale
from nni_evanet.errors import InputError

# Frames that wait, at the size in which they are stored, to be scaled.
_BATCH = 16


def load_torchcodec() -> Any:
    """torchcodec's ``VideoDecoder``.

    Raises:
        InputError: it is not installed, or finds no FFmpeg libraries that it can use.
    """
    try:
        from torchcodec.decoders import VideoDecoder
    except ImportError:
        raise InputError("decoder torchcodec: not installed: expected `torchcodec`") from None
    except Exception as error:
        reason = one_line(error).split(". ")[0][:120]
        raise InputError(f"decoder torchcodec: cannot be loaded: {reason}") from None
    return VideoDecoder


class TorchCodecReader(FrameReader):
    """The frames that `FrameReader` returns, decoded by torchcodec.

    PyAV reads the header and the times of all frames, so that both choose the same ones. It also
    decodes them where torchcodec does not find the frames of these times (MPEG-TS), and in AVI,
    which stores no times.

    Args:
        path: the file.

    Raises:
        InputError: torchcodec cannot be loaded.
        UnreadableVideo: the file cannot be opened or has no video.
    """

    def __init__(self, path: Path) -> None:
        self._decoder_class = load_torchcodec()
        super().__init__(path)
        self._path = path

    def read(self, first: int, count: int, fps: Fraction, short_side: int) -> np.ndarray:
        """Return frames ``first`` to ``first + count - 1`` of the video at ``fps``.

        As `FrameReader.read`, value by value where both have the same release of FFmpeg.
        """
        if self._times is not None:
            return super().read(first, count, fps, short_side)
        indices = self._indices(first, count, fps)
        wanted = sorted(set(indices))
        pictures: dict[int, np.ndarray] = {}
        try:
            for start in range(0, len(wanted), _BATCH):
                batch = wanted[start : start + _BATCH]
                pictures.update(self._pictures(batch, self.scaled(short_side)))
        except (RuntimeError, IndexError, ValueError):
            return super().read(first, count, fps, short_side)
        if len(pictures) < len(wanted) or self._ends_before((first + count - 1) / fps):
            return super().read(first, count, fps, short_side)
        return np.stack([pictures[k] for k in indices])

    @cached_property
    def _packets(self) -> list[Any]:
        """What the container holds of every frame, by time; not the frames that are not shown."""
        self._container.seek(0)
        packets = [
            p
            for p in self._container.demux(self._stream)
            if p.pts is not None and p.pts >= self._first_pts and not p.is_discard
        ]
        return sorted(packets, key=lambda packet: packet.pts)

    @cached_property
    def _decoder(self) -> Any:
        frames = [
            {"pts": p.pts, "duration": p.duration or 0, "key_frame": int(p.is_keyframe)}
            for p in self._packets
        ]
        return self._decoder_class(
            self._path,
            dimension_order="NHWC",
            num_ffmpeg_threads=1,
            device="cpu",
            stream_index=self._stream.index,
            custom_frame_mappings=json.dumps({"frames": frames}),
        )

    def _indices(self, first: int, count: int, fps: Fraction) -> list[int]:
        # In whole numbers of a unit that divides both clocks: exact, and faster than fractions.
        base = self._stream.time_base
        scale = base.numerator * fps.numerator
        times = [(packet.pts - self._first_pts) * scale for packet in self._packets]
        unit = base.denominator * fps.denominator
        return _nearest(times, [k * unit for k in range(first, first + count)])

    def _pictures(self, indices: list[int], size: tuple[int, int]) -> dict[int, np.ndarray]:
        """The scaled frames with these indices, but for those that torchcodec missed."""
        frames = self._decoder.get_frames_at(indices)
        base = float(self._stream.time_base)
        return {
            k: scale(picture, size)
            for k, picture, seconds in zip(
                indices, frames.data.numpy(), frames.pts_seconds.tolist(), strict=True
            )
            if round(seconds / base) == self._packets[k].pts
        }

    def _ends_before(self, seconds: Fraction) -> bool:
        return self._seconds(self._packets[-1].pts) + 1 / self._rate < seconds


def _nearest(times: list[int], wanted: list[int]) -> list[int]:
    """For every wanted time the index of the nearest of ascending times, the earlier of two."""
    indices, k = [], 0
    for time in wanted:
        while k + 1 < len(times) and abs(times[k + 1] - time) < abs(times[k] - time):
            k += 1
        indices.append(k)
    return indices
