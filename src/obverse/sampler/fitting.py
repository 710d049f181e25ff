"""Methods of one call a step as plain numbers, and how the end moves with each of them: what `tune` fits (T36).

On the circle, y = x_t / r, a step from theta_k to theta_{k+1} is

    y_{k+1} = kept_k y_k + sum_{j <= k} W_kj data_j,      kept = 0 and sum_j W_j = 1 in the last step, to theta = 0:

then constant data is exact. Analytic methods have kept_k = sin theta_{k+1} / sin theta_k; a fitted one may call the
model at a state a little noisier or cleaner than its level says.
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
from obverse.sampler.program import Register, Row
from obverse.sampler.tableau import Tableau

SAME = 1e-9  # constant data is exact when its end is met this closely
AT_ONCE = 512  # rows that go through the model together


class Method(NamedTuple):
    """Numbers of a method; float64.

    Args:     angles: of the calls, falling, the start's first, then 0: the clean end; (calls + 1,).
              kept: of the state in each step, 0 in the last; (calls,).
              weights: W: in each step, on each data estimate made so far; (calls, calls), lower triangular.
    """

    angles: Tensor
    kept: Tensor
    weights: Tensor

    @property
    def calls(self) -> int:
        """How many."""
        return len(self.weights)

    @classmethod
    def of(cls, table: Tableau) -> Method:
        """A table in these numbers.

        Raises:   InvalidArgument for a table that calls twice at one angle, goes up, draws or loses constant data.
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
        lost = float(states[-1, 0].abs() + (states[-1, 1:].sum() - 1).abs())
        if not lost <= SAME:
            raise InvalidArgument(f"Fitted are methods that are exact on constant data; this one is off by {lost:.1g}.")
        kept = torch.cat([states[1:-1, 0] / states[:-2, 0], exact([0.0])])
        return cls(angles, kept, (states[1:, 1:] - kept[:, None] * states[:-1, 1:]).tril())

    def tableau(self, schedule: Schedule) -> Tableau:
        """The same numbers as a table on a schedule, ready to run."""
        levels, kept, weights = levels_of(schedule, self.angles), self.kept.tolist(), self.weights.tolist()
        r, states = exact(levels.r).tolist(), list[Row]([{}])
        for k in range(self.calls):
            row = {Register("e", k): kept[k] * r[k + 1] / r[k]} if kept[k] else {}
            row |= {Register("o", j): weights[k][j] * r[k + 1] for j in range(k + 1) if weights[k][j]}
            states.append(row)
        return Tableau(levels, tuple(states), tuple(range(self.calls)), Data())

    def moved(self, step: Tensor) -> Method:
        """The method with its free numbers changed: the angles of calls, what all steps but the last keep, W.

        Args:     step: in the order of `slopes`; (free,). The last step's newest weight takes up what the others leave.
        """
        calls = self.calls
        by_angles, by_kept, by_weights = step[:calls], step[calls : 2 * calls - 1], step[2 * calls - 1 :]
        weights = self.weights.clone()
        at = torch.tril_indices(calls, calls)[:, :-1]
        weights[at[0], at[1]] += by_weights
        weights[-1, -1] = 1 - weights[-1, :-1].sum()
        zero = exact([0.0])
        return Method(self.angles + torch.cat([by_angles, zero]), self.kept + torch.cat([by_kept, zero]), weights)

    def slopes(self, model: Model, noise: Tensor, cond: Cond = None) -> tuple[Tensor, Tensor]:
        """Where the method takes noise, and how fast the end moves with each of its free numbers.

        Derivatives are carried along the run, through the model as differences between two of its calls: any model
        will do, and a number costs calls only from where it first matters.

        Returns:  ends, (batch *data); slopes, (free batch *data), in the order of `moved`.
        """
        small = torch.finfo(noise.dtype).eps ** 0.4  # between rounding and curvature
        levels, nudged = levels_of(model.schedule, self.angles), levels_of(model.schedule, self.angles * (1 - small))
        first = float(self.angles[0])
        y, guesses = noise * exact(first).sin().to(noise), list[Tensor]()
        moving, told = (
            noise[None] * exact(first).cos().to(noise),
            list[Tensor](),
        )  # by the first angle, the only one yet
        names = [("angle", 0, 0)]
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
            fresh, last = [*guesses], k == self.calls - 1
            fresh = [one - guess for one in guesses[:-1]] if last else [y, *fresh]
            names += [("weight", k, j) for j in range(k)] if last else []
            names += [] if last else [("kept", k, 0), *(("weight", k, j) for j in range(k + 1))]
            moving = torch.cat([moving, torch.stack(fresh)]) if fresh else moving
            y = kept * y + torch.einsum("j,jb...->b...", weights, torch.stack(guesses))
        return y, moving[sorted(range(len(names)), key=names.__getitem__)]


def _differences(
    model: Model, level: Level, y: Tensor, moving: Tensor, guess: Tensor, cond: Cond, small: float
) -> Tensor:
    """How the data estimate changes along every direction of the state; (directions batch *data)."""
    found, batch = [], len(y)
    group = max(1, AT_ONCE // batch)
    for some in torch.split(moving, group):
        copies = torch.arange(batch, device=y.device).repeat(len(some))
        near = (y + small * some).flatten(0, 1)
        found.append(data_on_circle(model, level, near, rows(cond, copies)).reshape(some.shape))
    return (torch.cat(found) - guess) / small


def kept_of(angles: Tensor) -> Tensor:
    """What each step keeps of the state it leaves, if its noise is to be that of the next angle."""
    return angles[1:].sin() / angles[:-1].sin()


def levels_of(schedule: Schedule, angles: Tensor) -> Level:
    """Levels at falling angles that end at 0."""
    calls, first = angles[:-1], schedule.at(1.0)
    nsr = torch.where(calls >= exact(first.theta), exact(first.nsr), calls.tan())
    return join(schedule.at_logsnr((-2 * nsr.log()).clamp(*schedule.range)), schedule.end)


def data_on_circle(model: Model, level: Level, y: Tensor, cond: Cond = None) -> Tensor:
    """The data estimate at a state on the circle."""
    x_t = against(level.r, y) * y
    on_output, on_state = coefficients(model.face, Data(), level)
    output = model.at(level, x_t)(x_t, cond)
    return against(on_output, y) * output + against(on_state, y) * x_t
