"""Folders of pictures: frames, and optical flow in every convention."""

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nni_evanet.data.frames import FlowFolder, PictureFolder
from nni_evanet.data.opening import open_video
from nni_evanet.data.source import UnreadableVideo
from nni_evanet.data.videos import Video

COUNT = 30
FPS = Fraction(24)


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, quality=100, subsampling=0)


def loaded(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def frames(tmp_path) -> Path:
    """Charades' frames: ID-000001.jpg and so on."""
    folder = tmp_path / "rgb" / "0A &![];#()"
    for k in range(1, COUNT + 1):
        save(folder / f"0A-{k:06d}.jpg", np.full((32, 48, 3), (7 * k, 50, 255 - 7 * k), np.uint8))
    return folder


def test_frames_at_their_own_rate(frames) -> None:
    expected = np.stack([loaded(path) for path in sorted(frames.iterdir())])
    (frames / "Thumbs.db").write_bytes(b"")
    video = Video(path=frames, labels=(0,), group="0A", fps=FPS)
    with open_video(video) as source:
        assert source.start == 0 and source.count(FPS) == COUNT
        assert source.scaled(16) == (16, 24)
        assert np.array_equal(source.read(0, COUNT, FPS, 32), expected)
        assert np.array_equal(source.read(COUNT - 3, 3, FPS, 32), expected[-3:])
        assert source.read(2, 4, FPS, 16).shape == (4, 16, 24, 3)


@pytest.mark.parametrize("wanted", [25, 12, 48, Fraction(24000, 1001)])
def test_each_time_has_its_nearest_picture(frames, wanted) -> None:
    fps = Fraction(wanted)
    with PictureFolder(frames, FPS) as source:
        count = source.count(fps)
        assert count == round(Fraction(COUNT) / FPS * fps)
        red = source.read(0, count, fps, 32)[:, 0, 0, 0]
        expected = [
            min(range(COUNT), key=lambda i: abs(Fraction(i) / FPS - k / fps)) for k in range(count)
        ]
        assert np.abs(red - 7 * (1 + np.array(expected))).max() <= 2


def test_natural_order_and_numbers_from_0(tmp_path) -> None:
    for k in range(12):
        save(tmp_path / f"img_{k}.png", np.full((8, 8, 3), 20 * k, np.uint8))
    with PictureFolder(tmp_path, FPS) as source:
        assert source.read(0, 12, FPS, 8)[:, 0, 0, 0].tolist() == [20 * k for k in range(12)]


def test_only_the_wanted_pictures_are_decoded(frames) -> None:
    (frames / "0A-000020.jpg").write_bytes(b"broken")
    with PictureFolder(frames, FPS) as source:
        assert source.read(0, 19, FPS, 32).shape[0] == 19
        assert source.read(20, 10, FPS, 32).shape[0] == 10
        with pytest.raises(UnreadableVideo, match=r"^0A-000020.jpg is not a picture$"):
            source.read(15, 8, FPS, 32)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "0A-000003.jpg").unlink(), "picture 3 is missing before 0A-000004.jpg"),
        (lambda f: (f / "0A-000001.jpg").unlink(), "picture 1 is missing before 0A-000002.jpg"),
        (lambda f: shutil.copy(f / "0A-000009.jpg", f / "0A-9.jpg"), "another picture with this"),
        (lambda f: cut_off(f / "0A-000004.jpg"), "0A-000004.jpg: (?i:.*truncated)"),
        (
            lambda f: save(f / "0A-000005.jpg", np.zeros((40, 20, 3), np.uint8)),
            "0A-000005.jpg is 20 x 40 pixels, 0A-000001.jpg 48 x 32",
        ),
        (lambda f: [p.unlink() for p in f.iterdir()], "no numbered pictures"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(frames, spoil, message) -> None:
    spoil(frames)
    with pytest.raises(UnreadableVideo, match=message) as error:
        PictureFolder(frames, FPS).read(0, COUNT, FPS, 32)
    assert "\n" not in str(error.value)


# Where each convention keeps the flow in x and in y, below a folder.
CONVENTIONS: dict[str, tuple[str, Callable[[str, int], str]]] = {
    "flow_x": ("a", lambda axis, k: f"a/flow_{axis}_{k:05d}.jpg"),
    "x": ("a", lambda axis, k: f"a/{axis}_{k:04d}.jpg"),
    "unpadded": ("a", lambda axis, k: f"a/flow_{axis}_{k}.jpg"),
    "charades": ("00X1Y", lambda axis, k: f"00X1Y/00X1Y-{k:06d}{axis}.jpg"),
    "u and v": ("u/a b", lambda axis, k: f"{'uv'['xy'.index(axis)]}/a b/frame{k:06d}.jpg"),
    "u and v of classes": (
        "u/dive/a", lambda axis, k: f"{'uv'['xy'.index(axis)]}/dive/a/frame{k:06d}.jpg",
    ),
}  # fmt: skip


def write_flow(folder: Path, convention: str, count: int = 12) -> Path:
    """Flow with x = 10 k and y = 255 - 10 k on the stored scale, k from 1."""
    below, name = CONVENTIONS[convention]
    for k in range(1, count + 1):
        save(folder / name("x", k), np.full((32, 48), 10 * k, np.uint8))
        save(folder / name("y", k), np.full((32, 48), 255 - 10 * k, np.uint8))
    return folder / below


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_flow(tmp_path, convention) -> None:
    folder = write_flow(tmp_path, convention)
    # Two-stream copies keep the frames beside the flow.
    save(folder / "img_00001.jpg", np.zeros((32, 48, 3), np.uint8))
    if convention.startswith("u"):
        (folder / "img_00001.jpg").unlink()
    video = Video(path=folder, labels=(0,), group="a", fps=FPS, bound=20)
    with open_video(video) as source:
        assert source.count(FPS) == 12
        flow = source.read(0, 12, FPS, 16)
    assert flow.shape == (12, 16, 24, 2) and flow.dtype == np.uint8
    assert (flow == flow[:, :1, :1]).all()
    assert flow[:, 0, 0, 0].tolist() == [10 * k for k in range(1, 13)]
    assert flow[:, 0, 0, 1].tolist() == [255 - 10 * k for k in range(1, 13)]


@pytest.mark.parametrize("bound", [15, 8, 40])
def test_another_bound_is_converted(tmp_path, bound) -> None:
    folder = write_flow(tmp_path, "flow_x")
    with FlowFolder(folder, FPS, bound) as source:
        flow = source.read(0, 12, FPS, 32)[:, 0, 0].astype(float)
    stored = np.stack([10 * np.arange(1, 13), 255 - 10 * np.arange(1, 13)], -1)
    wanted = np.clip(stored * 2 * bound / 255 - bound, -20, 20)
    # Half a step of the new scale.
    assert np.abs(flow * 40 / 255 - 20 - wanted).max() <= 20 / 255 + 1e-9


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "flow_y_00012.jpg").unlink(), "12 pictures of flow in x, 11 in y"),
        (lambda f: (f / "flow_y_00004.jpg").unlink(), "picture 4 is missing before flow_y_00005"),
        (lambda f: [p.unlink() for p in f.glob("*_y_*")], "12 pictures of flow in x, 0 in y"),
        (lambda f: [p.unlink() for p in f.iterdir()], "no flow pictures: expected flow_x_00001"),
        (
            lambda f: save(f / "flow_y_00001.jpg", np.zeros((32, 40), np.uint8)),
            "flow_x_00001.jpg is 48 x 32 pixels, flow_y_00001.jpg 40 x 32",
        ),
        (lambda f: (f / "flow_y_00001.jpg").write_bytes(b""), "flow_y_00001.jpg is not a picture"),
    ],
)
def test_what_is_wrong_with_flow_is_said_in_one_line(tmp_path, spoil, message) -> None:
    folder = write_flow(tmp_path, "flow_x")
    spoil(folder)
    with pytest.raises(UnreadableVideo, match=message) as error:
        FlowFolder(folder, FPS, 20)
    assert "\n" not in str(error.value)


def test_flow_in_x_without_that_in_y(tmp_path) -> None:
    folder = write_flow(tmp_path, "u and v")
    shutil.rmtree(tmp_path / "v")
    with pytest.raises(UnreadableVideo, match=r"no such folder: .*/v/a b"):
        FlowFolder(folder, FPS, 20)
