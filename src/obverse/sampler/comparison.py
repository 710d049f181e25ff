"""Whether two tables are one algorithm, and if not, where they part (T39)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.path import Level
from obverse.sampler.program import Register
from obverse.sampler.tableau import SAME, Canonical, Tableau

TOLD = 1e-4  # an angle that a network could notice: a tenth of an index of DDPM's, where these are closest
LITTLE = 0.05  # an angle; whole steps of coarse grids are several times that
CLEAN = 1e-9  # noise below is what rounding left
PARTS = ("level", "start", "outputs", "noise")


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


def reached(table: Tableau, start: Level | None = None) -> list[Level]:
    """Where the states of a run are when all data is one point: alpha and sigma as they are, not as they are called.

    A consistent method arrives where its levels say. Where a network is told another level, by little it is taken to
    answer for the state that it sees, by much for the level that it is told.

    Args:     table: any; its levels are what networks are told.
              start: where the first state is, if not where the table says.
    """
    there = _propagated(table, start, told=False)
    return there if max(_off(table, there), default=0.0) < LITTLE else _propagated(table, start, told=True)


def _off(table: Tableau, there: list[Level]) -> list[float]:
    """By which angle each call's level is wrong."""
    return [abs(there[n].theta - table.moments[n].theta) for n in table.reads]


def _propagated(table: Tableau, start: Level | None, told: bool) -> list[Level]:
    unit = torch.eye(2 + table.draws, dtype=torch.float64)  # the data, the source, each draw
    held = {Register("xi", m): unit[2 + m] for m in range(table.draws)}
    calls: dict[int, list[int]] = {}
    for j, n in enumerate(table.reads):
        calls.setdefault(n, []).append(j)
    found = []
    for n, (level, row) in enumerate(zip(table.moments, table.rows, strict=True)):
        here = start if start is not None and n == 0 else level
        state = here.alpha * unit[0] + here.sigma * unit[1]
        if n:
            state = sum((number * held[key] for key, number in row.items()), start=torch.zeros_like(unit[0]))
        held[Register("e", n)], rest = state, state.clone()
        rest[0] = 0.0
        found.append(replace(level, alpha=float(state[0]), sigma=float(rest.norm())))
        at = level if told else found[-1]
        for j in calls.get(n, ()):
            a, b = table.face.row(at)
            eps = (state - at.alpha * unit[0]) / at.sigma if at.sigma else torch.zeros_like(state)
            held[Register("o", j)] = float(a) * unit[0] + float(b) * eps
    return found


def wasted(table: Tableau) -> list[int]:
    """Calls that no later state depends on, from 1."""
    used = {key.place for row in table.rows for key, number in row.items() if key.kind == "o" and number != 0}
    return [j + 1 for j in range(table.calls) if j not in used]


def without_waste(table: Tableau) -> Tableau:
    """The same algorithm without the calls that nothing depends on."""
    kept = [j for j in range(table.calls) if j + 1 not in wasted(table)]
    place = {Register("o", j): Register("o", n) for n, j in enumerate(kept)}
    rows = tuple({place.get(key, key): number for key, number in row.items()} for row in table.rows)
    return replace(table, rows=rows, reads=tuple(table.reads[j] for j in kept))


def remarks(table: Tableau, slack: float = 1e-6) -> Iterator[str]:
    """What is worth knowing about one table by itself.

    Args:     slack: in angle, in noise and in weights; what is smaller is not worth it.
    """
    there, end = reached(table), table.moments[-1]
    if end.sigma > slack * end.alpha:
        yield f"it stops at sigma/alpha = {end.nsr:.3g} instead of 0"
    off = _off(table, there)
    if max(off, default=0.0) > TOLD:
        worst = table.reads[off.index(max(off))]
        times = (
            f"at {sum(o > TOLD for o in off)} of {len(off)} calls the network is told another level than the state's"
        )
        yield f"{times}, at worst sigma/alpha = {table.moments[worst].nsr:.4g} for {there[worst].nsr:.4g}"
    for j in wasted(table):
        yield f"call {j} is wasted: nothing depends on it"
    weights = table.weights("v")[0].abs() if table.calls else torch.zeros(0)
    if table.calls and table.calls not in wasted(table) and weights[-1] < 1e-2 * weights.max():
        yield f"the last call is all but wasted: its weight is {float(weights[-1] / weights.max()):.2g} of the largest"


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
        parting, worst = them.partings[first - 1], them.partings[-1]
        where = "at the end" if first > a.calls else f"at call {first} of {a.calls}"
        ways = ", ".join(_way(name, size) for name, size in zip(PARTS, parting, strict=True) if size > them.tolerance)
        yield f"They are different algorithms. They part {where}: {ways}."
        if first <= a.calls:
            ways = ", ".join(_way(name, size) for name, size in zip(PARTS, worst, strict=True) if size > them.tolerance)
            yield f"At the end: {ways or 'nothing differs'}."
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
    return difference.abs().max(dim=1).values if difference.shape[1] else torch.zeros(len(difference))


def _way(name: str, size: float) -> str:
    words = {
        "level": "the level by {} in angle",
        "start": "the weight of the start by {}",
        "outputs": "the weights of outputs by {}",
        "noise": "the covariance of the noise by {}",
    }
    return words[name].format(f"{size:.2g}")
