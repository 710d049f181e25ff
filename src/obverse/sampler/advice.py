"""Which method to sample a model with: all of them measured on it, and the best for every budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, ObverseError
from obverse.model import Cond, Model
from obverse.path import Schedule
from obverse.sampler.grids import Grid
from obverse.sampler.sizes import told
from obverse.sampler.solvers.solver import Solver
from obverse.sampler.tableau import SAME, Tableau
from obverse.sampler.truth import Errors, Truth, beginning, check_noise, truth

CALLS = (4, 6, 8, 12, 16, 24, 32)
GRIDS = ("scales", "angle:power=1.5", "angle:power=2", "angle:power=3", "karras", "uniform")
HEAT = 16  # samples on which all are tried; only the best see the others
KEPT = 6  # of a heat

Watch = Callable[[str, int, int, Errors | None], object]
Make = Callable[[int], tuple[int, Tableau] | None]


class Contender(NamedTuple):
    """A method at a budget.

    Args:     solver, grid, steps: what it is: specs, and the grid's steps.
              table: what it runs.
              errors: once measured.
              make: the same method within another budget of calls: steps and table, or None where there is none.
    """

    solver: str
    grid: str
    steps: int
    table: Tableau
    make: Make
    errors: Errors = Errors(math.nan, math.nan, math.nan)

    @property
    def calls(self) -> int:
        """Network calls for a sample."""
        return self.table.calls

    @property
    def label(self) -> str:
        """Solver and grid in words."""
        return f"{self.solver} on {self.grid}"


@dataclass(frozen=True)
class Advice:
    """What was measured on one model.

    Args:     contenders: the best few at every budget, measured on all the noise, most exact first.
              tried: how many different methods ran at all.
              truth: what they were measured against.
    """

    contenders: tuple[Contender, ...]
    tried: int
    truth: Truth

    @property
    def front(self) -> tuple[Contender, ...]:
        """For rising calls, those that nothing cheaper or as cheap beats: the Pareto front."""
        best: list[Contender] = []
        for one in sorted(self.contenders, key=lambda one: (one.calls, one.errors.score)):
            if not best or one.errors.score < best[-1].errors.score:
                best.append(one)
        return tuple(best)

    def within(self, calls: int) -> Contender:
        """The most exact method of at most so many calls.

        Raises:   InvalidArgument for fewer calls than any method was measured at.
        """
        able = [one for one in self.front if one.calls <= calls]
        if not able:
            raise InvalidArgument(f"Nothing was measured at {calls} calls; the least is {self.front[0].calls}.")
        return able[-1]


def advise(
    model: Model,
    noise: Tensor,
    calls: Sequence[int] = CALLS,
    *,
    cond: Cond = None,
    grids: Sequence[Grid | str] = GRIDS,
    watch: Watch | None = None,
) -> Advice:
    """Measure every deterministic member, at its default settings, on one's own model.

    Error is the distance to the end of the model's own probability flow from the same noise; median times rms decides.
    All run on 16 samples first; the best six of each budget on all of them.

    Args:     model: guided and on the schedule as it will be sampled.
              noise: standard normal; (batch *data); 128 tell methods apart.
              calls: budgets, network calls for a sample.
              cond: one row for each sample.
              grids: those that every solver is tried on.
              watch: called with (what is done, how much of it, of how much, None).
    Raises:   InvalidArgument for noise or budgets that cannot be.
    Example:
        >>> import torch; from obverse.model import Gaussian
        >>> oracle = Gaussian(torch.zeros(2), 0.25, "linear")
        >>> found = advise(oracle, torch.randn(16, 2, generator=torch.manual_seed(0)), [4, 8])
        >>> found.within(8).errors.rms < found.within(4).errors.rms
        True
    """
    check_noise(noise, 2)
    if not calls or min(calls) < 1:
        raise InvalidArgument(f"calls are budgets >= 1, got {list(calls)} (try 4, 8, 16, 32).")
    tell(watch, "reference", 0, 1)
    known, found, tried = truth(model, noise, cond), list[Contender](), 0
    for number, budget in enumerate(sorted(set(calls))):
        tell(watch, "methods", number, len(set(calls)))
        best, count = race(known, budget, grids)
        found, tried = found + best, tried + count
    tell(watch, "methods", len(set(calls)), len(set(calls)))
    return Advice(tuple(found), tried, known)


def tell(watch: Watch | None, what: str, done: int, total: int, errors: Errors | None = None) -> None:
    """Say how far things are to whoever wants to know."""
    if watch is not None:
        watch(what, done, total, errors)


def race(known: Truth, calls: int, grids: Sequence[Grid | str] = GRIDS) -> tuple[list[Contender], int]:
    """The best of all members at a budget, most exact first, and how many ran."""
    everyone = list(contenders(known, calls, grids))
    if not everyone:
        raise InvalidArgument(f"No method fits into {calls} calls on these grids.")
    first = known.rows(slice(0, HEAT))
    best = ranked(first, everyone)[:KEPT]
    return ranked(known, best), len(everyone)


def ranked(known: Truth, those: Iterable[Contender]) -> list[Contender]:
    """Contenders measured, most exact first."""
    measured = [one._replace(errors=known.errors(one.table)) for one in those]
    return sorted(measured, key=lambda one: one.errors.score)


def contenders(known: Truth, calls: int, grids: Sequence[Grid | str] = GRIDS) -> Iterator[Contender]:
    """Every deterministic member on every grid, in as many steps as the calls allow; equal tables once."""
    seen: list[Tensor] = []
    schedule, begin, size = known.model.schedule, beginning(known.model), math.prod(known.noise.shape[1:])
    for solver in (told(member, size) for member in _members()):
        for grid in (told(Grid.of(spec), size) for spec in grids):
            grid = replace(grid, start=begin) if "start" in grid.settings() else grid  # type: ignore[type-var]
            make = partial(largest, solver, schedule, grid)
            fitting = make(calls)
            if fitting is None:
                continue
            form = _form(fitting[1])
            if not any(form.shape == other.shape and float((form - other).abs().max()) <= SAME for other in seen):
                seen.append(form)
                yield Contender(solver.spec, grid.spec, *fitting, make)


def _form(table: Tableau) -> Tensor:
    """Numbers that are the same for the same deterministic method."""
    angles, start, outputs, _ = table.canonical()
    return torch.cat([angles, start, outputs.flatten()])


def _members() -> list[Solver]:
    made = []
    for member in Solver.members.values():
        try:
            made.append(member())
        except (TypeError, ObverseError):  # a field without default: nothing to try it with
            continue
    return made


def largest(solver: Solver, schedule: Schedule, grid: Grid, calls: int) -> tuple[int, Tableau] | None:
    """The most steps whose table needs no more calls, and it; None where there is none, or it draws."""
    steps = calls
    while steps >= 1:
        try:
            table = solver.tableau(schedule, grid.resized(steps))
        except ObverseError:  # what a member cannot do on this schedule or grid, it says; it does not compete
            return None
        if table.draws:
            return None
        if table.calls <= calls:
            return steps, table
        steps = min(steps - 1, math.ceil(steps * calls / table.calls))
    return None
