"""From noise to samples: start, run, and what is known of the run afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.model import Cond, Microbatched, Model
from obverse.path import Level, Schedule
from obverse.sampler.asked import alone, check, diagnose, with_eta
from obverse.sampler.grids import Grid
from obverse.sampler.run import Sampler, Step
from obverse.sampler.sizes import told
from obverse.sampler.solvers.solver import Solver
from obverse.sampler.start import fresh
from obverse.sampler.tableau import Tableau
from obverse.sampler.tolerance.adaptive import Adaptive
from obverse.sampler.tolerance.outcome import AdaptiveRun
from obverse.sampler.trajectory import Trajectory

GRID = "scales"  # of the default solver
ADAPTIVE = "An adaptive solver chooses its own steps: leave {} out; `adaptive` has watch and dense."
COMPLETE = "A tableau is complete: leave {} out."


class Ledger(NamedTuple):
    """What a run has cost.

    rounds: model calls, one after the other. calls: network evaluations for each sample, guidance's second one counted.
    evaluations: those of all samples.
    """

    rounds: int
    calls: int
    evaluations: int

    @classmethod
    def of(cls, run: AdaptiveRun, passes: int) -> Ledger:
        """What an adaptive run has cost: the calls are those of the sample that took most.

        Args:     passes: of the network for each call of the model, as `Model.passes`.
        """
        return cls(run.rounds, int(run.calls.max()) * passes, run.evaluations)


@dataclass(frozen=True)
class Sampled:
    """Samples and how they came about.

    x: (batch *data). ledger: what they cost. trajectory: every state and estimate on the way, if it was asked for.
    """

    x: Tensor
    ledger: Ledger
    trajectory: Trajectory | None


def sample(
    model: Model,
    shape: Sequence[int],
    *,
    solver: Solver | Adaptive | Tableau | str = "thrifty",
    steps: int | None = None,
    grid: Grid | str = GRID,
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
              solver: a name, a spec or a Solver; `obverse list` shows them. thrifty: most exact for its calls. Or a
                  Tableau that is already made, or an adaptive one (adaptive:rtol=1e-3), which choose no grid.
              steps: how many the grid has; default the grid's own.
              grid: a name, a spec or a Grid; scales: what thrifty was made for, the same between the same ends.
              eta: shorthand for the eta of a solver that has one: 0 an ODE, 1 DDPM.
              cond: handed to the model; one row for each sample.
              seed: one noise path for each (seed, sample), whatever the batch.
              samples: who the rows are; (batch,); default 0, 1, 2 ...
              microbatch: call the network at this one, padded batch size: all bits of sample i are then its own.
              start: the first state, in place of fresh noise; (batch *data).
              watch: called with every Step, for bars and films; `Sampler.steps` is the same as a generator.
              dtype: of the result; states are never kept in less than float32.
              device: where states are kept; default where `start` is, or else the model's parameters.
    Returns:  samples; (batch *data); without gradients, which `Sampler.end` lets through.
    Raises:   UnknownName, InvalidArgument for arguments outside their range; SingularConversion when the model's
              prediction cannot start or end where the grid does; NonFinite naming the step.

    Example:
        >>> from obverse.model import Gaussian
        >>> oracle = Gaussian(torch.zeros(2), 0.25, "linear")
        >>> x = sample(oracle, (4, 2), solver="ddim", steps=8, seed=0)
        >>> bool((sample(oracle, (2, 2), solver="ddim", steps=8, seed=0) == x[:2]).all())
        True
    """
    return sampled(
        model,
        shape,
        solver=solver,
        steps=steps,
        grid=grid,
        eta=eta,
        cond=cond,
        seed=seed,
        samples=samples,
        microbatch=microbatch,
        start=start,
        watch=watch,
        dtype=dtype,
        device=device,
    ).x


def sampled(
    model: Model,
    shape: Sequence[int],
    *,
    solver: Solver | Adaptive | Tableau | str = "thrifty",
    steps: int | None = None,
    grid: Grid | str = GRID,
    eta: float | None = None,
    cond: Cond = None,
    seed: int = 0,
    samples: Sequence[int] | None = None,
    microbatch: int | None = None,
    start: Tensor | None = None,
    watch: Callable[[Step], object] | None = None,
    record: bool = False,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Sampled:
    """Draw samples from a model, and say what it took.

    Args:     record: keep all states and estimates, as `trajectory`.
              others: as of `sample`.

    Example:
        >>> from obverse.model import Gaussian
        >>> run = sampled(Gaussian(torch.zeros(2), 0.25, "linear"), (4, 2), solver="heun", steps=8, record=True)
        >>> run.ledger
        Ledger(rounds=15, calls=15, evaluations=60)
        >>> run.trajectory.data.shape
        torch.Size([15, 4, 2])
    """
    check(model, shape, dtype, cond, samples, start)
    method = _method(solver)
    inner = dtype if dtype in (torch.float32, torch.float64) else torch.float32

    def begun(level: Level) -> Tensor:
        if start is not None:
            return start.to(device, inner)
        place = model.device if device is None else device
        return fresh(level, shape, seed=seed, samples=samples, dtype=inner, device=place)

    if isinstance(method, Adaptive):
        alone(ADAPTIVE, {"steps": steps, "grid": _said(grid), "watch": watch, "record": record or None})
        first = begun(model.schedule.at(1.0))
        run = with_eta(method, eta).run(model, first, cond=cond, seed=seed, samples=samples, microbatch=microbatch)
        return Sampled(run.x.to(dtype), Ledger.of(run, model.passes), None)
    if isinstance(method, Tableau):
        alone(COMPLETE, {"steps": steps, "grid": _said(grid), "eta": eta})
        table = method
    else:
        size = math.prod(shape[1:])
        levels = Grid.of(grid) if steps is None else Grid.sized(grid, steps)
        table = _tableau(told(with_eta(method, eta), size), model.schedule, told(levels, size))
    if start is None and float(table.levels[0].theta) < float(table.levels[-1].theta):
        raise InvalidArgument("This run goes from data to noise: give the data to start from, start=x.")
    asked = model if microbatch is None else Microbatched(model, microbatch)
    x, trajectory = _run(table, asked, begun(table.levels[0]), cond, seed, samples, watch, record)
    calls = table.calls * model.passes
    return Sampled(x.to(dtype), Ledger(table.calls, calls, calls * len(x)), trajectory)


def _method(solver: Solver | Adaptive | Tableau | str) -> Solver | Adaptive | Tableau:
    """From a spec: what makes tables, or what chooses its steps; what is no spec is taken as it is."""
    if isinstance(solver, str) and solver.partition(":")[0] in Adaptive.members:
        return Adaptive.of(solver)
    return solver if isinstance(solver, Adaptive | Tableau) else Solver.of(solver)


def _said(grid: Grid | str) -> Grid | str | None:
    """The grid, if one was asked for."""
    return None if grid == GRID else grid


def _run(
    table: Tableau,
    model: Model,
    start: Tensor,
    cond: Cond,
    seed: int,
    samples: Sequence[int] | None,
    watch: Callable[[Step], object] | None,
    record: bool,
) -> tuple[Tensor, Trajectory | None]:
    """The end, watched and recorded if it was asked for, and looked at."""
    sampler, x, kept = Sampler(table), start, list[Step]()
    with torch.no_grad():
        if watch is None and not record:
            x = sampler.end(model, start, cond=cond, seed=seed, samples=samples)
        else:
            for step in sampler.steps(model, start, cond=cond, seed=seed, samples=samples):
                x = step.x_t
                if watch is not None:
                    watch(step)
                if record:
                    kept.append(step)
        if not bool(x.isfinite().all()):
            diagnose(sampler.steps(model, start, cond=cond, seed=seed, samples=samples))
    smooth = table.draws == 0
    return x, Trajectory.of(kept, start, table.moments[0], smooth) if record else None


@lru_cache(maxsize=32)
def _tableau(solver: Solver, schedule: Schedule, grid: Grid) -> Tableau:
    """Made once: a table does not depend on model, batch or seed."""
    return solver.tableau(schedule, grid)
