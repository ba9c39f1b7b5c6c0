"""Computing optical flow."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from nni_evanet.commands.flow import flow as flow_command
from nni_evanet.data import DataSource
from nni_evanet.data.flow import FlowSettings, compute_flow, create_algorithm, flow_settings
from nni_evanet.data.frames import FlowFolder
from nni_evanet.data.opening import open_video
from nni_evanet.data.videos import Video
from nni_evanet.errors import InputError

MOTION = (3, -2)


@pytest.fixture(scope="module")
def moving(tmp_path_factory) -> Path:
    """Six frames of a texture that moves by `MOTION` pixels a frame."""
    path = tmp_path_factory.mktemp("moving") / "a &![];#() b.mp4"
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (120, 140, 3)).astype(np.uint8), (0, 0), 2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.height, stream.width, stream.pix_fmt = 64, 80, "yuv420p"
        for k in range(6):
            x, y = 30 - k * MOTION[0], 30 - k * MOTION[1]
            picture = np.ascontiguousarray(texture[y : y + 64, x : x + 80])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def settings(**options) -> FlowSettings:
    return FlowSettings(**{"algorithm": "dis", "short_side": 64, **options})


def videos_of(out: Path, *paths: Path) -> dict[Path, Video]:
    return {out / path.stem: Video(path=path, labels=(0,), group=path.stem) for path in paths}


def compute(out: Path, *paths: Path, **options) -> dict[Path, str]:
    return compute_flow(videos_of(out, *paths), out, settings=settings(**options), progress=False)


def pixels(values: np.ndarray, bound: float = 20) -> np.ndarray:
    return values.astype(float) * 2 * bound / 255 - bound


@pytest.mark.parametrize("algorithm", ["tvl1", "dis"])
@pytest.mark.parametrize("bound", [20.0, 8.0])
def test_the_flow_of_a_moving_texture(tmp_path, moving, algorithm, bound) -> None:
    assert compute(tmp_path / "flow", moving, algorithm=algorithm, bound=bound) == {}
    folder = tmp_path / "flow" / moving.stem
    assert sorted(os.listdir(folder)) == [
        f"flow_{axis}_{k:05d}.jpg" for axis in "xy" for k in range(1, 6)
    ]
    assert flow_settings(tmp_path / "flow") == settings(algorithm=algorithm, bound=bound)
    with Image.open(folder / "flow_x_00002.jpg") as picture:
        assert np.median(pixels(np.asarray(picture), bound)) == pytest.approx(3, abs=0.3)
    with FlowFolder(folder, Fraction(25), bound) as source:
        flow = pixels(source.read(0, source.count(Fraction(25)), Fraction(25), 64))
    assert flow.shape == (5, 64, 80, 2)
    assert np.median(flow, axis=(0, 1, 2)) == pytest.approx(MOTION, abs=0.3)


def test_flow_beyond_the_bound_is_clipped(tmp_path, moving) -> None:
    compute(tmp_path, moving, bound=2)
    with Image.open(tmp_path / moving.stem / "flow_x_00002.jpg") as picture:
        assert np.median(np.asarray(picture)) == 255


def test_the_rate_and_a_single_frame(tmp_path, moving, write_video) -> None:
    one = write_video(tmp_path / "one.mp4", frames=1)
    out = tmp_path / "flow"
    assert compute(out, one, moving, fps=12.5, short_side=32) == {}
    # Frames 0, 2 and 4: two motions of twice the pixels, at half the size.
    with FlowFolder(out / moving.stem, Fraction(25, 2), 20) as source:
        assert source.count(Fraction(25, 2)) == 2
        flow = pixels(source.read(0, 2, Fraction(25, 2), 32))
    assert np.median(flow, axis=(0, 1, 2)) == pytest.approx(MOTION, abs=0.3)
    assert len(os.listdir(out / "one")) == 2
    with Image.open(out / "one" / "flow_y_00001.jpg") as picture:
        assert np.unique(np.asarray(picture)).tolist() == [128]


def test_an_unreadable_video_is_named_and_the_others_are_done(tmp_path, moving) -> None:
    broken = tmp_path / "broken, too.mp4"
    broken.write_bytes(b"no video")
    out = tmp_path / "flow"
    failed = compute(out, broken, moving)
    assert list(failed) == [broken]
    with open(out / "failed.csv", newline="") as file:
        assert list(csv.reader(file)) == [["path", "reason"], [str(broken), failed[broken]]]
    assert sorted(p.name for p in out.iterdir()) == [moving.stem, "failed.csv", "flow.json"]
    broken.write_bytes(moving.read_bytes())
    assert compute(out, broken, moving) == {}
    assert not (out / "failed.csv").exists() and (out / broken.stem).is_dir()


def test_a_folder_holds_flow_of_one_kind(tmp_path, moving) -> None:
    compute(tmp_path, moving)
    with pytest.raises(InputError, match=r"computed with bound 20; expected another") as error:
        compute(tmp_path, moving, bound=15)
    assert "\n" not in str(error.value)
    (tmp_path / "flow.json").write_text(json.dumps({"format": 2}))
    with pytest.raises(InputError, match=r"flow\.json: not a file of"):
        compute(tmp_path, moving)


def test_raft(tmp_path) -> None:
    from torchvision.models.optical_flow import raft_small

    torch.manual_seed(0)
    network = raft_small().eval()
    weights = tmp_path / "raft_small.pth"
    torch.save(network.state_dict(), weights)
    frames = np.random.default_rng(0).integers(0, 256, (2, 128, 136, 3)).astype(np.uint8)
    flow = create_algorithm("raft", weights)(*frames)
    images = [torch.from_numpy(f).permute(2, 0, 1)[None] / 127.5 - 1 for f in frames]
    with torch.inference_mode():
        expected = network(*images)[-1][0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(flow, expected, rtol=1e-3, atol=1e-3)
    # Any size.
    assert create_algorithm("raft", weights)(*frames[:, :50, :131]).shape == (50, 131, 2)


def test_rafts_weights_are_checked(tmp_path) -> None:
    with pytest.raises(InputError, match="--weights"):
        create_algorithm("raft")
    other = tmp_path / "other.pth"
    torch.save(torch.nn.Linear(2, 2).state_dict(), other)
    for path in (other, tmp_path / "missing.pth"):
        with pytest.raises(InputError, match="expected the weights of torchvision's raft_small"):
            create_algorithm("raft", path)
    with pytest.raises(InputError, match="algorithm dis has none"):
        create_algorithm("dis", other)


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_flow import compute
if __name__ == "__main__":
    compute(Path({out!r}), *map(Path, {paths!r}))
"""


def test_killed_and_run_again(tmp_path, write_video) -> None:
    paths = [write_video(tmp_path / f"{k}.mp4", frames=60) for k in range(6)]
    out = tmp_path / "flow"
    script = tmp_path / "run.py"
    script.write_text(
        RUN.format(tests=str(Path(__file__).parent), out=str(out), paths=[str(p) for p in paths])
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    # In the middle of the third.
    while process.poll() is None and len(list(out.glob("[!.]*/"))) < 2:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    # The workers hold its output open until they have ended, too.
    process.communicate(timeout=60)
    done = {p: p.stat().st_mtime_ns for p in out.glob("[!.]*/*.jpg")}
    folders = {p.parent for p in done}
    assert 2 <= len(folders) < 6
    assert len(done) == len(folders) * 2 * 59
    assert compute(out, *paths) == {}
    assert {p: p.stat().st_mtime_ns for p in done} == done
    whole = tmp_path / "whole"
    compute(whole, *paths)
    assert contents(out) == contents(whole)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_command_and_the_loader_agree(tmp_path, write_video) -> None:
    data = tmp_path / "data"
    for name in ("train/dive/a b.mp4", "train/swim/c.mp4", "val/dive/d.mp4"):
        write_video(data / name, frames=4)
    broken = data / "train/swim/c.mp4"
    whole = broken.read_bytes()
    broken.write_bytes(b"no video")
    out = data / "flow"
    arguments = ["--dataset", "kinetics", "--data-path", str(data), "--out", str(out)]
    arguments += ["--algorithm", "dis", "--short-side", "32", "--bound", "10", "--workers", "2"]
    result = CliRunner().invoke(flow_command, arguments)
    assert result.exit_code == 1 and f"unreadable: {broken}: " in result.output
    assert "flow of 2 of 3 videos" in result.output
    assert "subset test is left out" in result.output
    broken.write_bytes(whole)
    result = CliRunner().invoke(flow_command, arguments)
    assert result.exit_code == 0 and "flow of 3 of 3 videos" in result.output
    for subset, count in (("train", 2), ("val", 1)):
        videos = DataSource(dataset="kinetics", data_path=data, modality="flow").load(subset)
        assert len(videos.videos) == count and not videos.missing
        for video in videos.videos:
            assert (video.fps, video.bound) == (25, 10)
            with open_video(video) as source:
                assert source.read(0, 3, Fraction(25), 32).shape == (3, 32, 48, 2)
