"""Which of our members a table is, if any."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from obverse.ground.errors import ObverseError
from obverse.ground.numerics import exact
from obverse.path import Level, Schedule, join
from obverse.sampler import Grid, Solver, Tableau
from obverse.sampler.comparison import Comparison, compare
from obverse.sampler.remarks import reached, without_waste

TRIED: Mapping[str, Sequence[str]] = {
    "face": ("data", "noise", "flow"),
    "clock": ("logsnr", "nsr"),
    "eta": ("0.5", "1"),
    "memory": ("1", "2", "3", "4"),
    "stages": ("1", "2", "3"),
    "predictor": ("1", "2", "3"),
    "corrector": ("0", "1", "2", "false", "true"),
    "start": ("ramp",),
    "starter": ("heun", "none"),
    "table": ("midpoint", "heun", "rk4"),
    "undone": ("0", "1"),
    "variance": ("large",),
    "variant": ("bh1",),
}  # settings worth trying; what a member refuses is left out
SAME = 1e-10  # their loops' last digits, a few operations from ours
TRIAL = "uniform:steps=6,start=0.9,end=0.1"  # on which it is seen how often a member calls, and whether it draws


@dataclass(frozen=True)
class Visited(Grid):
    """The levels that a table visits, as a grid."""

    at: Level
    to: Level

    @property
    def steps(self) -> int:  # type: ignore[override]
        """As many as there are calls' levels."""
        return len(self.at)

    def calls(self, schedule: Schedule) -> Level:
        return self.at

    def stop(self, schedule: Schedule) -> Level:
        return self.to


@dataclass(frozen=True)
class Match:
    """A member beside a table.

    Args:     solver: the member.
              comparison: the table first, the member's on the same levels second.
              told: whether levels are those the network is told; False: those that the states have.
    """

    solver: Solver
    comparison: Comparison
    told: bool = True


def match(table: Tableau, schedule: Schedule) -> Match | None:
    """The member that a table is, or the nearest one with as many calls; None where there is none.

    Args:     table: of any origin.
              schedule: the path it is on.
    Example:
        >>> from obverse.path import Linear
        >>> from obverse.sampler import DPMpp2M
        >>> found = match(DPMpp2M().tableau("linear", "angle:steps=5"), Linear())
        >>> found.solver.spec, found.comparison.same
        ('dpmpp-2m', True)
    """
    table = without_waste(table)
    best = _best(table, schedule, told=True)
    if best is None or not best.comparison.same:
        moved = settled(table)
        again = None if moved is table else _best(moved, schedule, told=False)
        best = again if again is not None and (best is None or again.comparison.same) else best
    return best


def settled(table: Tableau) -> Tableau:
    """The table with every level where its state really is: as if the network had been told the truth."""
    there = [*reached(table)[:-1], table.moments[-1]]
    off = max(abs(a.theta - b.theta) for a, b in zip(there, table.moments, strict=True))
    return table if off < SAME else replace(table, levels=join(*there))


def _best(table: Tableau, schedule: Schedule, told: bool) -> Match | None:
    found: Match | None = None
    for grid in grids(table):
        for solver, once, draws in members():
            if draws != bool(table.draws) or (grid.steps == table.calls) < once:
                continue  # one that calls once a step needs every level
            try:
                ours = solver.tableau(schedule, grid)
                if ours.calls != table.calls:
                    continue
                comparison = compare(table, ours, SAME)
                nearer = found is None or comparison.difference < found.comparison.difference
            except (ObverseError, ArithmeticError, ValueError):  # a member that cannot walk these levels
                continue
            if nearer:
                found = Match(solver, comparison, told)
            if comparison.same:
                return found
    return found


def grids(table: Tableau) -> Iterator[Grid]:
    """The table's levels as grids: all; every second or third, for methods that call in between; or the first so."""
    last, levels = table.moments[-1], [table.moments[state] for state in table.reads]
    fresh = [level for n, level in enumerate(levels) if n == 0 or abs(level.theta - levels[n - 1].theta) > SAME]
    for kept in (fresh, fresh[::2], fresh[::3], fresh[:6:2] + fresh[6:]):  # PNDM: three Runge-Kutta steps, then lines
        falls = all(a.theta > b.theta for a, b in itertools.pairwise([*kept, last]))
        if falls:
            yield Visited(join(*kept), Level(*(exact(value) for value in dataclasses.astuple(last))))


@cache
def members() -> Sequence[tuple[Solver, bool, bool]]:
    """The solvers with settings worth trying, plainest first; whether each calls once a step; whether it draws."""
    found: dict[str, tuple[int, Solver]] = {}
    for name, member in Solver.members.items():
        fields = [field for field in TRIED if field in member.settings()]
        options = [["", *(f"{field}={value}" for value in TRIED[field])] for field in fields]
        for chosen in itertools.product(*options):
            settings = [setting for setting in chosen if setting]
            solver = _made(":".join([name, ",".join(settings)]) if settings else name)
            if solver is not None:
                found.setdefault(solver.spec, (len(settings), solver))
    plainest = [solver for _, solver in sorted(found.values(), key=lambda pair: pair[0])]
    tried = [(solver, _tried(solver)) for solver in plainest]
    return tuple((solver, table.calls == 6, bool(table.draws)) for solver, table in tried if table is not None)


def _made(spec: str) -> Solver | None:
    try:
        return Solver.of(spec)
    except (ObverseError, TypeError):
        return None


def _tried(solver: Solver) -> Tableau | None:
    try:
        return solver.tableau("cosine", TRIAL)
    except (ObverseError, ArithmeticError, ValueError):
        return None
