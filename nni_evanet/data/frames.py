"""Videos stored as folders of numbered pictures: frames, or optical flow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from nni_evanet.compat import import_pytorchvideo
from nni_evanet.data.scaling import scale, scaled_size
from nni_evanet.data.source import UnreadableVideo

(_frame_video,) = import_pytorchvideo("frame_video")

# The displacement, in pixels, that 255 stands for in what `FlowFolder` returns.
FLOW_BOUND = 20.0

_PICTURE = r"(?:.*\D)?(\d+)\.(?:jpe?g|png)"
# The pictures of x and of y, in each convention that keeps both in one folder.
_X_AND_Y = tuple(
    tuple(pattern.format(axis) for axis in "xy")
    for pattern in (
        r"(?:flow_)?{}_(\d+)\.jpe?g",  # flow_x_00001.jpg, x_00001.jpg
        r"(?:.*\D)?(\d+){}\.jpe?g",  # Charades: ID-000001x.jpg
    )
)


class PictureFolder:
    """The frames of a video as numbered pictures.

    pytorchvideo's FrameVideo gives the order of the pictures. Its ``get_clip`` finds a frame's
    number in floating point, always rounds up, and takes a missing or truncated picture as it is.

    Args:
        path: the folder.
        fps: pictures a second.

    Raises:
        UnreadableVideo: there is no picture, one is missing, or the first cannot be read.
    """

    start = Fraction(0)

    def __init__(self, path: Path, fps: Fraction) -> None:
        self._fps = fps
        self._files = self._find(path)
        self._height, self._width = self._picture(0).shape[:2]

    def __enter__(self) -> PictureFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held open."""

    def count(self, fps: Fraction) -> int:
        """How many frames the whole video has at ``fps``; at least 1."""
        return max(1, round(len(self._files) / self._fps * fps))

    def scaled(self, short_side: int) -> tuple[int, int]:
        """Height and width of the frames when their shorter side is scaled to ``short_side``."""
        return scaled_size(self._height, self._width, short_side)

    def read(self, first: int, count: int, fps: Fraction, short_side: int) -> np.ndarray:
        """Frames ``first`` to ``first + count - 1`` at ``fps``: for each time the nearest picture.

        Only these are decoded.

        Returns:
            (count, H, W, C) uint8, scaled to ``short_side``; C = 3 is RGB.

        Raises:
            UnreadableVideo: a picture cannot be read, or has another size than the first.
        """
        size, last = self.scaled(short_side), len(self._files) - 1
        times = (k / fps * self._fps for k in range(first, first + count))
        # Rounded, a half downwards: the earlier of two equally near.
        indices = [min(-((Fraction(1, 2) - time) // 1), last) for time in times]
        pictures = {k: scale(self._picture_of_size(k), size) for k in dict.fromkeys(indices)}
        return np.stack([pictures[k] for k in indices])

    def _find(self, path: Path) -> Sequence[tuple[Path, ...]]:
        """The files of every frame, in order."""
        files = _numbered(_listed(path), _PICTURE)
        if not files:
            raise UnreadableVideo("no numbered pictures in the folder")
        return [(file,) for file in files]

    def _picture(self, index: int) -> np.ndarray:
        return _load(self._files[index][0], "RGB")

    def _picture_of_size(self, index: int) -> np.ndarray:
        picture = self._picture(index)
        if picture.shape[:2] != (self._height, self._width):
            raise UnreadableVideo(
                f"{self._files[index][0].name} is {_size(picture.shape)} pixels, "
                f"{self._files[0][0].name} {_size((self._height, self._width))}"
            )
        return picture


class FlowFolder(PictureFolder):
    """The optical flow of a video as numbered grey pictures, one for x and one for y a frame.

    They lie in the folder as ``flow_x_00001.jpg`` and ``flow_y_00001.jpg``, ``x_00001.jpg`` and
    ``y_00001.jpg``, or ``ID-000001x.jpg`` and ``ID-000001y.jpg`` (Charades); or those of x are in
    a folder below one called ``u``, and those of y at the same place below ``v``.

    Frames are (H, W, 2) uint8, 0 to 255 for -20 to 20 pixels. As is usual, displacements stay
    those of the stored size when frames are scaled.

    Args:
        path: the folder; of two, the one below ``u``.
        fps: pictures of x a second.
        bound: the displacement, in pixels, that 255 stands for in the pictures.

    Raises:
        UnreadableVideo: there is no flow, a picture is missing, or the first cannot be read.
    """

    def __init__(self, path: Path, fps: Fraction, bound: float) -> None:
        self._values = _converted(bound)
        super().__init__(path, fps)

    def _find(self, path: Path) -> Sequence[tuple[Path, ...]]:
        for folders, patterns in _places(path):
            x, y = (
                _numbered(_listed(folder), pattern)
                for folder, pattern in zip(folders, patterns, strict=True)
            )
            if len(x) != len(y):
                raise UnreadableVideo(f"{len(x)} pictures of flow in x, {len(y)} in y")
            if x:
                return list(zip(x, y, strict=True))
        raise UnreadableVideo("no flow pictures: expected flow_x_00001.jpg, flow_y_00001.jpg, ...")

    def _picture(self, index: int) -> np.ndarray:
        x, y = (_load(file, "L") for file in self._files[index])
        if x.shape != y.shape:
            raise UnreadableVideo(
                f"{self._files[index][0].name} is {_size(x.shape)} pixels, "
                f"{self._files[index][1].name} {_size(y.shape)}"
            )
        return self._values[np.stack([x, y], -1)]


def _places(path: Path) -> list[tuple[tuple[Path, Path], tuple[str, str]]]:
    """Where flow may lie: the folders of x and y, and the patterns of their files' names."""
    places = [((path, path), (x, y)) for x, y in _X_AND_Y]
    parts = path.parts
    if "u" in parts[:-1]:
        last = len(parts) - 1 - parts[::-1].index("u", 1)
        v = Path(*parts[:last], "v", *parts[last + 1 :])
        places.append(((path, v), (_PICTURE, _PICTURE)))
    return places


def _listed(folder: Path) -> list[Path]:
    """What is in a folder, in natural order."""
    if not folder.is_dir():
        raise UnreadableVideo(f"no such folder: {folder}")
    if not any(folder.iterdir()):
        return []
    order: dict[str, list[str]] = {}
    _frame_video.FrameVideo.from_directory(str(folder), path_order_cache=order)
    return [Path(file) for file in order[str(folder)]]


def _numbered(files: list[Path], pattern: str) -> list[Path]:
    """The files whose names match, one for every number from 0 or 1 on."""
    matches = [(re.fullmatch(pattern, file.name, re.IGNORECASE), file) for file in files]
    found = [(int(match[1]), file) for match, file in matches if match]
    first = min(found[0][0], 1) if found else 1
    for position, (number, file) in enumerate(found, start=first):
        if number < position:
            raise UnreadableVideo(f"{file.name}: there is another picture with this number")
        if number > position:
            raise UnreadableVideo(f"picture {position} is missing before {file.name}")
    return [file for _, file in found]


def _load(path: Path, mode: str) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.array(image.convert(mode))
    except UnidentifiedImageError:
        raise UnreadableVideo(f"{path.name} is not a picture") from None
    except (OSError, SyntaxError) as error:  # PIL's word for a broken PNG
        reason = getattr(error, "strerror", None) or error
        raise UnreadableVideo(f"{path.name}: {reason}") from None


def _converted(bound: float) -> np.ndarray:
    """For each of 256 values on the scale of ``bound``, the value on that of `FLOW_BOUND`."""
    displacements = np.arange(256) * (2 * bound / 255) - bound
    clipped = np.clip(displacements, -FLOW_BOUND, FLOW_BOUND)
    return np.rint((clipped + FLOW_BOUND) * (255 / (2 * FLOW_BOUND))).astype(np.uint8)


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]}"
