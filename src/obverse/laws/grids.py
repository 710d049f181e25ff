"""Laws of grids: the levels a sampler visits, whatever the schedule."""

from __future__ import annotations

from collections.abc import Iterator

from obverse.ground.numerics import exact
from obverse.laws.law import Compared, all_within, demand, law
from obverse.laws.problems import PATHS
from obverse.path import Level, Rescaled, Schedule
from obverse.sampler import Grid

COUNTS = (1, 2, 3, 20)


@law("grid", "it has steps + 1 levels, which fall from noise to data or rise from data to noise")
def _goes_one_way(grid: Grid) -> str:
    for path, one, levels in _visits(grid):
        demand(
            len(levels) == one.steps + 1, f"{one.label} on {path.spec} has {len(levels)} levels for {one.steps} steps"
        )
        theta = exact(levels.theta)
        onward = theta.diff() * (theta[-1] - theta[0]).sign() > 0
        i = int(onward.double().argmin())
        demand(bool(onward[i]), f"{one.label} on {path.spec} goes from {levels[i]} to {levels[i + 1]}")
    return f"on {len(PATHS)} paths"


@law("grid", "its levels lie on the path, and start no noisier than it does")
def _on_path(grid: Grid) -> str:
    def compared() -> Iterator[Compared]:
        for path, one, levels in _visits(grid):
            here = levels[exact(levels.sigma) > 0]
            there = path.at(here.t)
            off = (here.alpha - there.alpha).abs() + (here.sigma - there.sigma).abs()
            yield f"the distance of {one.label} from {path.spec}", off, 0, there.r

    return all_within(compared(), 1e-8)


@law("grid", "it ends where it says, and without noise unless it says otherwise")
def _ends(grid: Grid) -> str:
    for path, one, levels in _visits(grid):
        told, last = one.stop(path), levels[-1]
        where = f"{one.label} on {path.spec} ends at {last}"
        demand(
            float(last.alpha) == float(told.alpha) and float(last.sigma) == float(told.sigma), f"{where}, not {told}"
        )
        demand(float(last.sigma) == 0 or type(one).stop is not Grid.stop, f"{where}, which has noise")
    return f"at sigma = {float(last.sigma):.3g}"


@law("grid", "a rescaled path is visited at the same noise levels")
def _rescaled(grid: Grid) -> str:
    def compared() -> Iterator[Compared]:
        for path, one, levels in _visits(grid):
            other = one.levels(Rescaled(path, lambda t: 1 + t**2))
            yield f"an angle of {one.label} on {path.spec}", other.theta, levels.theta, 1

    return all_within(compared(), 1e-9)


def _visits(grid: Grid) -> Iterator[tuple[Schedule, Grid, Level]]:
    """The grid with several counts of steps, if it can be set, on every path."""
    for one in map(grid.resized, COUNTS) if "steps" in grid.settings() else [grid]:
        for path in PATHS:
            yield path, one, one.levels(path)
