"""torchcodec gives the frames that PyAV gives."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from encoded_files import FPS, KINDS, encode

from nni_evanet.data.decoding import FrameReader
from nni_evanet.data.opening import open_video
from nni_evanet.data.source import UnreadableVideo
from nni_evanet.data.torchcodec_decoding import TorchCodecReader, load_torchcodec
from nni_evanet.data.videos import Video
from nni_evanet.errors import InputError

try:
    load_torchcodec()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

# Two releases of FFmpeg need not round a colour alike.
COLOUR_LEVELS = 2

VARIABLE = {
    "variable.mp4": {"times": [0, 1, 2, 3, 103, 104, 110, 111, 112, 140]},
    "variable.mkv": {"times": [0, 1, 2, 3, 103, 104, 110, 111, 112, 140]},
    "rotated.mp4": {"rotation": -90},
}


def check_same(path: Path, *, fps: Fraction, short_side: int) -> None:
    with FrameReader(path) as pyav, TorchCodecReader(path) as torchcodec:
        count = pyav.count(fps)
        assert torchcodec.count(fps) == count
        assert torchcodec.scaled(short_side) == pyav.scaled(short_side)
        for first in range(0, count, max(1, count // 5)):
            window = (first, min(6, count - first), fps, short_side)
            expected = pyav.read(*window).astype(int)
            assert np.abs(torchcodec.read(*window) - expected).max() <= COLOUR_LEVELS


@pytest.mark.parametrize("name", [*KINDS, *VARIABLE])
def test_the_same_frames(tmp_path, name) -> None:
    path = encode(tmp_path / name, **(KINDS | VARIABLE)[name])
    check_same(path, fps=Fraction(FPS), short_side=32)
    check_same(path, fps=Fraction(10), short_side=24)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_torchcodec_itself_decodes(tmp_path, name, monkeypatch) -> None:
    path = encode(tmp_path / name)
    with FrameReader(path) as pyav:
        expected = pyav.read(7, 20, Fraction(FPS), 32)
    monkeypatch.delattr(FrameReader, "read")
    with TorchCodecReader(path) as torchcodec:
        frames = torchcodec.read(7, 20, Fraction(FPS), 32)
    assert np.abs(frames - expected.astype(int)).max() <= COLOUR_LEVELS


def test_chosen_by_name(tmp_path) -> None:
    path = encode(tmp_path / "a.mp4", frames=5)
    video = Video(path=path, labels=(0,), group="a")
    with open_video(video, decoder="torchcodec") as source:
        assert type(source) is TorchCodecReader
    with open_video(video, decoder="pyav") as source:
        assert type(source) is FrameReader
    with pytest.raises(InputError, match="expected one of auto, pyav, torchcodec"):
        open_video(video, decoder="opencv")


def test_a_file_cut_off(tmp_path) -> None:
    path = encode(tmp_path / "a.avi", frames=100, codec="mpeg4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with TorchCodecReader(path) as source, pytest.raises(UnreadableVideo):
        source.read(60, 40, Fraction(FPS), 32)
    path.write_bytes(b"no video")
    with pytest.raises(UnreadableVideo):
        TorchCodecReader(path)
