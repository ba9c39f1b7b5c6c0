"""How fast clips come from the cache, beside decoding them: python benchmarks/cache.py

Writes 340x256 H.264 clips of ten seconds, then reads training clips of 32 x 176 x 176 in three ways
in one run: pytorchvideo's own path (EncodedVideo.get_clip as `Kinetics(...)` calls it, its frames
scaled and cropped), ours without the cache, and ours from it. One process, one thread.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from pytorchvideo.data.encoded_video import EncodedVideo
from torch.nn import functional

from nni_evanet.data import Video, VideoSet
from nni_evanet.data.batches import TrainBatches
from nni_evanet.data.cache import ClipCache, Origin
from nni_evanet.data.cache_making import make_cache
from nni_evanet.data.clips import ClipDataset, Geometry
from nni_evanet.data.opening import open_video

VIDEOS, SECONDS, FPS, HEIGHT, WIDTH = 24, 10, 25, 256, 340
FRAMES, SIZE, BATCH = 32, 176, 12
GEOMETRY = Geometry(frames=FRAMES, size=SIZE)


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        videos = write_videos(Path(folder, "videos"))
        origin = Origin.of(videos, GEOMETRY)
        started = time.perf_counter()
        make_cache(
            Path(folder, "cache"),
            origin,
            videos.videos,
            root=videos.root,
            open_source=open_video,
            workers=0,
            progress=False,
        )
        filling = time.perf_counter() - started
        cache = ClipCache(Path(folder, "cache"), origin, videos.videos, root=videos.root)
        rates = {
            "pytorchvideo": rate(lambda: read_with_pytorchvideo(videos), VIDEOS),
            "nni_evanet, decoding": rate(lambda: read_batches(videos, 4, open_video), 4 * BATCH),
            "nni_evanet, cache": rate(lambda: read_batches(videos, 40, cache.open), 40 * BATCH),
        }
    slowest = rates["pytorchvideo"]
    for name, clips_per_second in rates.items():
        print(f"{name:<24}{clips_per_second:8.1f} clips/s {clips_per_second / slowest:6.1f} x")
    print(f"{origin.slot_bytes} bytes a clip; {VIDEOS / filling:.1f} videos/s while it is made")


def write_videos(folder: Path) -> VideoSet:
    """Moving textures: still pictures would decode faster than people's videos."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(VIDEOS):
        rough = torch.from_numpy(rng.random((1, 3, HEIGHT // 4, WIDTH // 2), np.float32))
        picture = functional.interpolate(rough, size=(HEIGHT, 2 * WIDTH), mode="bilinear")
        pixels = (picture[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        with av.open(str(folder / f"{number}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
            for t in range(SECONDS * FPS):
                frame = np.ascontiguousarray(pixels[:, t : t + WIDTH])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    videos = tuple(
        Video(path=path, labels=(0,), group=path.stem) for path in sorted(folder.glob("*.mp4"))
    )
    return VideoSet(name="kinetics", subset="train", classes=("a", "b"), videos=videos, root=folder)


def rate(read: Callable[[], None], clips: int) -> float:
    """Clips a second, after a first time that warms the disk's cache."""
    read()
    started = time.perf_counter()
    read()
    return clips / (time.perf_counter() - started)


def read_with_pytorchvideo(videos: VideoSet) -> None:
    """A random clip of each video, (3, T, H, W) float32, as a transform of `Kinetics` makes it."""
    rng = random.Random(0)
    seconds = Fraction(FRAMES, FPS)
    for video in videos.videos:
        encoded = EncodedVideo.from_path(str(video.path), decode_audio=False)
        start = rng.uniform(0, SECONDS - float(seconds))
        clip = encoded.get_clip(start, start + seconds)["video"][:, :FRAMES]
        encoded.close()
        side = GEOMETRY.short_side
        scaled = functional.interpolate(
            clip.transpose(0, 1), size=(side, round(side * WIDTH / HEIGHT)), mode="bilinear"
        )
        y, x = (rng.randint(0, extent - SIZE) for extent in scaled.shape[2:])
        scaled.transpose(0, 1)[..., y : y + SIZE, x : x + SIZE].contiguous()


def read_batches(videos: VideoSet, iterations: int, open_source) -> None:  # type: ignore[no-untyped-def]
    """Training batches as a trial draws them, uint8."""
    dataset = ClipDataset(videos.videos, GEOMETRY, training=True, open_source=open_source)
    for _ in TrainBatches(dataset, batch_size=BATCH, iterations=iterations):
        pass


if __name__ == "__main__":
    main()
