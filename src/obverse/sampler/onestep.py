"""Methods that remember nothing from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from obverse.path import Flow, Level, Prediction, Velocity
from obverse.sampler.solver import Combination, Solver, Trace


class DDIM(Solver, name="ddim"):
    """The estimate of data and noise, put together again at the next level; exact for constant data (T23).

    Source: Song, Meng & Ermon (2021), equation 12 with sigma = 0.
    """

    order: ClassVar[int] = 1

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        e = trace.call(x_t, t)
        x_s: Combination = s.alpha * e.data + s.sigma * e.noise
        return x_s


@dataclass(frozen=True)
class Euler(Solver, name="euler"):
    """Euler's method in the clock of a face: flow is flow matching's, velocity the plain probability-flow ODE's (T24).

    In the clocks of data, noise and flow it is DDIM on every path; in velocity's it is so on the linear path only.
    """

    face: Prediction = field(default_factory=Flow)

    order: ClassVar[int] = 1

    @property
    def invariant(self) -> bool:
        return not isinstance(self.face, Velocity)  # a step in t knows the schedule's t

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        return along(self.face, x_t, trace.call(x_t, t).on(self.face), t, s)


@dataclass(frozen=True)
class Heun(Solver, name="heun"):
    """Heun's method in the clock of a face: noise is EDM's; two calls a step, one for a step to zero noise.

    Source: Karras et al. (2022), algorithm 1.
    """

    face: Prediction = field(default_factory=Flow)

    order: ClassVar[int] = 2

    @property
    def invariant(self) -> bool:
        return not isinstance(self.face, Velocity)  # a step in t knows the schedule's t

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        slope = trace.call(x_t, t).on(self.face)
        x_s = along(self.face, x_t, slope, t, s)
        if s.sigma == 0:  # networks are not trained there
            return x_s
        slope_s = trace.call(trace.state(x_s, s), s).on(self.face)
        return along(self.face, x_t, 0.5 * (slope + slope_s), t, s)


def along(face: Prediction, x_t: Combination, slope: Combination, t: Level, s: Level) -> Combination:
    """x_s on the straight line with a given slope in the face's clock: d(x / c) = slope d(m / c)."""
    (c_t, m_t), (c_s, m_s) = face.clock(t), face.clock(s)
    if c_t == 0:
        return (x_t - slope) * float("inf")  # refused by the trace, which knows the level
    x_s: Combination = c_s / c_t * (x_t - m_t * slope) + m_s * slope
    return x_s
