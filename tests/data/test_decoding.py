"""Frames of encoded files of every kind."""

import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from encoded_files import FPS, KINDS, decoded, encode

from nni_evanet.data.decoding import FrameReader
from nni_evanet.data.source import UnreadableVideo

RATE = Fraction(FPS)


def read(path: Path, first: int, count: int, *, fps: Fraction = RATE) -> np.ndarray:
    with FrameReader(path) as source:
        return source.read(first, count, fps, min(source.scaled(10**6)[0], 32))


@pytest.mark.parametrize("name", KINDS)
def test_frame_k_is_the_kth_that_is_decoded(tmp_path, name) -> None:
    path = encode(tmp_path / name, **KINDS[name])
    frames = decoded(path)
    with FrameReader(path) as source:
        assert source.count(RATE) == len(frames)
        short_side = min(frames.shape[1:3])
        assert source.scaled(short_side) == frames.shape[1:3]
        windows = [(0, len(frames)), (len(frames) - 1, 1)]
        windows += [(first, 5) for first in range(0, len(frames) - 5, 7)]
        for first, count in windows:
            window = source.read(first, count, RATE, short_side)
            assert np.array_equal(window, frames[first : first + count])


def test_packed_b_frames(tmp_path) -> None:
    """DivX's way, and that of HMDB51: two frames in one packet, an empty one in the next."""
    plain = encode(tmp_path / "plain.avi", codec="mpeg4", b_frames=1)
    path = tmp_path / "packed.avi"
    pack(plain, path)
    frames = decoded(plain)
    with FrameReader(path) as source:
        assert source.count(RATE) == len(frames)
        for first in range(0, len(frames) - 8, 5):
            window = source.read(first, 8, RATE, 32)
            assert np.array_equal(window, frames[first : first + 8])


def pack(path: Path, to: Path) -> None:
    """Put every B-frame of an MPEG-4 file into the packet of the frame that it follows."""
    not_coded = b"\x00\x00\x01\xb6\x50\x4f"
    with av.open(str(path)) as container:
        packets = [(bytes(p), p.is_keyframe) for p in container.demux(video=0) if p.size]
    packed: list[tuple[bytes, bool]] = []
    for data, key in packets:
        # Decoders look for DivX's signature.
        data = re.sub(rb"(?<=\x00\x00\x01\xb2)Lavc[^\x00]*", b"DivX503b1393p", data)
        start = data.index(b"\x00\x00\x01\xb6") + 4
        if data[start] >> 6 == 2:
            packed[-1] = (packed[-1][0] + data, packed[-1][1])
            packed.append((not_coded, False))
        else:
            packed.append((data, key))
    with av.open(str(to), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for number, (data, key) in enumerate(packed):
            packet = av.Packet(data)
            packet.stream, packet.is_keyframe = stream, key
            packet.pts = packet.dts = number
            packet.time_base = Fraction(1, FPS)
            container.mux(packet)


# In 1/25 s: a still of 4 s, then bursts.
TIMES = [0, 1, 2, 3, 103, 104, 110, 111, 112, 113, 140, 141, 160]


@pytest.mark.parametrize("first", [0, 30])
@pytest.mark.parametrize(
    ("name", "b_frames"), [("variable.mp4", "0"), ("variable.mp4", "3"), ("variable.mkv", "3")]
)
def test_of_a_variable_rate_times_decide(tmp_path, name, b_frames, first) -> None:
    times = [first + time for time in TIMES]
    path = encode(tmp_path / name, times=times, options={"bf": b_frames})
    frames = decoded(path)
    expected = [min(range(len(TIMES)), key=lambda i: abs(TIMES[i] - k)) for k in range(161)]
    with FrameReader(path) as source:
        # With reordered frames, the header of an MP4 need not count to the end of the last one.
        assert source.count(RATE) >= (140 if b_frames == "3" else 161)
        assert np.array_equal(source.read(0, 161, RATE, 32), frames[expected])
        for start in range(0, 150, 13):
            window = source.read(start, 9, RATE, 32)
            assert np.array_equal(window, frames[expected[start : start + 9]])
        half = source.read(20, 40, RATE / 2, 32)
        assert np.array_equal(half, frames[expected[40:120:2]])


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_phone_video_is_upright(tmp_path, rotation) -> None:
    path = encode(tmp_path / "a.mp4", frames=6, rotation=rotation)
    with FrameReader(path) as source:
        frames = source.read(0, 6, RATE, 32)
        size = (48, 32) if rotation % 180 else (32, 48)
        assert source.scaled(32) == size and source.scaled(16) == (size[0] // 2, size[1] // 2)
        assert source.read(0, 6, RATE, 16).shape[1:3] == source.scaled(16)
    # Counter-clockwise, as the display matrix says.
    assert np.array_equal(frames, np.rot90(decoded(path), rotation // 90, axes=(1, 2)))


def test_scaling_averages(tmp_path) -> None:
    path = encode(tmp_path / "a.mp4", frames=3, height=64, width=96)
    with FrameReader(path) as source:
        small = source.read(0, 3, RATE, 8)
    blocks = decoded(path).reshape(3, 8, 8, 12, 8, 3).mean((2, 4))
    assert small.shape == blocks.shape
    # The filter is a triangle of twice the block's width.
    assert np.corrcoef(small.ravel(), blocks.ravel())[0, 1] > 0.95
    assert abs(small.mean() - blocks.mean()) < 1


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
def test_a_file_that_ends_before_its_header_says_is_unreadable_there(tmp_path, name) -> None:
    codec = "libx264" if name == "a.mp4" else "mpeg4"
    path = encode(tmp_path / name, frames=100, codec=codec)
    if name == "a.mp4":
        whole = path
        path = tmp_path / "index first.mp4"
        remux(whole, path, movflags="faststart")
    frames = decoded(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert np.array_equal(read(path, 0, 20), frames[:20])
    with pytest.raises(UnreadableVideo) as error:
        read(path, 60, 40)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.mkv", "a.webm"])
def test_where_the_header_says_nothing_a_video_is_what_is_there(tmp_path, name) -> None:
    codec = "libx264" if name == "a.mkv" else "libvpx"
    path = encode(tmp_path / name, frames=100, codec=codec)
    frames = decoded(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with FrameReader(path) as source:
        count = source.count(RATE)
        assert 20 < count < 80
        window = source.read(count - 10, 9, RATE, 32)
        assert np.array_equal(window, frames[count - 10 : count - 1])


def remux(path: Path, to: Path, **options: str) -> None:
    with av.open(str(path)) as source, av.open(str(to), "w", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)


def test_files_that_are_no_videos(tmp_path) -> None:
    path = tmp_path / "a.mp4"
    for content in (b"", b"not a video", encode(tmp_path / "b.mp4").read_bytes()[:300]):
        path.write_bytes(content)
        with pytest.raises(UnreadableVideo) as error:
            FrameReader(path)
        assert "\n" not in str(error.value)
    with pytest.raises(UnreadableVideo, match="No such file"):
        FrameReader(tmp_path / "missing.mp4")
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.sample_rate = 8000
        container.mux(stream.encode(samples))
        container.mux(stream.encode())
    with pytest.raises(UnreadableVideo, match="Video stream not found"):
        FrameReader(sound)


def test_a_header_that_states_days_is_unreadable(tmp_path) -> None:
    """Reading 60 frames at the stated rate would take for ever."""
    path = encode(tmp_path / "a.avi", codec="mpeg4")
    data = bytearray(path.read_bytes())
    scale = data.index(b"strh") + 28
    data[scale : scale + 4] = (9_240_577).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(UnreadableVideo, match="its header states a frame every"):
        FrameReader(path)
