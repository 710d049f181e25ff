"""Curves as SVG that takes its ink and its letters from the page around it."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from obverse.ground.extras import load

_INK = "#010203"  # stands for the page's ink, and is replaced by it
_COLOURS = ("#3a7fc4", "#d07a1f", "#2f9a6b", "#8c8c8c", "#b0518f")  # told apart on light and dark paper, and by dashes
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_STYLE = {
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
}


class Line(NamedTuple):
    """A curve: its name in the legend, and its points."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


def chart(
    name: str,
    lines: Sequence[Line],
    *,
    x: str,
    y: str,
    log: bool = False,
    bottom: float | None = None,
    top: float | None = None,
) -> str:
    """Curves in one pair of axes.

    Args:     name: a word, unlike that of other charts on the page.
              lines: five at most.
              x, y: what the axes show, with units.
              log: whether y is logarithmic.
              bottom, top: the most that y shows; what lies beyond is cut off.
    Returns:  an <svg> element to stand in HTML; a function of the arguments alone.
    Raises:   MissingExtra without matplotlib.
    Example:
        >>> svg = chart("rise", [Line("a", [0, 1], [1, 10])], x="step", y="loss", log=True)
        >>> svg[:4], "http" in svg
        ('<svg', False)
    """
    matplotlib = load("matplotlib", extra="report")
    figure_of = load("matplotlib.figure", extra="report").Figure
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = figure_of(figsize=(5.6, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.grid(alpha=0.15, color=_INK)
        for line, colour, dash in zip(lines, _COLOURS, _DASHES, strict=False):
            dot = "o" if len(line.x) < 3 else None
            axes.plot(line.x, line.y, linestyle=dash, color=colour, label=line.label, linewidth=1.8, marker=dot)
        axes.locator_params(axis="x", integer=all(isinstance(at, int) for line in lines for at in line.x))
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if log and any(math.isfinite(value) and value > 0 for line in lines for value in line.y):
            axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.set_ylim(low if bottom is None else max(low, bottom), high if top is None else min(high, top))
        if len(lines) > 1:
            _legend(figure, len(lines))
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _for_page(file.getvalue())


def _legend(figure: Any, count: int) -> None:
    """Names above the axes, never on a curve, in as few rows as fit."""
    for rows in range(1, count + 1):
        legend = figure.legend(loc="outside upper center", ncols=math.ceil(count / rows))
        if rows == count or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def written(file: Path, svg: str, alt: str) -> Path:
    """A `chart` as a file of its own, which stands alone and on a page alike; alt is for those who do not see it."""
    own = f'<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" role="img" aria-label="{escape(alt)}"'
    file.write_text(svg.replace("<svg", own, 1) + "\n")
    return file


def _for_page(svg: str) -> str:
    """The element alone, without what only a file of its own needs."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"| (width|height)="[\d.]+pt"| font-family: [^;"]*;?', "", svg)
    return svg.replace("xlink:href", "href").replace(_INK, "currentColor").strip()
