"""A step of the eta SDE that knows its own error: the exponential step and its correction (T30, T69)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.quadrature import legendre
from obverse.ground.shapes import against
from obverse.sampler.tolerance.control import wide
from obverse.sampler.tolerance.field import Circle
from obverse.sampler.tolerance.pairs import Attempt, Slope, Start
from obverse.sampler.tolerance.tree import BrownianTree

NODES = tuple(zip(*(part.tolist() for part in legendre(12)), strict=True))
ORDER = 1.5  # the change of an estimate along a rough path is of order 1/2, times a step


@dataclass(frozen=True)
class Reverse:
    """The eta SDE along a given Brownian path, on the circle of data of size sigma_data.

    With G = W / sqrt(tau) of the path, q = (nsr_s / nsr_t)^(eta²) and C = nsr^-(1 + eta²),

        z_s / sin phi_s = q z_t / sin phi_t + nsr_s^(eta²) ∫ x dC + (G_s - q G_t):

    exact for a data estimate x that is constant (predicted), or runs evenly in phi between its two ends (corrected).
    The difference is the error; the corrected state is kept with the estimate called at the predicted one, so that a
    step costs one call.
    Source: the pair of Jolicoeur-Martineau et al. (2021), "Gotta go fast", in exponential form.
    """

    circle: Circle
    tree: BrownianTree

    calls = 1
    order = ORDER

    def target(self, start: Start, to: Tensor) -> Tensor:
        """The angle near `to` at which the path is cheap to read."""
        theta = self.tree.snapped(self._theta(to), self._theta(start.phi))
        return wide(lambda a: torch.atan2(a.sin(), self.circle.sigma_data * a.cos()), theta)

    def attempt(self, slope: Slope, start: Start, to: Tensor) -> Attempt:
        """One step of every sample; as of a pair. Slopes stand for estimates, which may be of another state."""
        cosine, sine = (against(wide(f, start.phi), start.z) for f in (torch.cos, torch.sin))
        x_t = cosine * start.z - sine * start.v
        predicted = self.between(start, x_t, None, to, to)
        called = slope(predicted, to)
        cosine, sine = (against(wide(f, to), start.z) for f in (torch.cos, torch.sin))
        change = cosine * predicted - sine * called - x_t
        error = against(wide(self._numbers, start.phi, to, to)[:, 2], start.z) * change
        corrected = predicted + error
        return Attempt(corrected, (cosine * corrected - x_t - change) / sine, error, (x_t, change))

    def path(self, start: Start, to: Tensor, attempt: Attempt) -> Rough:
        """The path that an attempt has walked."""
        return Rough(self, start, to, *attempt.told)

    def between(self, start: Start, x_t: Tensor, change: Tensor | None, to: Tensor, at: Tensor) -> Tensor:
        """States at angles inside the steps to `to`, while the estimate goes evenly from x_t to x_t + change."""
        numbers = wide(self._numbers, start.phi, to, at)
        kept, whole, late, q, sine = (against(c, start.z) for c in numbers.unbind(1))
        both, twice = self._theta(torch.cat([start.phi, at])), torch.cat([start.z, start.z])
        before, after = self.tree.at(both, torch.cat([start.who, start.who]), twice).chunk(2)
        z = kept * start.z + whole * x_t + sine * (after - q.to(before) * before).to(start.z)
        return z if change is None else z + late * change

    def _theta(self, phi: Tensor) -> Tensor:
        return wide(lambda a: torch.atan2(self.circle.sigma_data * a.sin(), a.cos()), phi)

    def _numbers(self, phi: Tensor, to: Tensor, at: Tensor) -> Tensor:
        """What is kept of z, the weights of the estimate and of its change, q, and sin phi."""
        power = 1 + self.tree.eta**2
        log_shrink = torch.where(phi >= math.pi / 2, -math.inf, at.tan().log() - phi.tan().log())  # of nsr
        log_shrink = torch.where(at == phi, 0.0, log_shrink)
        q, rest = ((power - 1) * log_shrink).exp(), -torch.expm1(power * log_shrink)
        late = torch.zeros_like(phi)
        for node, weight in NODES:  # evenly in C
            share = 1 - rest * (1 - node) / 2
            there = (at.tan() * share ** (-1 / power)).atan()
            late = late + weight / 2 * rest * (phi - there) / (phi - to)
        return torch.stack([at.sin() / phi.sin() * q, at.cos() * rest, at.cos() * late, q, at.sin()], 1)


@dataclass(frozen=True)
class Rough:
    """A step along a Brownian path, readable at every angle of it.

    Args:     reverse: whose step.
              start, to: from where to which angles.
              x_t, change: the estimate at the start, and by how much it has changed at the end; (batch *data).
    """

    reverse: Reverse
    start: Start
    to: Tensor
    x_t: Tensor
    change: Tensor

    def of(self, mask: Tensor) -> Rough:
        """Some of the rows."""
        return Rough(self.reverse, self.start.of(mask), self.to[mask], self.x_t[mask], self.change[mask])

    def at(self, phi: Tensor) -> Tensor:
        """States at angles inside the steps."""
        return self.reverse.between(self.start, self.x_t, self.change, self.to, phi)
