"""Datasets by name: the one way in which data is named everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nni_evanet.data.charades import load_charades
from nni_evanet.data.exclusion import Exclusions, read_exclusions, without
from nni_evanet.data.flow_folders import use_flow
from nni_evanet.data.hmdb51 import load_hmdb51
from nni_evanet.data.kinetics import FLOW_FOLDER, SUBSETS, load_kinetics
from nni_evanet.data.moments import load_moments
from nni_evanet.data.moving_digits import load_moving_digits
from nni_evanet.data.videos import DataError, VideoSet

MODALITIES = ("rgb", "flow")


@dataclass(frozen=True)
class Dataset:
    """How a dataset is read.

    Args:
        load: lists the RGB videos of a subset, ``load(data_path, subset=...)``, with ``split=...``
            where there are several.
        subsets: those that are published with their labels, under their official names.
        splits: how many official divisions into training and test data it has.
        flow_folder: where its optical flow is looked for, below the data path, by default.
        recordings_apart: whether its rules keep the clips of a recording in one subset.
    """

    load: Callable[..., VideoSet]
    subsets: tuple[str, ...] = SUBSETS
    splits: int = 1
    flow_folder: str = FLOW_FOLDER
    recordings_apart: bool = False


DATASETS: dict[str, Dataset] = {
    "kinetics": Dataset(load_kinetics, recordings_apart=True),
    "hmdb51": Dataset(load_hmdb51, subsets=("train", "test"), splits=3),
    "charades": Dataset(load_charades, subsets=("train", "test"), flow_folder="Charades_v1_flow"),
    "moments": Dataset(load_moments, subsets=("train", "val")),
    "moving-digits": Dataset(load_moving_digits, recordings_apart=True),
}


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A dataset as it is named on the command line.

    Args:
        dataset: a name in `DATASETS`.
        data_path: the dataset's folder; for "kinetics" also a csv or list file.
        split: the official split, from 1; HMDB51 has three, the others one.
        modality: "rgb" or "flow".
        flow_path: folder of the optical flow; by default the dataset's usual one below the data
            path.
        exclude: a file of `nni-evanet check-data`: the videos that it names are left out.
    """

    dataset: str
    data_path: Path
    split: int = 1
    modality: str = "rgb"
    flow_path: Path | None = None
    exclude: Path | None = None

    def load(self, subset: str) -> VideoSet:
        """List the videos of "train", "val" or "test".

        Raises:
            DataError: an unknown name; data that is missing or not in the dataset's format.
        """
        _check("dataset", self.dataset, tuple(DATASETS))
        _check("subset", subset, SUBSETS)
        _check("modality", self.modality, MODALITIES)
        known = DATASETS[self.dataset]
        if subset not in known.subsets:
            raise DataError(
                f"subset {subset!r}: {self.dataset} has no such, its official subsets are "
                f"{' and '.join(known.subsets)}"
            )
        if not 1 <= self.split <= known.splits:
            expected = f"1 to {known.splits}" if known.splits > 1 else "1, the only one"
            raise DataError(f"split {self.split}: {self.dataset} has no such: expected {expected}")
        official = {"split": self.split} if known.splits > 1 else {}
        videos = known.load(Path(self.data_path), subset=subset, **official)
        exclusions = read_exclusions(Path(self.exclude)) if self.exclude else None
        if self.modality == "flow":
            return self._flow_of(videos, exclusions)
        return without(videos, exclusions) if exclusions else videos

    def _flow_of(self, videos: VideoSet, exclusions: Exclusions | None) -> VideoSet:
        """The flow of the videos; what is excluded may be named by its video or by its flow."""
        if exclusions and exclusions.names_some_of(videos):
            return use_flow(without(videos, exclusions), self._flow_path)
        flow = use_flow(videos, self._flow_path)
        return without(flow, exclusions) if exclusions else flow

    @property
    def _flow_path(self) -> Path:
        if self.flow_path is not None:
            return Path(self.flow_path)
        data = Path(self.data_path)
        return (data.parent if data.is_file() else data) / DATASETS[self.dataset].flow_folder


def load_dataset(name: str, data_path: str | Path, *, subset: str = "train") -> VideoSet:
    """List the RGB videos of one subset of a dataset: `DataSource.load` in short."""
    return DataSource(dataset=name, data_path=Path(data_path)).load(subset)


def _check(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise DataError(f"{what} {value!r} is unknown: expected one of {', '.join(known)}")
