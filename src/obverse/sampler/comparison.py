"""Whether two tables are one algorithm, and if not, where they part (T39)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.sampler.remarks import remarks
from obverse.sampler.tableau import SAME, Canonical, Tableau

WORDS = (  # of a Parting
    "the level by {:.2g} in angle",
    "the weight of the start by {:.2g}",
    "the weights of outputs by {:.2g}",
    "the covariance of the noise by {:.2g}",
)


class Parting(NamedTuple):
    """How far two calls, or the two ends, are apart: angles, weights of the start and of outputs, covariances."""

    level: float
    start: float
    outputs: float
    noise: float


@dataclass(frozen=True)
class Comparison:
    """What two tables have in common.

    Args:     one, two: the tables.
              tolerance: what still counts as equal, in canonical entries, which are of order 1.
    Example:
        >>> from obverse.sampler import DDIM, Euler
        >>> compare(DDIM().tableau("linear", "uniform"), Euler().tableau("linear", "uniform")).same
        True
    """

    one: Tableau
    two: Tableau
    tolerance: float = SAME

    def __post_init__(self) -> None:
        for table in (self.one, self.two):
            if not isinstance(table, Tableau):
                raise InvalidArgument(
                    f"compare takes tables, got {type(table).__name__} (a solver makes one on a schedule and a grid: "
                    f"Solver.of('ddim').tableau('linear', 'uniform'); `obverse compare` takes names)."
                )

    @property
    def same(self) -> bool:
        """Whether they are one algorithm."""
        return self.difference <= self.tolerance

    @property
    def difference(self) -> float:
        """The largest of all differences; infinite if the numbers of calls differ."""
        return max((max(parting) for parting in self.partings), default=float("inf"))

    @cached_property
    def partings(self) -> list[Parting]:
        """Call by call, and last at the end, how far they are apart; empty if the numbers of calls differ."""
        if self.one.calls != self.two.calls:
            return []
        a, b = self.forms
        noise = (a.draws @ a.draws.T - b.draws @ b.draws.T).abs()
        noise = torch.stack([noise[: n + 1, n].max() for n in range(len(noise))])
        columns = ((a.angles - b.angles).abs(), (a.start - b.start).abs(), _rows(a.outputs - b.outputs), noise)
        return [Parting(*row) for row in torch.stack(columns, dim=1).tolist()]

    @cached_property
    def forms(self) -> tuple[Canonical, Canonical]:
        """The two canonical forms."""
        return self.one.canonical(), self.two.canonical()

    @property
    def first(self) -> int | None:
        """The first call whose level or input differs, from 1; calls + 1 is the end; None where none does."""
        return next((n for n, parting in enumerate(self.partings, 1) if max(parting) > self.tolerance), None)

    def words(self, one: str = "the first", two: str = "the second") -> str:
        """Whether they are the same, and if not where they part, in sentences, one a line."""
        return "\n".join(_sentences(self, one, two))


def compare(one: Tableau, two: Tableau, tolerance: float = SAME) -> Comparison:
    """Whether two tables are one algorithm, and where they part.

    Args:     one, two: any tables; of any schedules, faces and grids.
              tolerance: what still counts as equal; 1e-5 for numbers that were kept in float32.
    Example:
        >>> from obverse.sampler import DDIM, SDE
        >>> apart = compare(DDIM().tableau("cosine", "uniform:steps=4"), SDE().tableau("cosine", "uniform:steps=4"))
        >>> apart.same, apart.first
        (False, 2)
    """
    return Comparison(one, two, tolerance)


def _sentences(them: Comparison, one: str, two: str) -> Iterator[str]:
    a, b = them.one, them.two
    if them.same:
        number = f"{them.difference:.2g}" if them.difference else "0"
        yield f"They are the same algorithm: {a.calls} calls, largest difference {number}."
        return
    if a.calls != b.calls:
        yield f"They are different algorithms: {one} makes {a.calls} calls, {two} {b.calls}."
        yield from _lengths(a, b, one, two)
    else:
        first = them.first
        assert first is not None
        where = "at the end" if first > a.calls else f"at call {first} of {a.calls}"
        yield f"They are different algorithms. They part {where}: {_ways(them, first - 1)}."
        if first <= a.calls:
            yield f"At the end: {_ways(them, -1) or 'nothing differs'}."
    if bool(a.draws) != bool(b.draws):
        still, moving = (one, two) if b.draws else (two, one)
        yield f"Only {moving} draws noise ({max(a.draws, b.draws)} draws); {still} draws none."
    for name, table in ((one, a), (two, b)):
        for remark in remarks(table):
            yield f"{name}: {remark}."


def _lengths(a: Tableau, b: Tableau, one: str, two: str) -> Iterator[str]:
    """Up to where tables of different lengths visit the same levels."""
    ours, theirs = (table.canonical().angles[:-1] for table in (a, b))
    common = min(len(ours), len(theirs))
    apart = ((ours[:common] - theirs[:common]).abs() > 1e-9).nonzero().flatten().tolist()
    shorter, longer = (one, two) if a.calls < b.calls else (two, one)
    if apart:
        n = apart[0]
        yield f"Call {n + 1} is at angle {float(ours[n]):.6g} in {one}, {float(theirs[n]):.6g} in {two}."
    else:
        yield f"The levels of {shorter} are those that {longer} begins with."


def _rows(difference: Tensor) -> Tensor:
    """The largest of each row."""
    return difference.abs().max(dim=1).values if difference.shape[1] else torch.zeros(len(difference))


def _ways(them: Comparison, call: int) -> str:
    """What differs at a call, and by how much."""
    sizes = zip(WORDS, them.partings[call], strict=True)
    return ", ".join(words.format(size) for words, size in sizes if size > them.tolerance)
