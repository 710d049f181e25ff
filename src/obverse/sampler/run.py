"""The one loop: runs any table with any model of its schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, NonFinite
from obverse.ground.numerics import exact
from obverse.ground.shapes import check_rows
from obverse.model import Cond, Microbatched, Model
from obverse.path import Estimate, Level, Schedule
from obverse.sampler import brownian
from obverse.sampler.grids import Grid
from obverse.sampler.program import Loose, Matrix, Memory, Program
from obverse.sampler.solver import Solver
from obverse.sampler.tableau import Tableau


class Step(NamedTuple):
    """One state of a run: where it is (levels are plain floats here), and the estimate it was made from."""

    number: int
    total: int
    level: Level
    x_t: Tensor
    estimate: Estimate


@dataclass(frozen=True)
class Sampler:
    """A table, ready to run.

    Example:
        >>> from obverse.model import Gaussian
        >>> from obverse.sampler import DDIM, Uniform
        >>> oracle = Gaussian(torch.zeros(2), 0.25, "linear")
        >>> table = DDIM().tableau(oracle.schedule, Uniform(steps=5))
        >>> [step.number for step in Sampler(table).steps(oracle, torch.ones(1, 2))]
        [1, 2, 3, 4, 5]
    """

    tableau: Tableau

    def steps(
        self, model: Model, start: Tensor, *, cond: Cond = None, seed: int = 0, samples: Sequence[int] | None = None
    ) -> Iterator[Step]:
        """Run the table, state by state: a generator, so that progress bars, films and early stops are callers.

        Args:     model: a model on the table's schedule.
                  start: the first state; (batch *data); float32 or float64.
                  cond: handed to the model at every call.
                  seed, samples: whose draws stochastic methods make; samples names the rows, default 0, 1, 2 ...
        """
        yield from self._run(model, start, cond, seed, samples, every=True)

    def end(
        self, model: Model, start: Tensor, *, cond: Cond = None, seed: int = 0, samples: Sequence[int] | None = None
    ) -> Tensor:
        """The last state only, with nothing made for the others; arguments as of `steps`."""
        *_, last = self._run(model, start, cond, seed, samples, every=False)
        return last.x_t

    def _run(
        self, model: Model, start: Tensor, cond: Cond, seed: int, samples: Sequence[int] | None, every: bool
    ) -> Iterator[Step]:
        """The one loop: draws, states, call; group after group."""
        table = self.tableau.on_face(model.face)
        _agree(table, model.schedule)
        program, levels, last = table.program, table.moments, len(table.rows) - 1
        memory = memory_for(program, start, model)
        calls = model.along(table.called, start)
        spans = [table.spans[m] for m in program.draws]
        draws = brownian.draws(spans, start, seed=seed, samples=samples)
        estimate = Estimate(start, levels[0], start, table.face)  # replaced by the first call
        for number, group in enumerate(program.groups):
            for slot in group.draws:
                memory.put(slot, next(draws))
            states = memory.states(number) if number else [start]
            for place, slot in group.kept:
                memory.put(slot, states[place])
            if every or group.call is None:
                for n, x_t in zip(group.states, map(memory.own, states), strict=True):
                    if n:
                        yield Step(n, last, levels[n], x_t, estimate)
            if group.call is not None:
                output = calls[group.call](states[-1], cond)
                memory.put(group.output, output)
                if every:
                    estimate = Estimate(memory.own(states[-1]), levels[group.states[-1]], output, table.face)


def memory_for(program: Program, like: Tensor, model: Model) -> Memory:
    """The faster memory where products of float32 are what they seem and no gradient is asked for."""
    exactly = like.dtype == torch.float64 or torch.get_float32_matmul_precision() == "highest"
    if like.device.type == "cpu" and exactly and not torch.is_grad_enabled() and not isinstance(model, Microbatched):
        return Matrix(program, like)
    return Loose(program)


def _agree(table: Tableau, schedule: Schedule) -> None:
    """Refuse to run a table on a model of another schedule: it would run, and be wrong."""
    if any(schedule is known for known in table.agreed):
        return
    called = table.called
    for mine, its in ((called.alpha, schedule.alpha), (called.sigma, schedule.sigma)):
        if not torch.allclose(exact(mine), its(exact(called.t)), rtol=1e-6, atol=1e-6):
            raise InvalidArgument(
                f"This table is of another schedule than the model's, {schedule.label}: make it with "
                f"solver.tableau(model.schedule, grid), or run model.on(schedule)."
            )
    table.agreed.append(schedule)


def sample(
    model: Model,
    shape: Sequence[int],
    *,
    solver: Solver | str = "dpmpp-2m",
    steps: int | None = None,
    grid: Grid | str = "angle",
    eta: float | None = None,
    cond: Cond = None,
    seed: int = 0,
    samples: Sequence[int] | None = None,
    microbatch: int | None = None,
    start: Tensor | None = None,
    watch: Callable[[Step], object] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw samples from a model.

    Args:     model: any model; its schedule decides the path.
              shape: (batch *data).
              solver: a name, a spec or a Solver; `obverse list` shows them. dpmpp-2m: most exact for its calls.
              steps: how many the grid has; default the grid's own.
              grid: a name, a spec or a Grid; angle: the same noise levels whatever the schedule.
              eta: shorthand for the eta of a solver that has one: 0 an ODE, 1 DDPM.
              cond: handed to the model; one row for each sample.
              seed: one noise path for each (seed, sample), whatever the batch.
              samples: who the rows are; (batch,); default 0, 1, 2 ...
              microbatch: call the network at this one, padded batch size: all bits of sample i are then its own.
              start: the first state, in place of fresh noise; (batch *data).
              watch: called with every Step, for bars and films; `Sampler.steps` is the same as a generator.
              dtype: of the result; states are never kept in less than float32.
              device: where states are kept; default where the model's parameters are.
    Returns:  samples; (batch *data).
    Raises:   UnknownName, InvalidArgument for arguments outside their range; SingularConversion when the model's
              prediction cannot start or end where the grid does; NonFinite naming the step.

    Example:
        >>> from obverse.model import Gaussian
        >>> oracle = Gaussian(torch.zeros(2), 0.25, "linear")
        >>> x = sample(oracle, (4, 2), solver="ddim", steps=8, seed=0)
        >>> bool((sample(oracle, (2, 2), solver="ddim", steps=8, seed=0) == x[:2]).all())
        True
    """
    _check(shape, dtype, cond, samples)
    grid = Grid.of(grid) if steps is None else Grid.of(grid).resized(steps)
    model = model if microbatch is None else Microbatched(model, microbatch)
    table = _tableau(_strong(Solver.of(solver), eta), model.schedule, grid)
    inner = dtype if dtype in (torch.float32, torch.float64) else torch.float32
    if start is None:
        place = model.device if device is None else device
        start = noise.normal(shape, seed=seed, purpose="start", samples=samples, dtype=inner, device=place)
        start = start * float(exact(table.levels.sigma)[0])
    elif tuple(start.shape) != tuple(shape):
        raise InvalidArgument(f"start has the shape of the samples, {tuple(shape)}, got {tuple(start.shape)}.")
    x = start = start.to(inner)
    with torch.no_grad():
        if watch is None:
            x = Sampler(table).end(model, start, cond=cond, seed=seed, samples=samples)
        else:
            for step in Sampler(table).steps(model, start, cond=cond, seed=seed, samples=samples):
                x = step.x_t
                watch(step)
        if not bool(x.isfinite().all()):
            _diagnose(Sampler(table).steps(model, start, cond=cond, seed=seed, samples=samples))
    return x.to(dtype)


@lru_cache(maxsize=32)
def _tableau(solver: Solver, schedule: Schedule, grid: Grid) -> Tableau:
    """Made once: a table does not depend on model, batch or seed."""
    return solver.tableau(schedule, grid)


def _check(shape: Sequence[int], dtype: torch.dtype, cond: Cond, samples: Sequence[int] | None) -> None:
    if len(shape) < 2 or min(shape) < 1:
        raise InvalidArgument(f"shape is (batch *data), every size >= 1, got {tuple(shape)} (vectors: (64, 2)).")
    if not dtype.is_floating_point:
        raise InvalidArgument(f"dtype is a floating-point type, got {dtype} (torch.float32).")
    if samples is not None and len(samples) != shape[0]:
        raise InvalidArgument(f"samples names every row once: expected {shape[0]} of them, got {len(samples)}.")
    check_rows(cond, shape[0])


def _strong(solver: Solver, eta: float | None) -> Solver:
    """The solver with the eta asked for."""
    if eta is None:
        return solver
    if "eta" not in solver.settings():
        raise InvalidArgument(f"Solver {solver.name!r} has no eta; stochastic ones have (solver='sde').")
    return replace(solver, eta=eta)  # type: ignore[type-var]


def _diagnose(run: Iterator[Step]) -> None:
    """Replay, since a run is a function of its seed, and say where it left the finite numbers."""
    for step in run:
        output = ("the network's output", step.estimate.output, step.estimate.level)
        for name, value, level in (output, ("the state", step.x_t, step.level)):
            bad = (~value.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
            if bad:
                raise NonFinite(
                    f"Step {step.number} of {step.total}: {name} is not finite at {level}, first in row {bad[0]} "
                    f"({len(bad)} of {len(value)} rows). Check the model's precision and its convention of time."
                )
    raise NonFinite("The samples were not finite, yet a replay was: the network is not deterministic.")
