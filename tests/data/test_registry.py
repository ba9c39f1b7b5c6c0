"""Every dataset is named the same way, and a search's data stay apart from the test data."""

from pathlib import Path

import pytest
from trees import charades_tree, hmdb51_tree, kinetics_tree, moments_tree

from nni_evanet.data import DATASETS, DataError, DataSource, split_validation

WRITERS = {
    "kinetics": kinetics_tree,
    "hmdb51": hmdb51_tree,
    "charades": charades_tree,
    "moments": moments_tree,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_search_sees_no_test_video(name: str, tmp_path: Path) -> None:
    source = DataSource(dataset=name, data_path=WRITERS[name](tmp_path, frames=1))
    official = [source.load(subset) for subset in DATASETS[name].subsets]
    train, *others = official
    assert (train.subset, train.name) == ("train", name)
    parts = split_validation(train.videos, fraction=0.3)
    searched = {v.path for v in (*parts.training, *parts.validation)}
    for held_back in others:
        assert held_back.videos and held_back.classes == train.classes
        assert not searched & {v.path for v in held_back.videos}


@pytest.mark.parametrize("name", DATASETS)
def test_one_line_for_a_bad_name(name: str, tmp_path: Path) -> None:
    for arguments, message in (
        ({"data_path": tmp_path / "nowhere"}, r"nowhere: no such"),
        ({"data_path": tmp_path, "split": 4}, rf"split 4: {name} has no such"),
        ({"data_path": tmp_path, "split": 0}, rf"split 0: {name} has no such"),
        ({"data_path": tmp_path, "modality": "depth"}, r"modality 'depth' is unknown"),
        ({"data_path": tmp_path}, str(tmp_path)),
    ):
        with pytest.raises(DataError, match=message) as error:
            DataSource(dataset=name, **arguments).load("train")
        assert "\n" not in str(error.value)
