"""Pictures of architectures, in the manner of the paper's figures 1, 2 and 9."""

from __future__ import annotations

import functools
import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.textpath import text_to_path

from nni_evanet.architecture import Architecture
from nni_evanet.errors import InputError
from nni_evanet.report.backbone import POINTWISE, POOL, Layer, Parallel, backbone


@dataclass(frozen=True)
class _Look:
    """How a type of layer is drawn: the abbreviation tells types apart where colours do not."""

    color: str
    short: str
    name: str


# Colours of Okabe and Ito, which colour-blind people tell apart.
_LOOKS = {
    "conv3d": _Look("#E69F00", "3D", "3D convolution"),
    "conv2plus1d": _Look("#56B4E9", "2+1D", "(2+1)D convolution"),
    "itgm": _Look("#009E73", "iTGM", "iTGM convolution"),
    POOL: _Look("#F0E442", "max", "space-time max-pooling"),
    POINTWISE: _Look("#E4E4E4", "1×1×1", "1×1×1 convolution"),
}
_INK, _LINE, _FRAME = "#000000", "#555555", "#F7F7F7"

# Lengths are in inches and sizes of type in points.
_BOX_WIDTH, _BOX_HEIGHT, _CELL_WIDTH, _INSET = 0.76, 0.28, 0.26, 0.035
_ACROSS, _DOWN = 0.08, 0.12  # between streams, and between the layers of one
_PADDING, _BUS, _HEADING = 0.10, 0.10, 0.24  # inside a module's frame
_SHORTCUT = 0.10  # from the leftmost stream to the line around all of them
_GAP, _COLUMN_GAP, _MARGIN = 0.20, 0.35, 0.15
_TEXT, _SMALL, _TITLE = 9.5, 8.0, 12.0
_LINE_HEIGHT = 0.20
_TITLE_CHARACTERS = 34
_LAST = "average, classifier"
_LEAST_WIDTH = 5.5  # has room for the legend in two columns

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "svg.fonttype": "none",  # text stays text: it can be searched, and read aloud
    "svg.hashsalt": "nni_evanet",
    "pdf.fonttype": 42,
    "text.parse_math": False,
}
# Without a date the same architectures give the same file.
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
}


def draw(architectures: Sequence[tuple[str, Architecture]], path: str | Path) -> None:
    """Write a picture of architectures, side by side under their titles.

    From top to bottom it shows the layers and modules that a clip passes; in a module the streams
    stand side by side. A box is a layer: its colour and its abbreviation tell its type, the number
    its temporal size in frames; a dashed box is a layer that is not searched. "×4" is a module that
    is repeated four times. The same architectures and titles give the same bytes.

    Args:
        architectures: (title, architecture) for each.
        path: where to; the suffix .svg, .png or .pdf is the format.

    Raises:
        InputError: there is nothing to draw, the suffix is another one, or the file cannot be
            written.
    """
    path = Path(path)
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in _METADATA:
        allowed = ", ".join(f".{known}" for known in _METADATA)
        raise InputError(f"{path}: a picture's name ends in one of {allowed}")
    figure = draw_figure(architectures)
    content = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(content, format=suffix, dpi=200, metadata=_METADATA[suffix])
    try:
        path.write_bytes(content.getvalue())
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def draw_figure(architectures: Sequence[tuple[str, Architecture]]) -> Figure:
    """What `draw` writes, as a matplotlib figure that has an Agg canvas.

    Raises:
        InputError: there is nothing to draw.
    """
    if not architectures:
        raise InputError("draw: no architecture to draw")
    with matplotlib.rc_context(_STYLE):
        return _figure([_Column.of(*pair) for pair in architectures])


@dataclass(frozen=True)
class _Column:
    """One architecture of the picture: what is to be drawn, and how much room it needs."""

    title: list[str]
    note: str
    items: list[Layer | Parallel]

    @classmethod
    def of(cls, title: str, architecture: Architecture) -> _Column:
        items = backbone(architecture)
        dropping = any(
            isinstance(item, Parallel) and item.alternate and item.repeats > 1 for item in items
        )
        note = "in every 2nd repeat convolutions have size 1" if dropping else ""
        return cls(textwrap.wrap(title, _TITLE_CHARACTERS), note, items)

    @property
    def heading(self) -> float:
        return _LINE_HEIGHT * (len(self.title) + bool(self.note)) + _DOWN

    @property
    def rows(self) -> list[type]:
        return [type(item) for item in self.items]

    @property
    def width(self) -> float:
        titles = [_text_width(line, _TITLE, bold=True) for line in self.title]
        items = [_width(item) for item in self.items]
        return max(_text_width(self.note, _SMALL), _text_width(_LAST, _TEXT), *titles, *items)


def _figure(columns: list[_Column]) -> Figure:
    rows = [_row_heights(column, columns) for column in columns]
    heading = max(column.heading for column in columns)
    body = max(sum(heights) + _GAP * (len(heights) + 1) for heights in rows) + 2 * _BOX_HEIGHT
    across = sum(column.width for column in columns) + _COLUMN_GAP * (len(columns) - 1)
    inside = max(across, _LEAST_WIDTH)
    legend = _Legend.of(columns, inside)
    width, height = inside + 2 * _MARGIN, heading + body + _GAP + legend.height + 2 * _MARGIN

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    pen = _Pen(axes)
    left = _MARGIN + (inside - across) / 2
    for column, heights in zip(columns, rows, strict=True):
        center = left + column.width / 2
        _draw_heading(pen, column, center, _MARGIN)
        _draw_column(pen, column, center, _MARGIN + heading, heights)
        left += column.width + _COLUMN_GAP
    legend.draw(pen, _MARGIN, height - _MARGIN - legend.height)
    return figure


def _row_heights(column: _Column, columns: list[_Column]) -> list[float]:
    """Of each row. Architectures of one form have their modules at the same height."""
    alike = [other for other in columns if other.rows == column.rows]
    return [max(map(_height, row)) for row in zip(*(other.items for other in alike), strict=True)]


def _width(item: Layer | Parallel) -> float:
    if isinstance(item, Layer):
        # The note stands on one side, and the box in the middle.
        return _BOX_WIDTH + 2 * (_ACROSS + _text_width(item.note, _SMALL))
    count = len(item.streams)
    streams = count * _BOX_WIDTH + (count - 1) * _ACROSS
    # The words of the heading stand on both sides of the line that enters from above.
    words = _text_width(f"module {item.number}", _SMALL), _text_width("×6", _TITLE, bold=True)
    heading = 2 * max(words) + 2 * _ACROSS
    around = _PADDING + (_SHORTCUT if item.residual else 0)
    return max(streams + 2 * around, heading + _PADDING)


def _height(item: Layer | Parallel) -> float:
    if isinstance(item, Layer):
        return _BOX_HEIGHT
    longest = max(len(stream) for stream in item.streams)
    streams = longest * _BOX_HEIGHT + (longest - 1) * _DOWN
    return _HEADING + streams + 4 * _BUS + (_PADDING if item.residual else 0)


class _Pen:
    """Draws the parts that everything consists of, at places in inches from the top left."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes

    def line(self, *points: tuple[float, float]) -> None:
        xs, ys = zip(*points, strict=True)
        self.axes.plot(
            xs, ys, color=_LINE, linewidth=0.9, solid_joinstyle="round", zorder=2, clip_on=False
        )

    def arrow(self, x: float, top: float, bottom: float) -> None:
        self.line((x, top), (x, bottom))
        self.axes.plot([x], [bottom - 0.025], marker="v", markersize=3.2, color=_LINE, zorder=2)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        *,
        align: str = "center",
        bold: bool = False,
        color: str = _INK,
    ) -> None:
        self.axes.text(
            x,
            y,
            text,
            fontsize=size,
            fontweight="bold" if bold else "normal",
            ha=align,
            va="center_baseline",
            color=color,
            zorder=5,
        )

    def frame(
        self,
        left: float,
        top: float,
        width: float,
        height: float,
        *,
        fill: str,
        edge: str = _INK,
        line: float = 0.8,
        dashed: bool = False,
        depth: float = 3,
    ) -> None:
        self.axes.add_patch(
            FancyBboxPatch(
                (left, top),
                width,
                height,
                boxstyle="round,pad=0,rounding_size=0.05",
                facecolor=fill,
                edgecolor=edge,
                linewidth=line,
                linestyle=(0, (3, 2)) if dashed else "solid",
                zorder=depth,
            )
        )

    def layer(self, x: float, top: float, layer: Layer, time: str | None = None) -> None:
        """A box around x: the abbreviation on the colour, the temporal size on white."""
        look = _LOOKS[layer.kind]
        left, middle = x - _BOX_WIDTH / 2, top + _BOX_HEIGHT / 2
        self.frame(left, top, _BOX_WIDTH, _BOX_HEIGHT, fill=look.color, dashed=_is_fixed(layer))
        if layer.kind == POINTWISE:
            self.text(x, middle, look.short, _SMALL)
            return
        cell, height = left + _BOX_WIDTH - _CELL_WIDTH - _INSET, _BOX_HEIGHT - 2 * _INSET
        self.frame(cell, top + _INSET, _CELL_WIDTH, height, fill="white", line=0, depth=4)
        self.text((left + cell) / 2, middle, look.short, _TEXT)
        number = str(layer.time) if time is None else time
        self.text(cell + _CELL_WIDTH / 2, middle, number, _TEXT, bold=True)
        self.text(x + _BOX_WIDTH / 2 + _ACROSS / 2, middle, layer.note, _SMALL, align="left")

    def plain(self, x: float, top: float, text: str) -> None:
        """What every network has, without a frame."""
        self.text(x, top + _BOX_HEIGHT / 2, text, _TEXT, color=_LINE)


def _draw_heading(pen: _Pen, column: _Column, x: float, top: float) -> None:
    y = top + _LINE_HEIGHT / 2
    for line in column.title:
        pen.text(x, y, line, _TITLE, bold=True)
        y += _LINE_HEIGHT
    pen.text(x, y, column.note, _SMALL, color=_LINE)


def _draw_column(pen: _Pen, column: _Column, x: float, top: float, heights: list[float]) -> None:
    pen.plain(x, top, "clip")
    y = top + _BOX_HEIGHT
    for item, height in zip(column.items, heights, strict=True):
        pen.arrow(x, y, y + _GAP)
        y += _GAP
        if isinstance(item, Layer):
            pen.layer(x, y, item)
        else:
            _draw_module(pen, item, x, y, height)
        y += height
    pen.arrow(x, y, y + _GAP)
    pen.plain(x, y + _GAP, _LAST)


def _draw_module(pen: _Pen, module: Parallel, x: float, top: float, height: float) -> None:
    width = _width(module)
    left, bottom = x - width / 2, top + height
    pen.frame(left, top, width, height, fill=_FRAME, edge="#999999", depth=1)
    heading_y = top + _HEADING / 2
    pen.text(left + _PADDING / 2, heading_y, f"module {module.number}", _SMALL, align="left")
    if module.repeats > 1:
        right = left + width - _PADDING / 2
        pen.text(right, heading_y, f"×{module.repeats}", _TITLE, align="right", bold=True)

    fork, join = top + _HEADING + _BUS, bottom - _BUS - (_PADDING if module.residual else 0)
    count = len(module.streams)
    first = x - (count - 1) * (_BOX_WIDTH + _ACROSS) / 2
    centers = [first + i * (_BOX_WIDTH + _ACROSS) for i in range(count)]
    pen.line((x, top), (x, fork))
    if count > 1:
        pen.line((centers[0], fork), (centers[-1], fork))
        pen.line((centers[0], join), (centers[-1], join))
    pen.line((x, join), (x, bottom))
    for center, stream in zip(centers, module.streams, strict=True):
        _draw_stream(pen, stream, center, fork, join)
    if module.residual:
        _draw_shortcut(pen, x, centers[0], fork, bottom)


def _draw_stream(pen: _Pen, stream: tuple[Layer, ...], x: float, fork: float, join: float) -> None:
    pen.line((x, fork), (x, join))
    y = fork + _BUS
    for layer in stream:
        pen.layer(x, y, layer)
        y += _BOX_HEIGHT + _DOWN


def _draw_shortcut(pen: _Pen, x: float, first: float, fork: float, bottom: float) -> None:
    side = first - _BOX_WIDTH / 2 - _SHORTCUT
    top, plus = fork - _BUS, bottom - 0.08
    pen.line((x, top), (side, top), (side, plus), (x, plus))
    pen.axes.add_patch(
        Circle((x, plus), 0.055, facecolor="white", edgecolor=_LINE, linewidth=0.9, zorder=4)
    )
    pen.text(x, plus, "+", _SMALL, bold=True)


@dataclass(frozen=True)
class _Legend:
    """Samples with what they mean, in as many columns as there is room for."""

    entries: list[tuple[Layer | str, str]]
    width: float

    @classmethod
    def of(cls, columns: list[_Column], width: float) -> _Legend:
        """Every type of layer, and of the other signs those that the picture has."""
        items = [item for column in columns for item in column.items]
        modules = [item for item in items if isinstance(item, Parallel)]
        fixed = [item for item in items if isinstance(item, Layer) and _is_fixed(item)]
        entries: list[tuple[Layer | str, str]] = [
            (Layer(kind, 1, searched=True), look.name) for kind, look in _LOOKS.items()
        ]
        entries.append(("5", "temporal size in frames"))
        if any(module.repeats > 1 for module in modules):
            entries.append(("×4", "repeated four times"))
        if any(module.residual for module in modules):
            entries.append(("+", "sum with the shortcut"))
        if fixed:
            entries.append((fixed[-1], "fixed, not searched"))
        return cls(entries, width)

    @property
    def _cell(self) -> float:
        names = max(_text_width(name, _TEXT) for _, name in self.entries)
        return _BOX_WIDTH + _ACROSS + names + _GAP

    @property
    def _rows(self) -> int:
        return math.ceil(len(self.entries) / max(1, int((self.width + _GAP) / self._cell)))

    @property
    def height(self) -> float:
        return _GAP + self._rows * (_BOX_HEIGHT + _DOWN) - _DOWN

    def draw(self, pen: _Pen, left: float, top: float) -> None:
        pen.line((left, top), (left + self.width, top))
        columns = math.ceil(len(self.entries) / self._rows)
        left += (self.width - columns * self._cell + _GAP) / 2
        for index, (sample, name) in enumerate(self.entries):
            column, row = divmod(index, self._rows)
            x, y = left + column * self._cell, top + _GAP + row * (_BOX_HEIGHT + _DOWN)
            middle = y + _BOX_HEIGHT / 2
            if isinstance(sample, Layer):
                pen.layer(x + _BOX_WIDTH / 2, y, sample, time="")
            else:
                pen.text(x + _BOX_WIDTH / 2, middle, sample, _TITLE, bold=True)
            pen.text(x + _BOX_WIDTH + _ACROSS, middle, name, _TEXT, align="left")


def _is_fixed(layer: Layer) -> bool:
    return not (layer.searched or layer.shared)


@functools.cache
def _text_width(text: str, size: float, *, bold: bool = False) -> float:
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal", size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72
