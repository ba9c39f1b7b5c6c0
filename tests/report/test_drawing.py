"""Pictures: what stands in them, that nothing overlaps, and that the files are what they say."""

import itertools
import random
import xml.etree.ElementTree as ElementTree
from collections import Counter

import matplotlib.image
import pytest
from matplotlib.patches import FancyBboxPatch

from nni_evanet import release
from nni_evanet.architecture import Architecture, InceptionStem, Module, ResNetStem, Stream
from nni_evanet.errors import InputError
from nni_evanet.report.drawing import draw, draw_figure

RELEASED = [(name, release.architecture(name)) for name in ("rgb1", "rgb2")]
FULL = Architecture(
    "resnet",
    ResNetStem("conv2plus1d", 11, 11, 11, 11),
    (Module(6, (Stream("conv_conv", "conv2plus1d", 11, "itgm", 11),) * 6),) * 4,
)
LEAST = Architecture(
    "resnet", ResNetStem("itgm", 1, 1), (Module(1, (Stream("conv1x1x1"),)),), False
)
INCEPTION = [(f"top {i}", Architecture.random("inception", random.Random(i))) for i in range(3)]
PICTURES = {
    "released": RELEASED,
    "six streams of two convolutions": [("a", FULL), ("b", FULL), ("c", FULL)],
    "one stream": [("", LEAST)],
    "narrow ones": [("", LEAST)] * 4,
    "inception": INCEPTION,
    "mixed, long titles": [*RELEASED[:1], ("a long title " * 9, LEAST), *INCEPTION[:1]],
}


def svg_texts(path) -> Counter[str]:
    root = ElementTree.parse(path).getroot()
    return Counter(
        "".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")
    )


def test_svg_has_every_temporal_size_type_and_repeat_as_text(tmp_path):
    draw(RELEASED[:1], tmp_path / "rgb1.svg")
    texts = svg_texts(tmp_path / "rgb1.svg")
    # By hand: the stem 3, its pool and the next 1, then 1 and 9 in front of the last two modules;
    # 1, 7 | 3, 1, 5 | 7, 11, 11 | 11, 1, 3 in the modules; one 5 is the legend's.
    assert {size: texts[str(size)] for size in (1, 3, 5, 7, 9, 11)} == {
        1: 3 + 3, 3: 3, 5: 1 + 1, 7: 2, 9: 1, 11: 3
    }  # fmt: skip
    # One more of each is the legend's.
    assert (texts["3D"], texts["2+1D"], texts["iTGM"], texts["max"]) == (5, 2, 3, 10)
    assert texts["1×1×1"] == 14 + 1
    assert (texts["×2"], texts["×4"], texts["×5"], texts["×3"]) == (1, 2, 1, 1)
    assert [texts[f"module {m}"] for m in range(1, 6)] == [1, 1, 1, 1, 0]
    legend = {"3D convolution", "(2+1)D convolution", "iTGM convolution", "space-time max-pooling"}
    assert legend | {"1×1×1 convolution", "temporal size in frames", "rgb1"} <= set(texts)


def test_svg_of_an_inception_like_architecture_has_its_stem_and_fixed_layers(tmp_path):
    stem = InceptionStem("conv3d", 11, 9, "itgm", 7, 5)
    point = Module(1, (Stream("conv1x1x1"),))
    draw([("nine", Architecture("inception", stem, (point,) * 9))], tmp_path / "nine.svg")
    texts = svg_texts(tmp_path / "nine.svg")
    # The fixed pools have 3 and 2 frames.
    assert [texts[str(time)] for time in (11, 9, 7, 5, 3, 2)] == [1, 1, 1, 1 + 1, 1, 1]
    assert texts["1×1×1"] == 1 + 9 + 1
    assert texts["fixed, not searched"] == 1
    assert not [text for text in texts if "repeat" in text or "shortcut" in text]


def test_streams_stand_side_by_side_and_modules_one_below_another():
    figure = draw_figure([("rgb1", RELEASED[0][1])])
    places = {}
    for text in figure.axes[0].texts:
        places.setdefault(text.get_text(), []).append(text.get_position())
    modules = [places[f"module {m}"][0][1] for m in range(1, 5)]
    assert modules == sorted(modules)
    # Of module 2's five streams: two 1x1x1 alone, three with another layer above or below.
    inside = [(x, y) for x, y in places["1×1×1"] if modules[1] < y < modules[2]]
    assert len({round(x, 6) for x, _ in inside}) == len(inside) == 5


def test_architectures_of_one_form_have_their_modules_at_one_height():
    figure = draw_figure(RELEASED)
    for m in range(1, 5):
        heights = {
            t.get_position()[1] for t in figure.axes[0].texts if t.get_text() == f"module {m}"
        }
        assert len(heights) == 1


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps_or_leaves_the_picture(name):
    figure = draw_figure(PICTURES[name])
    renderer = figure.canvas.get_renderer()
    axes = figure.axes[0]
    texts = {t: t.get_window_extent(renderer) for t in axes.texts if t.get_text()}
    for (a, box), (b, other) in itertools.combinations(texts.items(), 2):
        assert not box.overlaps(other), (a.get_text(), b.get_text())
    patches = [p for p in axes.patches if isinstance(p, FancyBboxPatch)]
    boxes = [p.get_window_extent(renderer) for p in patches if p.get_zorder() == 3]
    for box, other in itertools.combinations(boxes, 2):
        assert not box.overlaps(other)
    for box in boxes:
        for text, extent in texts.items():
            inside = box.x0 < extent.x0 and extent.x1 < box.x1 and box.y0 < extent.y0 < box.y1
            assert inside or not box.overlaps(extent), text.get_text()
    width, height = figure.canvas.get_width_height()
    for box in (*texts.values(), *boxes):
        assert box.x0 > 0 and box.x1 < width and box.y0 > 0 and box.y1 < height


def test_png_and_pdf_are_such(tmp_path):
    draw(RELEASED, tmp_path / "a.png")
    picture = matplotlib.image.imread(tmp_path / "a.png")
    width, height = draw_figure(RELEASED).get_size_inches() * 200
    assert picture.shape[:2] == (int(height), int(width))
    # All five colours of Okabe and Ito that tell layers apart, but for the grey.
    pixels = {tuple(int(255 * c + 0.5) for c in pixel[:3]) for pixel in picture[::7].reshape(-1, 4)}
    assert {(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)} <= pixels
    draw(RELEASED, tmp_path / "a.PDF")
    content = (tmp_path / "a.PDF").read_bytes()
    assert content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF")


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_the_same_architectures_give_the_same_bytes(tmp_path, suffix):
    for name in ("a", "b"):
        draw(RELEASED[1:], tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_titles_are_text_and_no_formula(tmp_path):
    draw([("$x$ & <y> costs $5", LEAST)], tmp_path / "a.svg")
    assert svg_texts(tmp_path / "a.svg")["$x$ & <y> costs $5"] == 1


@pytest.mark.parametrize("name", ["a.gif", "a", "a.svg.gz"])
def test_another_suffix_is_one_clear_line(tmp_path, name):
    with pytest.raises(InputError, match=r"ends in one of \.svg, \.pdf, \.png") as error:
        draw(RELEASED, tmp_path / name)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.svg").mkdir()
    for path in (tmp_path / "none/a.svg", tmp_path / "file/a.svg", tmp_path / "folder.svg"):
        with pytest.raises(InputError, match="cannot be written") as error:
            draw([("", LEAST)], path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(InputError, match="no architecture"):
        draw([], tmp_path / "a.svg")
