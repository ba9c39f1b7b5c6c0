"""Evaluate trained networks: the scores of each, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from nni_evanet.data import DataSource
from nni_evanet.data.clips import Views
from nni_evanet.errors import InputError
from nni_evanet.evaluation.combining import check_classes
from nni_evanet.evaluation.listing import Listing, list_videos
from nni_evanet.evaluation.scores import Origin, Scores, read_scores, write_scores
from nni_evanet.evaluation.scoring import Work, score
from nni_evanet.networks.card import NetworkCard
from nni_evanet.networks.cost import count_macs, count_parameters
from nni_evanet.networks.files import load_network, read_card

FOLDER = "scores"
_GENERIC_STEM = "network"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How networks are evaluated.

    Args:
        data: the dataset; each network's own modality takes the place of its modality.
        subset: "train", "val" or "test".
        views: of a video.
        out: folder of the results, scores in `scores/` below it.
        batch_size: clips at a time.
        workers: processes that decode, of each device.
        decoder: one of `nni_evanet.data.source.DECODERS`.
    """

    data: DataSource
    subset: str
    views: Views
    out: Path
    batch_size: int = 16
    workers: int = 4
    decoder: str = "auto"


def evaluate_networks(
    networks: Sequence[Path], settings: Settings, *, groups: Sequence[str] | None = None
) -> list[Scores]:
    """The scores of networks; those that are in the folder already are not computed again.

    Args:
        networks: their files. Their names are those of the files, or of their folders for files
            that are called `network.safetensors`.
        settings: of the evaluation.
        groups: what each is compared as; by default an architecture as "evanet", one of the
            paper's baselines as "baseline", any other as "other".

    Raises:
        InputError: a file that is no network; two of one name; other classes than the dataset's;
            a damaged file of scores; unusable data.
    """
    cards = [read_card(path) for path in networks]
    names = _names(networks)
    listings = {
        modality: list_videos(replace(settings.data, modality=modality), settings.subset)
        for modality in dict.fromkeys(card.modality for card in cards)
    }
    for path, card in zip(networks, cards, strict=True):
        _check_card(path, card, listings[card.modality])
    (settings.out / FOLDER).mkdir(parents=True, exist_ok=True)
    found = []
    for index, (path, card) in enumerate(zip(networks, cards, strict=True)):
        group = groups[index] if groups else group_of(card)
        listing = listings[card.modality]
        origin = _origin(path, names[index], group, card, listing, settings)
        found.append(_evaluate(path, origin, listing, settings))
    return found


def scores_file(out: Path, name: str) -> Path:
    """Where the scores of a network are."""
    return out / FOLDER / f"{name}.safetensors"


def group_of(card: NetworkCard) -> str:
    """What a network is compared as, by its kind."""
    if card.blueprint.architecture is not None:
        return "evanet"
    return "baseline" if card.blueprint.baseline is not None else "other"


def _names(networks: Sequence[Path]) -> list[str]:
    named: dict[str, Path] = {}
    for path in networks:
        full = path.resolve()
        name = full.parent.name if full.stem == _GENERIC_STEM else full.stem
        if name in named:
            raise InputError(
                f"{named[name]} and {path}: two networks called {name!r}; a network has the name "
                f"of its file, or of the folder of a {_GENERIC_STEM}.safetensors"
            )
        named[name] = path
    return list(named)


def _check_card(path: Path, card: NetworkCard, listing: Listing) -> None:
    videos = listing.videos
    if card.multi_label != videos.multi_label:
        kinds = {True: "multi-label", False: "single-label"}
        raise InputError(
            f"{path}: a {kinds[card.multi_label]} network, {videos.name} is "
            f"{kinds[videos.multi_label]}"
        )
    check_classes(videos.classes, card.classes, where=str(path), of=videos.name)


def _origin(
    path: Path,
    name: str,
    group: str,
    card: NetworkCard,
    listing: Listing,
    settings: Settings,
) -> Origin:
    network = load_network(path)
    clip = (card.in_channels, card.frames, card.size, card.size)
    with open(path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Origin(
        network=name,
        sha256=sha256,
        group=group,
        modality=card.modality,
        params=count_parameters(network),
        gmacs=count_macs(network, clip) / 1e9,
        dataset=settings.data.dataset,
        subset=settings.subset,
        split=settings.data.split,
        data=listing.fingerprint,
        classes=card.classes,
        multi_label=card.multi_label,
        clips=settings.views.clips,
        crops=settings.views.crops,
    )


def _evaluate(path: Path, origin: Origin, listing: Listing, settings: Settings) -> Scores:
    file = scores_file(settings.out, origin.network)
    if file.exists():
        scores = read_scores(file)
        if scores.origin == origin:
            _logger.info("%s: scored already, in %s", origin.network, file)
            return scores
    work = Work(
        network=path,
        videos=listing.videos.videos,
        views=settings.views,
        batch_size=settings.batch_size,
        workers=settings.workers,
        decoder=settings.decoder,
        part=file,
        key=json.dumps(asdict(origin)),
        title=origin.network,
    )
    indices, values, unreadable = score(work)
    scores = Scores(
        origin=origin,
        videos=tuple(listing.names[index] for index in indices.tolist()),
        left_out=dict(listing.absent) | {listing.names[i]: why for i, why in unreadable.items()},
        values=values,
        targets=_targets(listing, indices),
    )
    write_scores(file, scores)
    return scores


def _targets(listing: Listing, indices: Tensor) -> Tensor:
    videos = [listing.videos.videos[index] for index in indices.tolist()]
    if not listing.videos.multi_label:
        return torch.tensor([video.label for video in videos])
    targets = torch.zeros(len(videos), len(listing.videos.classes))
    for row, video in enumerate(videos):
        targets[row, list(video.labels)] = 1
    return targets
