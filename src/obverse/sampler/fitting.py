"""Methods of one call a step, as numbers with gradients: what `tune` fits (T36).

On the circle, y = x_t / r, a step from theta_k to theta_{k+1} is

    y_{k+1} = kept_k y_k + sum_{j <= k} W_kj data_j,      kept = 0 and sum_j W_j = 1 in the last step, to theta = 0:

then constant data is exact. Analytic methods have kept_k = sin theta_{k+1} / sin theta_k; a fitted one may call the
model at a state a little noisier or cleaner than its level says.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact
from obverse.ground.shapes import against
from obverse.model import Cond, Model
from obverse.path import Data, Level, Schedule, coefficients, join
from obverse.sampler.program import Register, Row
from obverse.sampler.tableau import Tableau

SAME = 1e-9  # constant data is exact when weights sum to their total this closely
NODES = 24  # of the quadrature: 1e-13 for steps that shrink the angle up to a hundredfold


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
        angles, weights = self.angles.detach(), self.weights.tolist()
        levels, kept = levels_of(schedule, angles), self.kept.tolist()
        r, rows = exact(levels.r).tolist(), list[Row]([{}])
        for k in range(self.calls):
            row = {Register("e", k): kept[k] * r[k + 1] / r[k]} if kept[k] else {}
            row |= {Register("o", j): weights[k][j] * r[k + 1] for j in range(k + 1) if weights[k][j]}
            rows.append(row)
        return Tableau(levels, tuple(rows), tuple(range(self.calls)), Data())

    def run(self, model: Model, noise: Tensor, cond: Cond = None) -> Tensor:
        """Where the method takes noise, with gradients in its angles and weights; (batch *data)."""
        levels = levels_of(model.schedule, self.angles)
        y, guesses = self.angles[0].sin().to(noise) * noise, list[Tensor]()
        for k in range(self.calls):
            guesses.append(data_on_circle(model, levels[k], y, cond))
            told = torch.einsum("j,jb...->b...", self.weights[k, : k + 1].to(y), torch.stack(guesses))
            y = self.kept[k].to(y) * y + told
        return y


def kept_of(angles: Tensor) -> Tensor:
    """What each step keeps of the state it leaves, if its noise is to be that of the next angle."""
    return angles[1:].sin() / angles[:-1].sin()


def totals_of(angles: Tensor) -> Tensor:
    """What the weights of a step then sum to, if its data are to be: cos theta_{k+1} - kept cos theta_k."""
    return (angles[:-1] - angles[1:]).sin() / angles[:-1].sin()


def adams(angles: Tensor, order: int) -> Tensor:
    """Weights of the exponential Adams method: the data estimate, as a polynomial in the angle, integrated exactly.

    W_kj = sin s ∫_s^t L_j(theta) / sin² theta dtheta, and L_j(0) for the step to s = 0 (T25, T26).

    Args:     angles: falling to 0; (calls + 1,).
              order: estimates used, as soon as there are so many.
    Returns:  (calls, calls), lower triangular; differentiable in the angles.
    """
    calls = len(angles) - 1
    used = torch.arange(calls)[:, None] - torch.arange(min(order, calls))  # newest first
    there, used = used >= 0, used.clamp(min=0)
    nodes, (shares, parts) = angles[used], _gauss(NODES)
    t, s = angles[:-2, None], angles[1:-1, None]
    at = s * (t / s) ** shares  # log theta evenly: most of 1 / sin² lies near s
    density = parts * (t / s).log() * at * s.sin() / at.sin() ** 2
    at = torch.cat([at, angles.new_zeros(1, NODES)])
    density = torch.cat([density, angles.new_full((1, NODES), 1 / NODES)])  # the limit: all at theta = 0
    other = there[:, None] & there[:, :, None] & ~torch.eye(used.shape[1], dtype=torch.bool)
    gaps = torch.where(other, nodes[:, :, None] - nodes[:, None], 1.0)
    factors = (at[:, None, None] - nodes[:, None, :, None]) / gaps[..., None]
    lagrange = torch.where(other[..., None], factors, 1.0).prod(2)
    weights = torch.where(there, (lagrange * density[:, None]).sum(-1), 0.0)
    weights = torch.cat([(totals_of(angles) - weights[:, 1:].sum(1))[:, None], weights[:, 1:]], 1)
    return angles.new_zeros(calls, calls).scatter_add(1, used, weights)


def levels_of(schedule: Schedule, angles: Tensor) -> Level:
    """Levels at falling angles that end at 0, with gradients in them."""
    calls, first = angles[:-1], schedule.at(1.0)
    tan = torch.where(calls >= exact(first.theta), exact(first.nsr), calls.tan()).detach()
    at = schedule.at_logsnr(-2 * tan.log())
    if not angles.requires_grad:
        return join(at, schedule.end)
    t = at.t + (calls - calls.detach()) * at.r**2 / at.swing  # the inverse's own derivative
    rates = schedule.alpha_dot(t), schedule.sigma_dot(t)
    alpha, sigma = (now + rate.detach() * (t - at.t) for now, rate in zip((at.alpha, at.sigma), rates, strict=True))
    return join(Level(t, alpha, sigma, *rates), schedule.end)


def data_on_circle(model: Model, level: Level, y: Tensor, cond: Cond = None) -> Tensor:
    """The data estimate at a state on the circle."""
    if level.t.requires_grad:  # a network takes one time for each sample, and hands its gradient back
        level = Level(*(field.expand(len(y)) for field in (level.t, level.alpha, level.sigma, *_rates(level))))
    x_t = against(level.r, y) * y
    on_output, on_state = coefficients(model.face, Data(), level)
    output = model.at(level, x_t)(x_t, cond)
    return against(on_output, y) * output + against(on_state, y) * x_t


def _rates(level: Level) -> tuple[Tensor, Tensor]:
    return exact(level.alpha_dot), exact(level.sigma_dot)


@cache
def _gauss(count: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss and Legendre on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy(nodes + 1) / 2, torch.from_numpy(weights) / 2
