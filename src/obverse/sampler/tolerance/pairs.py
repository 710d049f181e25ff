"""Embedded Runge-Kutta pairs, applied to what is left when the circle has been walked (T69).

On the circle of data of size sigma_d, z = x_t / rho = cos phi (x / sigma_d) + sin phi eps, every path is

    dz/dphi = v(z, phi),    v = cos phi eps - sin phi x / sigma_d    (minus EDM's raw output),

finite at both ends. Constant (x, eps) makes z turn: z_t cos d + v_t sin d after an angle d, which is the DDIM step. A
pair integrates the *deviation* u = z - turned, u' = v - turned slope: small where estimates are steady, zero where they
are constant; so the semi-linear part is exact in every stage, and the classical order is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.families import Family
from obverse.ground.shapes import against
from obverse.sampler.tolerance.control import wide

Slope = Callable[[Tensor, Tensor], Tensor]  # v at (z, phi), a call of the model


class Attempt(NamedTuple):
    """What one step tried: where it would arrive, what it may be wrong by, and what its path is made of.

    z, v, error: the new state, its slope, the difference of the pair; told: of whoever made it; all (batch *data).
    doubt: another difference, of lower order, for where the first vanishes by accident.
    """

    z: Tensor
    v: Tensor
    error: Tensor
    told: tuple[Tensor, ...]
    doubt: Tensor | None = None


@dataclass(frozen=True)
class Start:
    """From where steps start: rows of the run, their angles, states and slopes; (batch,) and (batch *data)."""

    who: Tensor
    phi: Tensor
    z: Tensor
    v: Tensor

    def of(self, mask: Tensor) -> Start:
        """Some of the rows."""
        return Start(self.who[mask], self.phi[mask], self.z[mask], self.v[mask])


class Pair(Family, family="pair"):
    """A table of stages whose last is the result, so that its call is the next step's first.

    To add one, name the rows of the table; the last row is the result, `difference` what another order would add.
    """

    stages: tuple[tuple[float, ...], ...]
    difference: tuple[float, ...]
    curve: tuple[tuple[float, ...], ...]
    doubt: tuple[float, ...] = ()
    order: int

    @property
    def calls(self) -> int:
        """Calls of one attempt: the first stage has been called already."""
        return len(self.stages)

    def target(self, start: Start, to: Tensor) -> Tensor:
        """The angle near `to` at which to arrive."""
        return to

    def attempt(self, slope: Slope, start: Start, to: Tensor) -> Attempt:
        """One step of every sample, from its own angle to its own; float64 (batch,)."""
        h = to - start.phi
        width = against(h, start.z)
        deviations = [torch.zeros_like(start.v)]  # slopes of the deviation
        for row in self.stages:
            share = math.fsum(row)
            there = to if math.isclose(share, 1) else start.phi + share * h
            turned, turning = turn(start.z, start.v, there - start.phi)
            state = turned + width * _combine(row, deviations)
            called = slope(state, there)
            deviations.append(called - turning)
        doubt = width * _combine(self.doubt, deviations) if self.doubt else None
        return Attempt(state, called, width * _combine(self.difference, deviations), tuple(deviations), doubt)

    def path(self, start: Start, to: Tensor, attempt: Attempt) -> Arc:
        """The path that an attempt has walked."""
        width = against(to - start.phi, start.z)
        return Arc(start, to, torch.stack([width * _combine(row, list(attempt.told)) for row in self.curve], 1))


@dataclass(frozen=True)
class Arc:
    """A turn, and a deviation from it as a polynomial in the share of the step.

    Args:     start, to: from where to which angles.
              curve: of the powers 2, 3, ...; (batch powers *data).
    """

    start: Start
    to: Tensor
    curve: Tensor

    def of(self, mask: Tensor) -> Arc:
        """Some of the rows."""
        return Arc(self.start.of(mask), self.to[mask], self.curve[mask])

    def at(self, phi: Tensor) -> Tensor:
        """States at angles inside the steps."""
        start = self.start
        share = against((phi - start.phi) / (self.to - start.phi), start.z)
        z, _ = turn(start.z, start.v, phi - start.phi)
        bent = torch.zeros_like(z)
        for power in reversed(range(self.curve.shape[1])):
            bent = (bent + self.curve[:, power]) * share
        return z + bent * share


@dataclass(frozen=True)
class DormandPrince(Pair, name="dopri5"):
    """Orders 5 and 4, six calls a step: the choice from moderate tolerances on.

    Source: Dormand & Prince (1980), table 2; the curve between is Shampine's (1986), of order 4.
    """

    stages = (
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    )
    doubt = (  # to the quadrature on the shares 0, 0.3, 0.8, 1, exact for cubics
        35 / 384 - 1 / 12,
        0,
        500 / 1113 - 10 / 21,
        125 / 192 - 5 / 12,
        -2187 / 6784,
        11 / 84,
        -1 / 42,
    )
    difference = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
    curve = (
        (
            -8048581381 / 2820520608,
            0,
            131558114200 / 32700410799,
            -1754552775 / 470086768,
            127303824393 / 49829197408,
            -282668133 / 205662961,
            40617522 / 29380423,
        ),
        (
            8663915743 / 2820520608,
            0,
            -68118460800 / 10900136933,
            14199869525 / 1410260304,
            -318862633887 / 49829197408,
            2019193451 / 616988883,
            -110615467 / 29380423,
        ),
        (
            -12715105075 / 11282082432,
            0,
            87487479700 / 32700410799,
            -10690763975 / 1880347072,
            701980252875 / 199316789632,
            -1453857185 / 822651844,
            69997945 / 29380423,
        ),
    )
    order = 5


@dataclass(frozen=True)
class BogackiShampine(Pair, name="bs32"):
    """Orders 3 and 2, three calls a step: for loose tolerances and rough models.

    Source: Bogacki & Shampine (1989); the curve between is the cubic that meets both slopes.
    """

    stages = ((1 / 2,), (0, 3 / 4), (2 / 9, 1 / 3, 4 / 9))
    difference = (-5 / 72, 1 / 12, 1 / 9, -1 / 8)
    curve = ((-4 / 3, 1, 4 / 3, -1), (5 / 9, -2 / 3, -8 / 9, 1))
    order = 3


def turn(z: Tensor, v: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
    """State and slope after an angle at which the estimate has not changed."""
    cosine, sine = (against(wide(f, by), z) for f in (torch.cos, torch.sin))
    return cosine * z + sine * v, cosine * v - sine * z


def _combine(row: tuple[float, ...], deviations: list[Tensor]) -> Tensor:
    """Sum of numbers times slopes; the first slope is zero: the deviation starts with the circle."""
    total = torch.zeros_like(deviations[0])
    for number, slope in zip(row[1:], deviations[1:], strict=False):
        if number:
            total = total + number * slope
    return total
