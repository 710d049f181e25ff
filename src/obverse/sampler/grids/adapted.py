"""A grid adapted to a model: short steps where its data estimate moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, NonFinite
from obverse.ground.numerics import exact
from obverse.model import Cond, Model
from obverse.sampler.asked import check
from obverse.sampler.grids.given import GivenAngle
from obverse.sampler.grids.grid import Grid
from obverse.sampler.run import Sampler, Step
from obverse.sampler.solvers.onestep import DDIM

QUARTER = math.pi / 2
STILL = 2.0**-19  # relative, of a data estimate in float32: four of its last bits is no motion


def adapted(
    model: Model,
    shape: Sequence[int],
    steps: int = 10,
    *,
    order: int = 1,
    pilot: Grid | str = "angle:steps=100",
    cond: Cond = None,
    seed: int = 0,
    watch: Callable[[Step], object] | None = None,
) -> GivenAngle:
    """Levels at which a method of first order errs as much in one step as in another, for a given model.

    A DDIM step of length h in the angle leaves out h² / 2 |dx/dangle| / sin(angle) of the moving data estimate x
    (T25), so the sum over a grid is least where steps are as dense as (|dx/dangle| / sin(angle))^(1/2). The speed is
    the root mean square over pilot samples, which follow the model along a fine grid.

    Args:     model: any model; its schedule decides the path.
              shape: of the pilot samples; (batch *data). 64 of them settle the levels to a few percent.
              steps: of the grid that is returned.
              order: of the method the grid is for; the power is order / (order + 1).
              pilot: the fine grid; one call for each of its steps.
              cond: handed to the model; one row for each pilot sample.
              seed: of the pilots' noise.
              watch: called with every Step of the pilots, for bars.
    Returns:  a grid; `spec` writes it down.
    Raises:   InvalidArgument for steps < 1, order < 1 or a pilot of one step; NonFinite from a model that is not.

    Example:
        >>> from obverse.model import Gaussian
        >>> grid = adapted(Gaussian(torch.zeros(2), 0.25, "linear"), (64, 2), steps=4)
        >>> grid.steps, grid.turns[0], grid.turns[-1]
        (4, 1.0, 0.0)
    """
    check(model, shape, torch.float32, cond, None, None)
    if not isinstance(steps, Integral) or steps < 1 or not order >= 1:
        raise InvalidArgument(f"adapted: whole steps >= 1 and order >= 1, got steps={steps}, order={order}.")
    table = DDIM().tableau(model.schedule, Grid.of(pilot))
    if table.calls < 2 or not float(table.moments[0].theta) > float(table.moments[-1].theta):
        raise InvalidArgument(f"adapted: the pilot grid falls in at least 2 steps, got {pilot} (angle:steps=100).")
    start = noise.normal(shape, seed=seed, purpose="pilot", device=model.device)
    angles, speeds = _speeds(Sampler(table), model, start * float(exact(table.levels.sigma)[0]), cond, watch)
    between = (angles[1:] + angles[:-1]) / 2
    density = (speeds / between.sin()) ** (order / (order + 1))
    if not bool(density.isfinite().all()):
        raise NonFinite("adapted: the model's data estimates are not finite; check its precision and time convention.")
    density = density if float(density.sum()) > 0 else torch.ones_like(density)
    least = float(angles[-1]) if float(model.schedule.at(0.0).sigma) > 0 else 0.0  # nothing is called below it
    return GivenAngle(tuple(angle / QUARTER for angle in _even(angles, density, steps, least)))


def _speeds(
    sampler: Sampler, model: Model, start: Tensor, cond: Cond, watch: Callable[[Step], object] | None
) -> tuple[Tensor, Tensor]:
    """The angles called at, and how fast the data estimate moves between them (root mean square); (n,), (n - 1,)."""
    angles: list[float] = []
    moves: list[Tensor] = []
    before: Tensor | None = None
    with torch.no_grad():
        for step in sampler.steps(model, start, cond=cond):
            if step.estimate is None:
                continue
            angles.append(float(step.estimate.level.theta))
            data = exact(step.estimate.data)
            if before is not None:
                moved, size = ((each.square().mean().sqrt()).cpu() for each in (data - before, data))
                moves.append(torch.where(moved > STILL * size, moved, 0.0 * moved))
            before = data
            if watch is not None:
                watch(step)
    places = torch.tensor(angles, dtype=torch.float64)
    return places, torch.stack(moves) / -places.diff()


def _even(angles: Tensor, density: Tensor, steps: int, least: float) -> list[float]:
    """Angles with equally much of the density between them, then 0; steps + 1 of them, no call below the least."""
    angles, density = torch.cat([angles, angles.new_zeros(1)]), torch.cat([density, density[-1:]])
    mass = torch.cat([density.new_zeros(1), (density * -angles.diff()).cumsum(0)]).numpy()
    found = np.interp(np.linspace(0, mass[-1], steps + 1), mass, angles.numpy())
    if steps > 1 and found[-2] < least:
        found[:-1] = np.interp(np.linspace(0, mass[-2], steps), mass, angles.numpy())
    return [*found[:-1].tolist(), 0.0]
