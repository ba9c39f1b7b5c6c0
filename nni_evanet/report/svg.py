"""Figures as SVG that stands inside an HTML page."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# As paths, text looks the same whatever fonts the reader has, and keeps to the room made for it.
_STYLE: Any = {"svg.fonttype": "path", "svg.hashsalt": "nni_evanet"}
_METADATA: Any = {"Date": None, "Creator": None, "Format": None, "Type": None}


def inline_svg(
    figure: Figure, *, name: str, title: str, colours: Mapping[str, str] | None = None
) -> str:
    """An `<svg>` element that is as wide as its place allows, up to the figure's width.

    Args:
        figure: to draw.
        name: goes before the ids inside, since a page may hold several.
        title: what it shows, for those who cannot see it; any text.
        colours: of the figure, each with what CSS is to use for it.
    """
    file = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(file, format="svg", metadata=_METADATA)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for colour, replacement in (colours or {}).items():
        text = re.sub(re.escape(colour), replacement, text, flags=re.IGNORECASE)
    width = figure.get_figwidth() * matplotlib.rcParams["figure.dpi"]
    attributes = f'role="img" aria-label="{_attribute(title)}" style="max-width: {width:.0f}px"'
    return re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>',
        lambda match: f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {match[1]} {attributes}>',
        text,
        count=1,
    )


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
