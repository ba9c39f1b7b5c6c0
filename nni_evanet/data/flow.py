"""Compute the optical flow of videos and store it as pictures that `FlowFolder` reads.

A folder of flow holds ``flow.json``, what it was computed with, and a folder for every video, with
``flow_x_00001.jpg`` and ``flow_y_00001.jpg`` for the motion from the first frame to the second,
and so on. A video's folder appears when it is complete.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from nni_evanet.atomic import replacing
from nni_evanet.data.parallel import each
from nni_evanet.data.source import FrameSource, UnreadableVideo
from nni_evanet.data.videos import Video
from nni_evanet.errors import InputError

ALGORITHMS = ("tvl1", "dis", "raft")
_FORMAT = 1
_SETTINGS_FILE, _FAILED_FILE = "flow.json", "failed.csv"
_JPEG_QUALITY = 95
# Frames that are decoded at a time.
_CHUNK = 32

Algorithm = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class FlowSettings:
    """What flow is computed with.

    Args:
        algorithm: "tvl1", "dis" or "raft".
        bound: the displacement, in pixels, that 255 stands for; larger ones are clipped.
        fps: frames a second.
        short_side: of the frames that it is computed on, in pixels.
    """

    algorithm: str = "tvl1"
    bound: float = 20
    fps: float = 25
    short_side: int = 256

    @property
    def rate(self) -> Fraction:
        """``fps``, exactly: 29.97 is what it says."""
        return Fraction(str(self.fps))


def compute_flow(
    videos: Mapping[Path, Video],
    out: Path,
    *,
    settings: FlowSettings,
    weights: Path | None = None,
    workers: int = 1,
    progress: bool = True,
) -> dict[Path, str]:
    """Compute the flow of videos, several at a time; those that are done are left as they are.

    Args:
        videos: by the folder, below ``out``, that their flow goes to.
        out: the folder of flow.
        settings: of all that is in it.
        weights: of RAFT: a state dict of torchvision's raft_small or raft_large.
        workers: processes.
        progress: whether a bar is drawn.

    Returns:
        The videos that cannot be read, each with the reason; they are in ``failed.csv`` as well.

    Raises:
        InputError: ``out`` holds flow that was computed with other settings; RAFT's weights are
            missing or are none.
    """
    from rich.progress import track

    create_algorithm(settings.algorithm, weights)
    _claim(out, settings)
    left = {
        folder: video
        for folder, video in videos.items()
        if not (folder / _file_name("x", 1)).is_file()
    }
    failed: dict[Path, str] = {}
    jobs = [(video, folder) for folder, video in left.items()]
    done = each(
        _work, jobs, workers=workers, initializer=_start_worker, arguments=(settings, weights)
    )
    for (video, _), reason in track(done, "optical flow", total=len(jobs), disable=not progress):
        if reason is not None:
            failed[video.path] = str(reason)
    _write_failed(out / _FAILED_FILE, failed)
    return failed


def flow_settings(folder: Path) -> FlowSettings | None:
    """What the flow in a folder was computed with; None where it does not say.

    Raises:
        InputError: its ``flow.json`` cannot be read.
    """
    path = folder / _SETTINGS_FILE
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text())
        if stored.pop("format") == _FORMAT and min(stored["bound"], stored["fps"]) > 0:
            return FlowSettings(**stored)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise InputError(f"{path}: not a file of `nni-evanet flow`, format {_FORMAT}")


def create_algorithm(name: str, weights: Path | None = None) -> Algorithm:
    """A function from two RGB frames (H, W, 3) uint8 to the flow between them.

    Flow is (H, W, 2) float32: in pixels, in x and in y, from the first frame to the second.

    Raises:
        InputError: RAFT's weights are missing or are none.
    """
    if name == "raft":
        if weights is None:
            raise InputError(
                "algorithm raft: expected --weights FILE, torchvision's raft_small or raft_large"
            )
        return _raft(weights)
    if weights is not None:
        raise InputError(f"weights {weights}: algorithm {name} has none, expected raft")
    return _of_opencv(name)


def _of_opencv(name: str) -> Algorithm:
    import cv2

    if name == "tvl1":
        algorithm: Any = cv2.optflow.DualTVL1OpticalFlow.create()
    else:
        algorithm = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (before, after))
        return algorithm.calc(*grey, None)

    return flow


def _raft(weights: Path) -> Algorithm:
    import torch
    from torch.nn import functional
    from torchvision.models.optical_flow import raft_large, raft_small

    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        # The small network has no layers that predict how to upsample.
        large = any(name.startswith("mask_predictor") for name in state)
        network = (raft_large if large else raft_small)().eval()
        network.load_state_dict(state)
    except Exception:
        raise InputError(
            f"{weights}: expected the weights of torchvision's raft_small or raft_large"
        ) from None

    @torch.inference_mode()
    def flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        height, width = before.shape[:2]
        # Its correlation pyramid needs multiples of 8, of at least 128.
        bottom, right = (max(128, -(-side // 8) * 8) - side for side in (height, width))
        images = []
        for frame in (before, after):
            image = torch.from_numpy(frame).permute(2, 0, 1)[None] / 127.5 - 1
            images.append(functional.pad(image, (0, right, 0, bottom), "replicate"))
        return network(*images)[-1][0, :, :height, :width].permute(1, 2, 0).numpy()

    return flow


# What each worker computes with.
_worker: dict[str, Any] = {}


def _start_worker(settings: FlowSettings, weights: Path | None) -> None:
    import cv2
    import torch

    # Parallel over videos instead.
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    _worker.update(settings=settings, flow=create_algorithm(settings.algorithm, weights))


def _work(job: tuple[Video, Path]) -> str | None:
    """Write a video's flow to its folder; why it cannot be read, or None."""
    video, folder = job
    from nni_evanet.data.opening import open_video

    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    settings: FlowSettings = _worker["settings"]
    try:
        with open_video(video) as source:
            frames = _frames(source, settings)
            for number, flow in enumerate(_flows(frames, _worker["flow"]), start=1):
                _write(partial, number, _quantised(flow, settings.bound))
    except UnreadableVideo as error:
        shutil.rmtree(partial)
        return str(error)
    partial.rename(folder)
    return None


def _frames(source: FrameSource, settings: FlowSettings) -> Iterator[np.ndarray]:
    count = source.count(settings.rate)
    for first in range(0, count, _CHUNK):
        chunk = min(_CHUNK, count - first)
        yield from source.read(first, chunk, settings.rate, settings.short_side)


def _flows(frames: Iterator[np.ndarray], algorithm: Algorithm) -> Iterator[np.ndarray]:
    """T - 1 flows of T frames; of a single frame none moves."""
    before, after = next(frames), next(frames, None)
    if after is None:
        yield np.zeros((*before.shape[:2], 2), np.float32)
    while after is not None:
        yield algorithm(before, after)
        before, after = after, next(frames, None)


def _quantised(flow: np.ndarray, bound: float) -> np.ndarray:
    """0 to 255 for -``bound`` to ``bound`` pixels; what lies beyond is clipped."""
    clipped = np.clip(flow, -bound, bound)
    return np.rint((clipped + bound) * (255 / (2 * bound))).astype(np.uint8)


def _write(folder: Path, number: int, flow: np.ndarray) -> None:
    import cv2

    for axis, picture in zip("xy", np.moveaxis(flow, -1, 0), strict=True):
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        # Not imwrite, which does not say that the disk is full.
        (folder / _file_name(axis, number)).write_bytes(data.tobytes())


def _file_name(axis: str, number: int) -> str:
    return f"flow_{axis}_{number:05d}.jpg"


def _claim(out: Path, settings: FlowSettings) -> None:
    """Say what the flow in a folder is computed with, before there is any."""
    stored = flow_settings(out)
    if stored is None:
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": _FORMAT, **asdict(settings)}, indent=2)
        with replacing(out / _SETTINGS_FILE) as temporary:
            temporary.write_text(text + "\n")
    elif stored != settings:
        differing = (
            f"{name} {value}"
            for name, value in asdict(stored).items()
            if value != getattr(settings, name)
        )
        raise InputError(
            f"{out}: holds flow computed with {', '.join(differing)}; expected another folder, or "
            "the same settings"
        )


def _write_failed(path: Path, failed: Mapping[Path, str]) -> None:
    path.unlink(missing_ok=True)
    if failed:
        with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            csv.writer(file).writerows([("path", "reason"), *sorted(failed.items())])
