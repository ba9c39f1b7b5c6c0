"""Exclusion lists leave out what they name, and say what they did."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from trees import flow_tree, hmdb51_tree

from nni_evanet.data import DataError, DataSource
from nni_evanet.data.exclusion import read_exclusions, without

HEADER = "path,subset,problem,detail\n"


@pytest.fixture
def source(tmp_path: Path) -> DataSource:
    """HMDB51, whose file names hold every nasty character but these."""
    tree = hmdb51_tree(tmp_path / "data", frames=1)
    for path in sorted(tree.rglob("#20*.avi")):
        name = path.name.replace("#", '#,"')
        path.rename(path.with_name(name))
        split = tree / "testTrainMulti_7030_splits" / f"{path.parent.name}_test_split1.txt"
        split.write_text(split.read_text().replace(path.name, name))
    return DataSource(dataset="hmdb51", data_path=tree, exclude=tmp_path / "list.csv")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def test_named_videos_are_left_out(source: DataSource, caplog: pytest.LogCaptureFixture) -> None:
    everything = replace(source, exclude=None).load("train")
    first, second, third, *rest = everything.videos
    rows = [
        f"{quoted(everything.relative(first))},train,corrupt,why\n",
        f"{quoted(everything.relative(second))},train,duplicate,\n",
        f"{quoted(everything.relative(third))},test,corrupt,\n",
        f"{quoted(everything.relative(rest[0]))},train,missing,\n",
        f"{quoted(everything.relative(rest[1]))},train,unlabeled,\n",
        f"{quoted(everything.relative(rest[2]))},train,too short,\n",
        "gone.avi,train,corrupt,\n",
    ]
    assert '""' in rows[1]
    source.exclude.write_text(HEADER + "".join(rows))
    with caplog.at_level(logging.INFO):
        loaded = source.load("train")
    assert loaded == replace(everything, videos=(third, *rest))
    assert "2 train videos left out" in caplog.text
    assert "names 1 train videos that are not there, the first is gone.avi" in caplog.text


def test_nothing_to_exclude(source: DataSource) -> None:
    everything = replace(source, exclude=None).load("train")
    for rows in ("", "elsewhere.avi,test,corrupt,\n", "elsewhere.avi,train,missing,\n"):
        source.exclude.write_text(HEADER + rows)
        assert source.load("train") == everything


def test_a_deleted_video_is_no_mistake(source: DataSource) -> None:
    everything = replace(source, exclude=None).load("train")
    source.exclude.write_text(
        f"{HEADER}{everything.relative(everything.videos[0])},train,corrupt,\n"
    )
    everything.videos[0].path.unlink()
    assert source.load("train").videos == everything.videos[1:]


@pytest.mark.parametrize("by_flow", [False, True])
def test_flow_is_excluded_by_its_name_and_by_its_video(
    source: DataSource, tmp_path: Path, by_flow: bool
) -> None:
    rgb = replace(source, exclude=None).load("train")
    flow_path = flow_tree(tmp_path / "flow", rgb, frames=1)
    everything = replace(source, exclude=None, modality="flow", flow_path=flow_path).load("train")
    listed = everything if by_flow else rgb
    source.exclude.write_text(f"{HEADER}{listed.relative(listed.videos[0])},train,corrupt,\n")
    flow = replace(source, modality="flow", flow_path=flow_path).load("train")
    assert flow == replace(everything, videos=everything.videos[1:])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "header '', expected path,subset,problem,detail"),
        ("path,label\n", "header 'path,label', expected path,subset,problem,detail"),
        (HEADER + "a.avi,train\n", "line 2: 2 columns, expected 4"),
        (HEADER + "a.avi,train,corrupt,\nb.avi,train,corrupt,\n", "none of the 2 train videos"),
    ],
)
def test_one_line_for_a_bad_list(source: DataSource, text: str, message: str) -> None:
    source.exclude.write_text(text)
    with pytest.raises(DataError, match=message) as error:
        source.load("train")
    assert str(source.exclude) in str(error.value) and "\n" not in str(error.value)


def test_a_list_that_leaves_nothing(source: DataSource) -> None:
    everything = replace(source, exclude=None).load("train")
    source.exclude.write_text(
        HEADER
        + "".join(f"{quoted(everything.relative(v))},train,corrupt,\n" for v in everything.videos)
    )
    with pytest.raises(DataError, match="leaves no video of"):
        without(everything, read_exclusions(source.exclude))
    with pytest.raises(DataError, match="nowhere: no such file"):
        read_exclusions(source.exclude.with_name("nowhere"))
