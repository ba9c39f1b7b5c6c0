"""Evaluation on trees in the layouts of HMDB51 and Charades, RGB and flow."""

import pytest
import torch
from click.testing import CliRunner
from trees import charades_tree, flow_tree, hmdb51_tree

from nni_evanet.commands.evaluate import average, evaluate
from nni_evanet.data import DataSource
from nni_evanet.evaluation.listing import list_videos
from nni_evanet.evaluation.metrics import mean_average_precision
from nni_evanet.evaluation.results import read_results
from nni_evanet.evaluation.scores import read_scores

torch.set_num_threads(1)


def run(command, *values):
    result = CliRunner().invoke(command, [str(v) for v in values], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_charades_is_measured_by_the_map_of_rgb_and_flow_together(make_network, tmp_path):
    tree = charades_tree(tmp_path / "charades", train=1, test=9, frames=10)
    source = DataSource(dataset="charades", data_path=tree)
    videos = source.load("test")
    flow_tree(tree / "Charades_v1_flow", videos, layout="charades", frames=9)
    card = {"classes": videos.classes, "multi_label": True, "dataset": "charades"}
    networks = [
        make_network("charades-rgb", **card),
        make_network("charades-flow", modality="flow", **card),
    ]
    out = tmp_path / "out"
    data = ["--dataset", "charades", "--data-path", tree, "--clips", 2, "--workers", 0]
    assert "charades test" in run(evaluate, *networks, *data, "--out", out)
    results = read_results(out / "results.json")
    assert (results.metric, results.videos, results.views) == ("map", 9, {"clips": 2, "crops": 3})
    scores = [read_scores(out / "scores" / f"charades-{m}.safetensors") for m in ("rgb", "flow")]
    mean = (scores[0].values + scores[1].values) / 2
    expected = mean_average_precision(mean, scores[0].targets)
    assert results.rows[-1].modality == "rgb+flow"
    assert results.rows[-1].metrics["map"] == pytest.approx(expected)
    # The last video has no action: it has scores, and is not part of the metric.
    assert not scores[0].targets[-1].any()


def test_hmdb51s_three_splits_and_their_mean(make_network, tmp_path):
    tree = hmdb51_tree(tmp_path / "hmdb51", train=1, test=1, frames=8)
    data = ["--dataset", "hmdb51", "--data-path", tree, "--clips", 1, "--crops", 1, "--workers", 0]
    classes = DataSource(dataset="hmdb51", data_path=tree).load("test").classes
    network = make_network("hmdb51", classes=classes, dataset="hmdb51")
    files = []
    for split in (1, 2, 3):
        out = tmp_path / str(split)
        assert f"split {split}" in run(evaluate, network, *data, "--split", split, "--out", out)
        files.append(out / "results.json")
    tops = [read_results(file).rows[0].metrics["top1"] for file in files]
    assert f"{sum(tops) / 3:.1%}" in run(average, *files)


def test_a_video_has_one_name_whatever_is_read_of_it(tmp_path):
    tree = hmdb51_tree(tmp_path / "hmdb51", train=1, test=2, frames=4)
    rgb = DataSource(dataset="hmdb51", data_path=tree).load("test")
    flow_tree(tmp_path / "flow", rgb, layout="name", frames=3)
    excluded = tmp_path / "excluded.csv"
    first = rgb.relative(rgb.videos[0])
    flow_name = rgb.videos[1].path.stem
    excluded.write_text(f'path,subset,problem,detail\n"{flow_name}",test,corrupt,x\n')
    source = DataSource(
        dataset="hmdb51", data_path=tree, modality="flow", flow_path=tmp_path / "flow"
    )
    names = [rgb.relative(video) for video in rgb.videos]
    assert list(list_videos(source, "test").names) == names and names[0] == first
    source = DataSource(
        dataset="hmdb51",
        data_path=tree,
        modality="flow",
        flow_path=tmp_path / "flow",
        exclude=excluded,
    )
    assert list(list_videos(source, "test").names) == [names[0], *names[2:]]
