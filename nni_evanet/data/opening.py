"""Open a video, whatever it is stored as."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nni_evanet.data.decoding import FrameReader
from nni_evanet.data.source import DECODERS, FrameSource
from nni_evanet.data.videos import Video
from nni_evanet.errors import InputError


def open_video(video: Video, *, decoder: str = "auto") -> FrameSource:
    """The frames of a video: of a flow folder, a folder of pictures or an encoded file.

    Args:
        video: what to open.
        decoder: of an encoded file. "auto" is PyAV, which is always there: torchcodec is not
            clearly faster (benchmarks/README.md).

    Raises:
        InputError: an unknown decoder, or one that cannot be loaded.
        UnreadableVideo: the video cannot be opened.
    """
    if decoder not in DECODERS:
        raise InputError(f"decoder {decoder!r}: expected one of {', '.join(DECODERS)}")
    if video.fps is not None:
        from nni_evanet.data.frames import FlowFolder, PictureFolder

        if video.bound is not None:
            return FlowFolder(video.path, video.fps, video.bound)
        return PictureFolder(video.path, video.fps)
    if decoder == "torchcodec":
        from nni_evanet.data.torchcodec_decoding import TorchCodecReader

        return TorchCodecReader(video.path)
    return FrameReader(video.path)


def opener(decoder: str) -> Callable[[Video], FrameSource]:
    """`open_video` with a decoder, which is loaded at once.

    A worker process would tell that it cannot be loaded later, and wrapped in a traceback.

    Raises:
        InputError: the decoder cannot be loaded.
    """
    if decoder == "torchcodec":
        from nni_evanet.data.torchcodec_decoding import load_torchcodec

        load_torchcodec()
    return partial(open_video, decoder=decoder)
