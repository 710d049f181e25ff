"""Curves in letters and numbers: on a terminal, and in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def curves(values: Mapping[str, Tensor], top: float, height: int) -> list[str]:
    """Curves of a letter each, * where several meet, a column a value: lines from the top, which is named, to 0."""
    width = max(map(len, values.values()))
    canvas = [[" "] * width for _ in range(height)]
    for letter, curve in values.items():
        heights = (curve / top * (height - 1)).nan_to_num(posinf=1e9).round().long()
        for column, value in enumerate(heights.clamp(max=height - 1).tolist()):
            row = canvas[height - 1 - value]
            row[column] = letter if row[column] == " " else "*"
    return [f"{'' if number else format(top, '.3g'):>8} |{''.join(row)}" for number, row in enumerate(canvas)]


def cell(value: float) -> str:
    """A number of a table; - for one that has no value."""
    return f"{'-' if value != value else format(value, '.5g'):>12}"


def plain(values: list[float]) -> list[float | str]:
    """JSON has no infinity."""
    return [value if abs(value) < float("inf") else str(value) for value in values]
