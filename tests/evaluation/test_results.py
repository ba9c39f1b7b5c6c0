"""Results files: what is written is read again, and what is no such file is one clear line."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nni_evanet.errors import InputError
from nni_evanet.evaluation.results import Results, Row, read_results, write_results

FRACTIONS = st.floats(0, 1)
ROWS = st.builds(
    Row,
    name=st.text(),
    kind=st.sampled_from(["network", "ensemble"]),
    group=st.sampled_from(["evanet", "baseline", "random", "other"]),
    members=st.lists(st.text(), max_size=3).map(tuple),
    modality=st.sampled_from(["rgb", "flow", "rgb+flow"]),
    params=st.integers(0, 10**9),
    gmacs=st.floats(0, 1e6),
    metrics=st.fixed_dictionaries({"top1": FRACTIONS}, optional={"top5": FRACTIONS}),
    ci95=st.none() | st.lists(FRACTIONS, min_size=2, max_size=2).map(lambda ci: tuple(sorted(ci))),
)


def make_results(rows):
    return Results(
        dataset="hmdb51",
        subset="test",
        split=1,
        metric="top1",
        classes=51,
        videos=1530,
        views={"clips": 4, "crops": 3},
        rows=tuple(rows),
    )


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(ROWS, max_size=3))
def test_what_is_written_is_read_again(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("results") / "results.json"
    write_results(path, make_results(rows))
    assert read_results(path) == make_results(rows)
    assert [other.name for other in path.parent.iterdir()] == ["results.json"]


def valid():
    row = {
        "name": "top 1", "kind": "network", "group": "evanet", "members": [], "modality": "rgb",
        "params": 10, "gmacs": 0.5, "metrics": {"top1": 0.5, "top5": 0.9}, "ci95": [0.4, 0.6],
    }  # fmt: skip
    return {
        "format": 1, "dataset": "hmdb51", "subset": "test", "split": 1, "metric": "top1",
        "classes": 51, "videos": 1530, "views": {"clips": 4, "crops": 3}, "rows": [row],
    }  # fmt: skip


def change(*keys, to):
    def apply(data):
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = to

    return apply


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change("format", to=2), "format: expected 1"),
        (change("metric", to="f1"), "metric: expected one of top1, map"),
        (change("videos", to=True), "videos: expected an integer"),
        (change("views", to=[]), "views: expected an object"),
        (change("views", to={"clips": 1}), "views.crops: expected it to be there"),
        (change("rows", to={}), "rows: expected a list"),
        (change("rows", 0, to=3), "rows[0]: expected an object"),
        (change("rows", 0, "group", to="ours"), "rows[0].group: expected one of evanet,"),
        (change("rows", 0, "members", to=[1]), "rows[0].members: expected a list of names"),
        (change("rows", 0, "gmacs", to=math.inf), "rows[0].gmacs: expected a number"),
        (change("rows", 0, "metrics", to={"top5": 0.5}), "top1: expected it to be there"),
        (change("rows", 0, "metrics", "top5", to=91.0), "top5: expected a number from 0 to 1"),
        (change("rows", 0, "ci95", to=[0.6, 0.4]), "rows[0].ci95: expected its first number"),
        (change("rows", 0, "ci95", to=[0.6]), "rows[0].ci95: expected [low, high]"),
    ],
)
def test_a_wrong_field_is_one_line_that_names_it(tmp_path, spoil, message):
    data = valid()
    spoil(data)
    check_refused(tmp_path, json.dumps(data).encode(), message)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_is_one_line(tmp_path, content):
    check_refused(tmp_path, content, "not a results file")


def test_an_object_is_expected(tmp_path):
    check_refused(tmp_path, b"[]", "the file: expected an object")


def check_refused(folder, content, message):
    path = folder / "results.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_results(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ") and message in text and "\n" not in text


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_results(tmp_path / "none.json")
