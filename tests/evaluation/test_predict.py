"""`nni-evanet predict`, called as the command line calls it, on encoded files."""

import pytest
import torch
from click.testing import CliRunner
from trees import write_video

from nni_evanet.commands.predict import predict
from nni_evanet.data import load_dataset
from nni_evanet.data.clips import Views
from nni_evanet.errors import InputError
from nni_evanet.evaluation.predict import predict as predict_videos
from nni_evanet.evaluation.scoring import Work, score_on

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def videos(digits):
    return [video.path for video in load_dataset("moving-digits", digits, subset="test").videos][:2]


def run(*values):
    return CliRunner().invoke(predict, [str(value) for value in values], catch_exceptions=False)


def test_the_top_classes_are_those_of_the_ensembles_mean(networks, digits, videos):
    result = run(*networks[:2], *videos, "--top", "3", "--clips", "2", "--crops", "1")
    listed = load_dataset("moving-digits", digits, subset="test")
    views = Views(clips=2)
    values = (
        sum(
            score_on(
                [torch.device("cpu")], Work(network=path, videos=listed.videos[:2], views=views)
            )[1]
            for path in networks[:2]
        )
        / 2
    )
    lines = [line for line in result.stdout.splitlines() if line.startswith(("  ", "/"))]
    assert lines[0] == str(videos[0]) and lines[4] == str(videos[1])
    for line, label in zip(lines[1:4], values[0].topk(3).indices.tolist(), strict=True):
        assert line.split("%")[1].strip() == listed.classes[label]
        assert float(line.split("%")[0]) == pytest.approx(100 * values[0, label].item(), abs=0.06)


def test_a_multi_label_network_gives_each_class_its_own_probability(make_network, videos):
    several = make_network("several-labels", multi_label=True)
    _, values = predict_videos([several], videos, views=Views())
    assert ((values > 0) & (values < 1)).all() and values.sum() > 1.5 * len(videos)


def test_a_flow_network_computes_the_flow(networks, tmp_path):
    video = write_video(tmp_path / "short.mp4", frames=2)
    _, values = predict_videos([networks[2]], [video], views=Views())
    assert values.sum() == pytest.approx(1)


def test_faults_are_one_line(networks, make_network, videos, tmp_path):
    few = make_network("few-labels", classes=("a", "b"))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 100)
    for arguments, told in (
        (videos, "one network"),
        (networks[:1], "one video"),
        ([networks[0], few, videos[0]], "2 classes"),
        ([networks[0], tmp_path / "none.mp4"], "none.mp4: no such file"),
        ([networks[0], broken], "broken.mp4: "),
        ([tmp_path / "none.safetensors", videos[0]], "none.safetensors: no such file"),
    ):
        with pytest.raises(InputError) as error:
            run(*arguments)
        assert told in str(error.value) and "\n" not in str(error.value)
