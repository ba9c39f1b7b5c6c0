"""What trained networks see in any video file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from nni_evanet.data.clips import Views
from nni_evanet.data.flow import FlowSettings, compute_flow
from nni_evanet.data.videos import Video
from nni_evanet.errors import InputError
from nni_evanet.evaluation.combining import check_classes
from nni_evanet.evaluation.scoring import Work, score_on
from nni_evanet.networks.files import read_card


def predict(
    networks: Sequence[Path], files: Sequence[Path], *, views: Views, workers: int = 0
) -> tuple[tuple[str, ...], Tensor]:
    """Class names, and the probabilities (videos, classes): the mean over the networks.

    For networks of optical flow it is computed as `nni-evanet flow` does by default.

    Args:
        networks: files; some may be RGB, some flow.
        files: encoded videos.
        views: of each video.
        workers: processes that decode, or compute flow.

    Raises:
        InputError: a file that is no network or no readable video; networks of different classes.
    """
    cards = [read_card(path) for path in networks]
    for path, card in zip(networks, cards, strict=True):
        check_classes(cards[0].classes, card.classes, where=str(path), of=str(networks[0]))
        if card.multi_label != cards[0].multi_label:
            raise InputError(f"{path} and {networks[0]}: only one of them is multi-label")
    if absent := next((file for file in files if not file.is_file()), None):
        raise InputError(f"{absent}: no such file")
    videos = tuple(Video(path=file, labels=(0,), group="") for file in files)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    total = torch.zeros(len(files), cards[0].num_classes)
    of_flow = videos if any(card.modality == "flow" for card in cards) else ()
    with _computed_flow(of_flow, workers) as flow:
        for path, card in zip(networks, cards, strict=True):
            work = Work(
                network=path,
                videos=flow if card.modality == "flow" else videos,
                views=views,
                workers=workers,
                title=str(path),
            )
            _, values, unreadable = score_on([device], work)
            for index, why in unreadable.items():
                raise InputError(f"{files[index]}: cannot be read: {why}")
            total += values
    return cards[0].classes, total / len(networks)


@contextmanager
def _computed_flow(videos: Sequence[Video], workers: int) -> Iterator[tuple[Video, ...]]:
    """The flow of videos, in a folder that exists as long as this context."""
    if not videos:
        yield ()
        return
    settings = FlowSettings()
    with tempfile.TemporaryDirectory() as folder:
        folders = [Path(folder) / str(number) for number in range(len(videos))]
        jobs = dict(zip(folders, videos, strict=True))
        failed = compute_flow(jobs, Path(folder), settings=settings, workers=max(1, workers))
        for path, why in failed.items():
            raise InputError(f"{path}: cannot be read: {why}")
        yield tuple(
            Video(path=path, labels=(0,), group="", fps=settings.rate, bound=settings.bound)
            for path in folders
        )
