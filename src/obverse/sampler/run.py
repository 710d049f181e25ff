"""The one loop: runs any table with any model of its schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, NonFinite
from obverse.ground.numerics import exact
from obverse.ground.shapes import check_rows
from obverse.model import Cond, Microbatched, Model
from obverse.path import Estimate, Level
from obverse.sampler.grids import Grid
from obverse.sampler.solver import Solver
from obverse.sampler.tableau import Register, Row, Tableau

BLOCK = 2**18  # normals drawn ahead at once: 1 MiB of float32


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
        table = self.tableau.on_face(model.face)
        _agree(table, model)
        levels, spent, last = table.moments, table.spent, len(table.rows) - 1
        calls = {state: (Register("o", j), model.at(levels[state], start)) for j, state in enumerate(table.reads)}
        draws = _draws(table.draws, start, seed, samples)
        held: dict[Register, Tensor] = {}
        x_t, estimate = start, Estimate(start, levels[0], start, table.face)  # replaced by the first call
        for n, row in enumerate(table.rows):
            if n:
                held.update((key, next(draws)) for key in row if key.kind == "xi")
                x_t = combine(row, held)
            held[Register("e", n)] = x_t
            for key in spent[n]:
                del held[key]
            if n:
                yield Step(n, last, levels[n], x_t, estimate)
            if n in calls:
                key, call = calls[n]
                output = held[key] = call(x_t, cond)
                estimate = Estimate(x_t, levels[n], output, table.face)


def _agree(table: Tableau, model: Model) -> None:
    """Refuse to run a table on a model of another schedule: it would run, and be wrong."""
    called, schedule = table.levels[torch.tensor(table.reads)], model.schedule
    for mine, its in ((called.alpha, schedule.alpha), (called.sigma, schedule.sigma)):
        if not torch.allclose(exact(mine), its(exact(called.t)), rtol=1e-6, atol=1e-6):
            raise InvalidArgument(
                f"This table is of another schedule than the model's, {model.schedule.label}: make it with "
                f"solver.tableau(model.schedule, grid), or run model.on(schedule)."
            )


def combine(row: Row, held: dict[Register, Tensor]) -> Tensor:
    """The linear combination of the held registers that a row names."""
    total: Tensor | None = None
    for key, number in row.items():
        total = held[key] * number if total is None else total.add_(held[key], alpha=number)
    assert total is not None
    return total


def _draws(count: int, like: Tensor, seed: int, samples: Sequence[int] | None) -> Iterator[Tensor]:
    """The draws of a run in order, made in blocks."""
    block = max(1, BLOCK // max(1, like.numel()))
    for first in range(0, count, block):
        steps = range(first, min(first + block, count))
        yield from noise.normal(
            like.shape, seed=seed, purpose="solver", step=steps, samples=samples, dtype=like.dtype, device=like.device
        )


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
    table = _strong(Solver.of(solver), eta).tableau(model.schedule, grid)
    inner = dtype if dtype in (torch.float32, torch.float64) else torch.float32
    if start is None:
        place = model.device if device is None else device
        start = noise.normal(shape, seed=seed, purpose="start", samples=samples, dtype=inner, device=place)
        start = start * float(exact(table.levels.sigma)[0])
    elif tuple(start.shape) != tuple(shape):
        raise InvalidArgument(f"start has the shape of the samples, {tuple(shape)}, got {tuple(start.shape)}.")
    x = start = start.to(inner)
    with torch.no_grad():
        for step in Sampler(table).steps(model, start, cond=cond, seed=seed, samples=samples):
            x = step.x_t
            if watch is not None:
                watch(step)
        if not bool(x.isfinite().all()):
            _diagnose(Sampler(table).steps(model, start, cond=cond, seed=seed, samples=samples))
    return x.to(dtype)


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
