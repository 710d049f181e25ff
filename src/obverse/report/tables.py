"""Two tables in one picture: what each prediction weighs in the result, and where the tables differ."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from obverse.ground.errors import InvalidArgument
from obverse.ground.extras import load
from obverse.sampler.comparison import Comparison

FORMATS = (".svg", ".png")
FLOOR = 1e-16  # of the logarithmic colours


def picture(comparison: Comparison, names: tuple[str, str], out: Path) -> Path:
    """Draw a comparison.

    Left, the weight of every prediction in the result, in v on the unit circle; right, the size of the difference of
    the canonical tables, row by row: what each call reads, in terms of the outputs before it (T37).

    Args:     comparison: of two tables.
              names: what they are called.
              out: where to; .svg or .png.
    Raises:   MissingExtra without matplotlib; InvalidArgument for another suffix.
    """
    if out.suffix not in FORMATS:
        raise InvalidArgument(f"A picture is {' or '.join(FORMATS)}, got {out.name!r}.")
    matplotlib, figure_of = load("matplotlib", extra="report"), load("matplotlib.figure", extra="report").Figure
    with matplotlib.rc_context({"svg.hashsalt": "compare", "svg.fonttype": "none", "font.size": 10}):
        figure = figure_of(figsize=(10, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        _weights(left, comparison, names)
        _difference(figure, right, comparison)
        file = io.BytesIO()
        meta = {"Date": None} if out.suffix == ".svg" else None
        figure.savefig(file, format=out.suffix[1:], metadata=meta, dpi=150)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(file.getvalue())
    return out


def _weights(axes: Any, comparison: Comparison, names: tuple[str, str]) -> None:
    styles = (("#3a7fc4", "o-", 6.0), ("#d07a1f", "x--", 6.0))
    for form, name, (colour, style, size) in zip(comparison.forms, names, styles, strict=True):
        weights = form.outputs[-1].tolist()
        axes.plot(range(1, len(weights) + 1), weights, style, color=colour, label=name, markersize=size, linewidth=1.4)
    axes.axhline(0, color="#888888", linewidth=0.6)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("call")
    axes.set_ylabel("weight of its prediction in the result")
    axes.legend(frameon=False)


def _difference(figure: Any, axes: Any, comparison: Comparison) -> None:
    if not comparison.partings:
        axes.axis("off")
        axes.text(0.5, 0.5, "different numbers of calls", ha="center", va="center")
        return
    a, b = comparison.forms
    apart = torch.cat([(a.start - b.start)[:, None], a.outputs - b.outputs], dim=1).abs().clamp(min=FLOOR).log10()
    shown = axes.imshow(apart.numpy(), vmin=-16, vmax=0, cmap="viridis", aspect="auto", interpolation="nearest")
    axes.set_xlabel("the start (0) and the outputs")
    axes.set_ylabel("call (last: the end)")
    axes.set_yticks([0, len(apart) - 1], ["1", "end"])
    figure.colorbar(shown, ax=axes, label="log10 of the difference")
