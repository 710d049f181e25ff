"""The file of a tableau: what it is made of, as JSON; numbers keep all their digits."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TypeAlias

import torch

from obverse.ground.errors import InvalidArgument, require
from obverse.ground.numerics import exact
from obverse.path import Level, Prediction
from obverse.sampler.brownian import Span
from obverse.sampler.program import Register, Row

FORMAT = 2
_COLUMNS = ("t", "alpha", "sigma", "alpha_dot", "sigma_dot")  # of levels

Parts: TypeAlias = tuple[Level, tuple[Row, ...], tuple[int, ...], Prediction, tuple[Span, ...]]


def write(path: str | Path, parts: Parts) -> None:
    """Write what a Tableau is made of, in its order."""
    levels, rows, reads, face, spans = parts
    file = {
        "obverse-tableau": FORMAT,
        "face": face.spec,
        "reads": reads,
        "levels": [exact(getattr(levels, name)).expand(len(rows)).tolist() for name in _COLUMNS],
        "rows": [[[*key, number] for key, number in row.items()] for row in rows],
        "spans": spans,
    }
    Path(path).write_text(json.dumps(file))


def read(path: str | Path) -> Parts:
    """The parts that were written.

    Raises:   InvalidArgument when the file is something else, newer or damaged.
    """
    try:
        file = json.loads(Path(path).read_bytes())
    except ValueError:
        file = None
    version = file.get("obverse-tableau") if isinstance(file, dict) else None
    if version != FORMAT:
        raise InvalidArgument(f"{path} is no tableau of format {FORMAT}: found {version}.")
    try:
        levels = Level(*(torch.tensor(column, dtype=torch.float64) for column in file["levels"]))
        rows = tuple({Register(kind, index): number for kind, index, number in row} for row in file["rows"])
        reads, face = tuple(file["reads"]), Prediction.of(file["face"])
        spans = tuple(None if span is None else (span[0], span[1]) for span in file["spans"])
        _check(levels, rows, reads, len(spans))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidArgument(f"{path} is a damaged tableau: {type(error).__name__}: {error}.") from error
    return levels, rows, reads, face, spans


def _check(levels: Level, rows: tuple[Row, ...], reads: tuple[int, ...], draws: int) -> None:
    """Refuse rows that read what is not there yet, and numbers that are none."""
    count = len(rows)
    states = all(exact(getattr(levels, name)).shape == (count,) for name in _COLUMNS)
    require(states and not rows[0], f"{count} states want a level each, and the first one no row")
    once = len({*reads}) == len(reads) and all(0 <= n < count for n in reads)
    require(once, f"each call reads a state of its own, not {reads}")
    for n, row in enumerate(rows):
        known = {"e": range(n), "o": [j for j, state in enumerate(reads) if state < n], "xi": range(draws)}
        for (kind, place), number in row.items():
            require(place in known[kind], f"state {n} is made of {kind}{place}, which is not there yet")
            require(math.isfinite(number), f"state {n} has {number} times {kind}{place}")
