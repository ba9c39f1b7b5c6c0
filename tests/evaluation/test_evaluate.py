"""`nni-evanet evaluate`, `combine` and `average`, called as the command line calls them."""

import csv
import json
import shutil
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from nni_evanet.commands.evaluate import average, combine, evaluate
from nni_evanet.data import load_dataset
from nni_evanet.data.batches import normalise
from nni_evanet.data.clips import ClipDataset, Geometry, Views
from nni_evanet.errors import InputError
from nni_evanet.evaluation import scoring
from nni_evanet.evaluation.results import read_results
from nni_evanet.evaluation.scores import read_scores, write_scores
from nni_evanet.evaluation.scoring import Work, score_on
from nni_evanet.networks.files import load_network

torch.set_num_threads(1)
FEW_VIEWS = ["--clips", "2", "--crops", "3", "--workers", "0"]


def run(command, *values):
    result = CliRunner().invoke(command, [str(v) for v in values], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(command, *values):
    with pytest.raises(InputError) as error:
        run(command, *values)
    assert "\n" not in str(error.value)
    return str(error.value)


def of(digits, flow):
    return ["--dataset", "moving-digits", "--data-path", digits, "--flow-path", flow, *FEW_VIEWS]


@pytest.fixture(scope="module")
def evaluated(networks, digits, flow, tmp_path_factory):
    """The folder of an evaluation of RGB and flow networks together."""
    out = tmp_path_factory.mktemp("evaluated")
    run(evaluate, *networks, *of(digits, flow), "--out", out)
    return out


def test_scores_are_probabilities_averaged_over_the_views_of_each_video(
    evaluated, networks, digits
):
    videos = load_dataset("moving-digits", digits, subset="test")
    network = load_network(networks[0])
    dataset = ClipDataset(
        videos.videos,
        Geometry(frames=8, size=16, margin=1.0),
        training=False,
        views=Views(clips=2, crops=3),
    )
    scores = read_scores(evaluated / "scores" / "first.safetensors")
    assert scores.videos == tuple(map(videos.relative, videos.videos))
    with torch.no_grad():
        for index in range(0, len(dataset), 13):
            sample = dataset[index]
            clips = normalise(sample.clips.permute(0, 4, 1, 2, 3))
            expected = torch.stack([network(clip[None])[0].softmax(0) for clip in clips]).mean(0)
            torch.testing.assert_close(scores.values[index], expected, rtol=1e-4, atol=1e-6)
            assert scores.targets[index] == sample.target


def test_rgb_and_flow_are_evaluated_and_fused_in_one_call(evaluated):
    results = read_results(evaluated / "results.json")
    assert (results.dataset, results.subset, results.metric) == ("moving-digits", "test", "top1")
    assert results.views == {"clips": 2, "crops": 3}
    found = {row.name: row for row in results.rows}
    assert list(found) == ["first", "second", "moves", "ensemble rgb", "ensemble"]
    assert [row.modality for row in results.rows] == ["rgb", "rgb", "flow", "rgb", "rgb+flow"]
    scores = [read_scores(evaluated / "scores" / f"{name}.safetensors") for name in list(found)[:3]]
    fused = torch.stack([each.values for each in scores]).mean(0)
    right = (fused.argmax(1) == scores[0].targets).float().mean().item()
    assert found["ensemble"].metrics["top1"] == pytest.approx(right)
    low, high = found["ensemble"].ci95
    assert low < right < high
    assert found["ensemble"].params == sum(found[n].params for n in ("first", "second", "moves"))


def test_every_class_is_in_the_table_of_classes(evaluated):
    with open(evaluated / "per_class.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    results = read_results(evaluated / "results.json")
    assert len(rows) == 12 and sum(int(row["videos"]) for row in rows) == results.videos
    for row in results.rows:
        right = sum(int(r["videos"]) * float(r[row.name]) for r in rows)
        assert right / results.videos == pytest.approx(row.metrics["top1"], abs=1e-3)
    assert (evaluated / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_a_network_with_scores_is_not_run_again(evaluated, networks, digits, flow, monkeypatch):
    before = (evaluated / "results.json").read_text()
    monkeypatch.setattr(scoring, "_run", None)
    run(evaluate, *networks, *of(digits, flow), "--out", evaluated)
    assert (evaluated / "results.json").read_text() == before
    with pytest.raises(TypeError):  # other views: it runs
        run(evaluate, *networks, *of(digits, flow), "--clips", "1", "--out", evaluated)


def test_an_interrupted_evaluation_goes_on(networks, digits, tmp_path, monkeypatch):
    videos = load_dataset("moving-digits", digits, subset="test").videos
    work = Work(network=networks[0], videos=videos, views=Views(), part=tmp_path / "scores")
    whole = score_on([torch.device("cpu")], work)
    original, ran = scoring._run, []

    def breaking(network, card, indices, work, device):
        ran.append(len(indices))
        for number, scored in enumerate(original(network, card, indices, work, device)):
            if number == 1 and len(ran) == 1:
                raise KeyboardInterrupt
            yield scored

    monkeypatch.setattr(scoring, "_run", breaking)
    monkeypatch.setattr(scoring, "SAVE_S", 0)
    with pytest.raises(KeyboardInterrupt):
        score_on([torch.device("cpu")], work)
    resumed = score_on([torch.device("cpu")], work)
    assert ran == [len(videos), len(videos) - 16]
    assert torch.equal(resumed[0], whole[0])
    torch.testing.assert_close(resumed[1], whole[1])
    assert not list(tmp_path.iterdir())


def test_two_processes_give_the_scores_of_one(networks, digits):
    videos = load_dataset("moving-digits", digits, subset="test").videos[:11]
    work = Work(network=networks[0], videos=videos, views=Views(clips=2), batch_size=6)
    one = score_on([torch.device("cpu")], work)
    two = score_on([torch.device("cpu")] * 2, work)
    assert torch.equal(one[0], two[0]) and one[0].tolist() == list(range(11))
    torch.testing.assert_close(one[1], two[1])
    assert torch.equal(one[1].argmax(1), two[1].argmax(1))


def test_ensembles_are_combined_without_the_networks(evaluated, tmp_path):
    files = [evaluated / "scores" / f"{name}.safetensors" for name in ("first", "moves")]
    run(combine, *files, "--weights", "3,1", "--out", tmp_path)
    first, moves = (read_scores(path) for path in files)
    expected = (0.75 * first.values + 0.25 * moves.values).argmax(1) == first.targets
    row = read_results(tmp_path / "results.json").rows[-1]
    assert row.metrics["top1"] == pytest.approx(expected.float().mean().item())
    for weights in ("1", "1,2,3", "1,-1", "0,0", "a,b", "nan,1"):
        assert "weights" in refused(combine, *files, "--weights", weights, "--out", tmp_path)


def test_a_video_that_one_network_cannot_read_is_left_out_for_all(networks, digits, flow, tmp_path):
    some = tmp_path / "flow"
    shutil.copytree(flow, some)
    videos = load_dataset("moving-digits", digits, subset="test")
    absent, broken = (videos.relative(video) for video in videos.videos[3:5])
    shutil.rmtree(some / absent.removesuffix(".mp4"))
    (some / broken.removesuffix(".mp4") / "flow_x_00001.jpg").write_bytes(b"")
    output = run(evaluate, networks[0], networks[2], *of(digits, some), "--out", tmp_path)
    assert "2 videos are left out" in output
    flat = "".join(output.split())
    assert f"{absent}:noopticalflow".replace(" ", "") in flat and broken.replace(" ", "") in flat
    assert read_results(tmp_path / "results.json").videos == len(videos.videos) - 2


def test_faults_are_one_line(networks, make_network, digits, flow, evaluated, tmp_path):
    data, out = of(digits, flow), ("--out", tmp_path)
    (tmp_path / "note.safetensors").write_text("not a network")
    assert "note" in refused(evaluate, tmp_path / "note.safetensors", *data, *out)
    assert "no such file" in refused(evaluate, tmp_path / "none.safetensors", *data, *out)
    few = make_network("few", classes=("a", "b"))
    message = refused(evaluate, few, *data, *out)
    assert "2 classes" in message and "12" in message
    classes = load_network(networks[0]).card.classes
    other = make_network("other", classes=(*classes[:5], "waving", *classes[6:]))
    message = refused(evaluate, other, *data, *out)
    assert "class 5 is 'waving'" in message and classes[5] in message
    several = make_network("several", multi_label=True)
    assert "multi-label" in refused(evaluate, several, *data, *out)
    message = refused(evaluate, networks[2], *data, "--flow-path", tmp_path / "no", *out)
    assert "no such folder of optical flow" in message
    copy = tmp_path / "first.safetensors"
    shutil.copy(networks[0], copy)
    assert "two networks called 'first'" in refused(evaluate, networks[0], copy, *data, *out)

    first = evaluated / "scores" / "first.safetensors"
    assert "not a file of scores" in refused(combine, networks[0], *out)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(first.read_bytes()[:-20])
    assert "damaged" in refused(combine, damaged, *out)
    scores = read_scores(first)
    fewer = replace(
        scores,
        origin=replace(scores.origin, network="fewer"),
        **{name: getattr(scores, name)[1:] for name in ("videos", "values", "targets")},
    )
    write_scores(tmp_path / "fewer.safetensors", fewer)
    message = refused(combine, first, tmp_path / "fewer.safetensors", *out)
    assert "different videos" in message and scores.videos[0] in message


def test_multi_label_scores_give_the_mean_average_precision(evaluated, tmp_path):
    scores = read_scores(evaluated / "scores" / "first.safetensors")
    origin = replace(scores.origin, multi_label=True)
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(scores.values.shape, generator=generator) < 0.3).float()
    write_scores(tmp_path / "s.safetensors", replace(scores, origin=origin, targets=targets))
    assert "mAP" in run(combine, tmp_path / "s.safetensors", "--out", tmp_path)
    results = read_results(tmp_path / "results.json")
    low, high = results.rows[0].ci95
    assert results.metric == "map" and low < results.rows[0].metrics["map"] < high
    assert not (tmp_path / "confusion.png").exists()


def test_the_mean_over_splits(evaluated, tmp_path):
    data = json.loads((evaluated / "results.json").read_text())
    files = []
    for split in (1, 2, 3):
        data["split"] = split
        for row in data["rows"]:
            row["metrics"]["top1"] = 0.1 * split
        files.append(tmp_path / f"{split}.json")
        files[-1].write_text(json.dumps(data))
    lines = run(average, *files).splitlines()
    assert any("ensemble" in line and "10.0%" in line and "20.0%" in line for line in lines)
    assert "split 1" in refused(average, files[0], files[0])
    data["rows"][0]["name"] = "another"
    files[2].write_text(json.dumps(data))
    assert "'another'" in refused(average, *files)
