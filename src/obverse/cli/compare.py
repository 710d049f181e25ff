"""`obverse compare A B`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from obverse.cli.console import Talk, parse
from obverse.ground.errors import InvalidArgument

if TYPE_CHECKING:
    from obverse.path import Schedule
    from obverse.sampler import Tableau

Subject = Annotated[str | None, tyro.conf.Positional]
EVERYTHING = "diffusers"


@dataclass(frozen=True, kw_only=True)
class Compare(Talk):
    """Say whether two samplers are the same algorithm, and if not, where they part.

    A and B are solvers (dpmpp-2m, sde:eta=0.5), files that a tableau was saved in, or schedulers of diffusers with
    their settings (diffusers:DDIMScheduler,timestep_spacing=trailing). Beside a scheduler of diffusers, a solver
    visits that scheduler's levels unless told otherwise. `obverse compare diffusers` goes through all of them.

    Args:
        a: one of the two.
        b: the other.
        schedule: the path that solvers are on; default the other's, else linear.
        steps: how many steps.
        grid: the levels that solvers visit; default the other's, else uniform.
        tolerance: what still counts as equal, in entries of order 1.
        out: also draw both, as OUT.svg or OUT.png; with diffusers, write the report there.
    """

    a: Subject = None
    b: Subject = None
    schedule: str | None = None
    steps: int = 10
    grid: str | None = None
    tolerance: float = 1e-10
    out: Path | None = None


def main(argv: list[str]) -> int:
    """Compare; exit code 0 for the same, 1 for different ones."""
    options: Compare = parse(Compare, argv, "compare")
    if options.a == EVERYTHING and options.b is None:
        return _all(options)
    if options.a is None or options.b is None:
        raise InvalidArgument(f"compare takes two samplers, or {EVERYTHING!r} for all of diffusers (--help).")

    from obverse.sampler.comparison import compare

    one, two = _tables(options)
    found = compare(one, two, options.tolerance)
    text = found.words(options.a, options.b)
    values: dict[str, Any] = {"same": found.same, "difference": found.difference, "first": found.first}
    values |= {"calls": [one.calls, two.calls], "draws": [one.draws, two.draws], "words": text.splitlines()}
    if options.out is not None:
        from obverse.report.tables import picture

        drawn = picture(found, (options.a, options.b), options.out)
        text, values = f"{text}\ndrawn in {drawn}", {**values, "out": str(drawn)}
    options.result(text, values)
    return 0 if found.same else 1


def _tables(options: Compare) -> tuple[Tableau, Tableau]:
    """Both tables; a solver takes what is not said from the other."""
    assert options.a is not None and options.b is not None
    given = [_given(spec, options.steps) for spec in (options.a, options.b)]
    known = next((found for found in given if found is not None), None)
    made = [
        found[0] if found is not None else _made(spec, options, known)
        for found, spec in zip(given, (options.a, options.b), strict=True)
    ]
    return made[0], made[1]


def _given(spec: str, steps: int) -> tuple[Tableau, Schedule | None] | None:
    """A table that is there already, with its schedule if that is known; None for a solver."""
    if spec.startswith("diffusers:"):
        from obverse.interop import foreign

        seen = foreign(spec).look(steps)
        return seen.tableau, seen.schedule
    if Path(spec).suffix == ".json":
        from obverse.sampler import Tableau

        if not Path(spec).exists():
            raise InvalidArgument(f"There is no file {spec}.")
        return Tableau.load(spec), None
    return None


def _made(spec: str, options: Compare, other: tuple[Tableau, Schedule | None] | None) -> Tableau:
    from obverse.sampler import Grid, Solver

    solver, beside = Solver.of(spec), None if other is None else other[1]
    if other is not None and beside is not None and options.schedule is None and options.grid is None:
        tables = list(_on_levels(solver, other[0], beside))
        if tables:
            return next((table for table in tables if table.calls == other[0].calls), tables[0])
    schedule = options.schedule or beside or "linear"
    grid = Grid.of(options.grid or "uniform")
    return solver.tableau(schedule, Grid.sized(grid, options.steps) if "steps" in grid.settings() else grid)


def _on_levels(solver: Any, table: Tableau, schedule: Schedule) -> Iterator[Tableau]:
    """The solver on the levels that a table visits."""
    from obverse.ground.errors import ObverseError
    from obverse.interop.match import grids

    for grid in grids(table):
        try:
            yield solver.tableau(schedule, grid)
        except ObverseError:
            continue


def _all(options: Compare) -> int:
    from obverse.report.schedulers import findings, page

    found = []
    for finding in findings(options.steps):
        options.say(f"{finding.name:<44} {finding.verdict}")
        found.append(finding)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(page(found, options.steps))
    known = sum(finding.same for finding in found)
    text = f"{known} of {len(found)} are members of ours" + (f"; written to {options.out}" if options.out else "")
    options.result(text, {"found": [finding.to_json() for finding in found]})
    return 0
