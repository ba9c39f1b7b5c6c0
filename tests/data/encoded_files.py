"""Real encoded files of every kind that people have."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

FPS = 25
# Of every kind of file: the name that its extension is taken from, and how it is encoded.
KINDS: dict[str, dict[str, Any]] = {
    "h264.mp4": {},
    "h264.mkv": {},
    "h264.ts": {},
    "h264.mov": {"first": 50},
    "h264, no B-frames.avi": {"options": {"bf": "0"}},
    "h264, B-frames.avi": {"options": {"bf": "3"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4, B-frames.avi": {"codec": "mpeg4", "b_frames": 2},
    "mpeg4, B-frames.mp4": {"codec": "mpeg4", "b_frames": 2},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "vp8.webm": {"codec": "libvpx"},
    "starts at 2 s.mp4": {"first": 50},
    "starts at 2 s.mkv": {"first": 50},
    "with audio.mp4": {"audio": True},
    "35 x 47.mp4": {"height": 35, "width": 47, "pixel_format": "yuv444p"},
    "35 x 47.avi": {"codec": "mpeg4", "height": 35, "width": 47},
    "one frame.mp4": {"frames": 1},
    "one frame.avi": {"frames": 1, "codec": "mpeg4"},
    "a &![];#() b.mp4": {},
}


def encode(
    path: Path,
    *,
    codec: str = "libx264",
    frames: int = 60,
    times: Sequence[int] | None = None,
    first: int = 0,
    height: int = 32,
    width: int = 48,
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    b_frames: int | None = None,
    rotation: int = 0,
    audio: bool = False,
) -> Path:
    """Write random pictures, a key frame every 12.

    Args:
        times: when they are shown, in 1/25 s; one after the other unless told.
        first: when the first is shown, if ``times`` is not told.
        rotation: of the display matrix, degrees counter-clockwise.
    """
    rng = np.random.default_rng(len(path.name))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options={"g": "12", **(options or {})})
        stream.height, stream.width, stream.pix_fmt = height, width, pixel_format
        stream.time_base = stream.codec_context.time_base = Fraction(1, FPS)
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=8000, layout="mono") if audio else None
        for time in times or range(first, first + frames):
            blocks = rng.integers(40, 215, (height // 8 + 1, width // 8 + 1, 3))
            picture = np.kron(blocks, np.ones((8, 8, 1)))[:height, :width].astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, FPS)
            container.mux(stream.encode(frame))
            if sound:
                silence = np.zeros((1, 8000 // FPS), np.float32)
                samples = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
                samples.sample_rate = 8000
                container.mux(sound.encode(samples))
        container.mux(stream.encode())
        if sound:
            container.mux(sound.encode())
    return path


def decoded(path: Path) -> np.ndarray:
    """What PyAV alone decodes of a file, one frame after the other: (T, H, W, 3)."""
    with av.open(str(path)) as container:
        return np.stack([f.to_rgb().to_ndarray() for f in container.decode(video=0)])
