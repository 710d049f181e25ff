"""Methods that take one straight step: DDIM, and Euler's in any clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from obverse.ground.numerics import divide
from obverse.path import Flow, Level, Prediction, V, Velocity
from obverse.path.prediction import Row
from obverse.sampler.solvers.solver import Solver
from obverse.sampler.solvers.symbols import Combination, Trace


class DDIM(Solver, name="ddim"):
    """The estimate of data and noise, put together again at the next level; exact for constant data (T23).

    A step up from no noise calls nothing: the data is known there.
    Source: Song, Meng & Ermon (2021), equation 12 with sigma = 0.
    """

    order: ClassVar[int] = 1

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        if t.sigma == 0:
            return kept(x_t, t, s)
        e = trace.call(x_t, t)
        x_s: Combination = s.alpha * e.data + s.sigma * e.noise
        return x_s


class InClock(Solver):
    """Root of the methods that go straight in the clock of a face."""

    face: Prediction

    @property
    def invariant(self) -> bool:
        return not isinstance(self.face, Velocity)  # a step in t knows the schedule's t

    @property
    def exact(self) -> bool:
        return constant_row(self.face)


@dataclass(frozen=True)
class Euler(InClock, name="euler"):
    """Euler's method in the clock of a face: flow is flow matching's, velocity the plain probability-flow ODE's (T24).

    In the clocks of data, noise and flow it is DDIM on every path; in velocity's it is so on the linear path only, in
    v's (the angle) nowhere.
    """

    face: Prediction = field(default_factory=Flow)

    order: ClassVar[int] = 1

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        if t.sigma == 0:
            return kept(x_t, t, s)
        face = steering(self.face, t, s)
        return along(face, x_t, trace.call(x_t, t).on(face), t, s)


class PerRadius(Prediction):
    """v / r, the slope of x_t / r in the angle: v itself carries the scale of the path, its clock does not."""

    def row(self, level: Level) -> Row:
        return -level.sigma / level.r, level.alpha / level.r

    def clock(self, level: Level) -> Row:
        return level.r, level.r * level.theta


def constant_row(face: Prediction) -> bool:
    """Whether a face's row is the same at all levels: straight steps in its clock are then exact on constant data."""
    return not isinstance(face, Velocity | V)


def steering(face: Prediction, t: Level, s: Level) -> Prediction:
    """The row that is the slope in a face's clock between two levels.

    Where that clock is infinite (noise's at no data, data's at no noise) or stands still (velocity's, when the noise
    that a schedule keeps at t = 0 is taken away) it is flow's, which runs everywhere.
    """
    face = PerRadius() if face == V() else face
    (c_t, m_t), (c_s, m_s) = face.clock(t), face.clock(s)
    runs = c_t != 0 and c_s != 0 and divide(m_t, c_t) != divide(m_s, c_s)
    return face if runs else Flow()


def along(face: Prediction, x_t: Combination, slope: Combination, t: Level, s: Level) -> Combination:
    """x_s on the straight line with a given slope in the face's clock: d(x / c) = slope d(m / c)."""
    (c_t, m_t), (c_s, m_s) = face.clock(t), face.clock(s)
    x_s: Combination = c_s / c_t * (x_t - m_t * slope) + m_s * slope
    return x_s


def kept(x_t: Combination, t: Level, s: Level) -> Combination:
    """x_s from a state without noise: no network knows anything there, and the data estimate is the state."""
    x_s: Combination = s.alpha / t.alpha * x_t
    return x_s
