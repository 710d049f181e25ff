"""Methods of one call a step as plain numbers, and how the end moves with each of them: what `tune` fits (T36).

On the circle, y = x_t / r, a step from theta_k to theta_{k+1} is

    y_{k+1} = kept_k y_k + sum_{j <= k} W_kj data_j,      y_0 = begin sin(theta_0) eps, the last one to theta = 0.

Analytic methods that are exact on constant data have begin = 1, kept_k = sin theta_{k+1} / sin theta_k, 0 in the last
step, where sum_j W_kj = 1. A fitted one may call the model at a state a little noisier or cleaner than its level says,
and need not be exact on any data but the model's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact
from obverse.ground.shapes import against, rows
from obverse.model import Cond, Model
from obverse.path import Data, Level, Schedule, coefficients, join
from obverse.sampler.grids.grid import at_nsr
from obverse.sampler.program import Register, Row
from obverse.sampler.tableau import Tableau

AT_ONCE = 512  # rows that go through the model together


class Method(NamedTuple):
    """Numbers of a method; float64.

    Args:     angles: of the calls, falling, the start's first, then 0: the clean end; (calls + 1,).
              kept: of the state in each step; (calls,).
              weights: W: in each step, on each data estimate made so far; (calls, calls), lower triangular.
              begin: the first state, in units of the noise that its level has; ().
    """

    angles: Tensor
    kept: Tensor
    weights: Tensor
    begin: Tensor = torch.ones((), dtype=torch.float64)

    @property
    def calls(self) -> int:
        """How many."""
        return len(self.weights)

    @property
    def free(self) -> int:
        """How many numbers there are to move."""
        return self.calls + 1 + self.calls + self.calls * (self.calls + 1) // 2

    @classmethod
    def of(cls, table: Tableau) -> Method:
        """A table in these numbers.

        Raises:   InvalidArgument for a table that calls twice at one angle, goes up or draws.
        """
        angles, start, outputs, draws = table.canonical()
        if draws.shape[1] or bool((angles.diff() >= 0).any()) or float(angles[-1]) != 0 or table.reads[0] != 0:
            raise InvalidArgument(
                "Fitted are methods that call once at each of their falling angles, and draw nothing."
            )
        theta = angles[:-1]
        through = outputs / theta.tan()  # v = (cos theta y - data) / sin theta
        back = torch.eye(len(theta), dtype=torch.float64) - through[:-1]
        known = torch.cat([start[:, None], -outputs / theta.sin()], 1)  # of the start and the data estimates
        states = known + through @ torch.linalg.solve_triangular(back, known[:-1], upper=False, unitriangular=True)
        kept = states[1:, 0] / states[:-1, 0]
        return cls(angles, kept, (states[1:, 1:] - kept[:, None] * states[:-1, 1:]).tril())

    def tableau(self, schedule: Schedule) -> Tableau:
        """The same numbers as a table on a schedule, ready to run."""
        levels, kept, weights = levels_of(schedule, self.angles), self.kept.tolist(), self.weights.tolist()
        r, states, first = exact(levels.r).tolist(), list[Row]([{}]), int(float(self.begin) != 1)
        if first:
            states.append({Register("e", 0): float(self.begin)})
        for k in range(self.calls):
            row = {Register("e", k + first): kept[k] * r[k + 1] / r[k]} if kept[k] else {}
            row |= {Register("o", j): weights[k][j] * r[k + 1] for j in range(k + 1) if weights[k][j]}
            states.append(row)
        levels = join(levels[0], levels) if first else levels
        return Tableau(levels, tuple(states), tuple(range(first, first + self.calls)), Data())

    def later(self) -> Method:
        """The method without its first call, which at much noise says no more than what data is on average: 0."""
        begin = self.begin * self.kept[0] * self.angles[0].sin() / self.angles[1].sin()
        return Method(self.angles[1:], self.kept[1:], self.weights[1:, 1:], begin)

    def moved(self, step: Tensor) -> Method:
        """The method with its numbers changed: the angles of calls, the beginning, what the steps keep, W.

        Args:     step: in the order of `slopes`; (free,).
        """
        calls, weights = self.calls, self.weights.clone()
        by_angles, by_begin, by_kept, by_weights = step.tensor_split((calls, calls + 1, 2 * calls + 1))
        at = torch.tril_indices(calls, calls)
        weights[at[0], at[1]] += by_weights
        angles = self.angles + torch.cat([by_angles, exact([0.0])])
        return Method(angles, self.kept + by_kept, weights, self.begin + by_begin[0])

    def slopes(self, model: Model, noise: Tensor, cond: Cond = None) -> tuple[Tensor, Tensor]:
        """Where the method takes noise, and how fast the end moves with each of its free numbers.

        Derivatives are carried along the run, through the model as differences between two of its calls: any model
        will do, and a number costs calls only from where it first matters.

        Returns:  ends, (batch *data); slopes, (free batch *data), in the order of `moved`.
        """
        small = torch.finfo(noise.dtype).eps ** 0.4  # between rounding and curvature
        levels, nudged = levels_of(model.schedule, self.angles), levels_of(model.schedule, self.angles * (1 - small))
        begun, turning = self.angles[0].sin().to(noise), (self.begin * self.angles[0].cos()).to(noise)
        y, guesses, told = float(self.begin) * begun * noise, list[Tensor](), list[Tensor]()
        moving, names = torch.stack([turning * noise, begun * noise]), [("angle", 0, 0), ("begin", 0, 0)]
        for k in range(self.calls):
            kept, weights = float(self.kept[k]), self.weights[k, : k + 1].to(noise)
            guess = data_on_circle(model, levels[k], y, cond)
            if k:
                moving, names = torch.cat([moving, torch.zeros_like(y)[None]]), [*names, ("angle", k, 0)]
            turned = (data_on_circle(model, nudged[k], y, cond) - guess) / (-small * float(self.angles[k]))
            change = _differences(model, levels[k], y, moving, guess, cond, small)
            change[names.index(("angle", k, 0))] += turned
            guesses, told = [*guesses, guess], [*told, change]
            parts = torch.stack([torch.cat([one, one.new_zeros(len(moving) - len(one), *y.shape)]) for one in told])
            moving = kept * moving + torch.einsum("j,jp...->p...", weights, parts)
            names += [("kept", k, 0), *(("weight", k, j) for j in range(k + 1))]
            moving = torch.cat([moving, torch.stack([y, *guesses])])
            y = kept * y + torch.einsum("j,jb...->b...", weights, torch.stack(guesses))
        return y, moving[sorted(range(len(names)), key=names.__getitem__)]


def _differences(
    model: Model, level: Level, y: Tensor, moving: Tensor, guess: Tensor, cond: Cond, small: float
) -> Tensor:
    """How the data estimate changes along every direction of the state; (directions batch *data)."""
    along, batch, size = moving, len(y), y[0].numel()
    if size < len(moving):  # then directions are combinations of fewer
        along = torch.eye(size).to(y).reshape(size, 1, *y.shape[1:]).expand(size, *y.shape)
    found, group = [], max(1, AT_ONCE // batch)
    for some in torch.split(along, group):
        copies = torch.arange(batch, device=y.device).repeat(len(some))
        near = (y + small * some).flatten(0, 1)
        found.append(data_on_circle(model, level, near, rows(cond, copies)).reshape(some.shape))
    change = (torch.cat(found) - guess) / small
    if size < len(moving):
        change = torch.einsum("pbi,ibj->pbj", moving.flatten(2), change.flatten(2)).reshape(moving.shape)
    return change


def levels_of(schedule: Schedule, angles: Tensor) -> Level:
    """Levels at falling angles that end at 0."""
    calls, first = angles[:-1], schedule.at(1.0)
    nsr = torch.where(calls >= exact(first.theta), exact(first.nsr), calls.tan())
    return join(at_nsr(schedule, nsr), schedule.end)


def data_on_circle(model: Model, level: Level, y: Tensor, cond: Cond = None) -> Tensor:
    """The data estimate at a state on the circle."""
    x_t = against(level.r, y) * y
    on_output, on_state = coefficients(model.face, Data(), level)
    output = model.at(level, x_t)(x_t, cond)
    return against(on_output, y) * output + against(on_state, y) * x_t
