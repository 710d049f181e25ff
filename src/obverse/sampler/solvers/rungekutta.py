"""Runge-Kutta methods of the probability-flow ODE, in the clock of any face."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from obverse.ground.errors import UnknownName, require
from obverse.ground.numerics import log
from obverse.path import Flow, Level, Prediction, Velocity
from obverse.sampler.solvers.onestep import InClock, PerRadius, along, kept, steering
from obverse.sampler.solvers.symbols import Combination, Trace, weighted

Place = Callable[[Trace, Prediction, Level, Level, float], Level]  # the level a share of the way from t to s


@dataclass(frozen=True)
class Butcher:
    """An explicit Butcher table.

    Args:     order: of the method on smooth problems.
              rows: what each stage after the first weighs the slopes before it with; they sum to its node.
              weights: of all slopes in the step; they sum to 1.
    """

    order: int
    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]

    @property
    def nodes(self) -> tuple[float, ...]:
        """Where in the step each stage lies: 0 first."""
        return (0.0, *map(math.fsum, self.rows))


EULER = Butcher(1, (), (1.0,))
MIDPOINT = Butcher(2, ((1 / 2,),), (0.0, 1.0))
HEUN = Butcher(2, ((1.0,),), (1 / 2, 1 / 2))
RK4 = Butcher(4, ((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))
TABLES = {
    "euler": EULER,
    "midpoint": MIDPOINT,
    "heun": HEUN,
    "ralston": Butcher(2, ((2 / 3,),), (1 / 4, 3 / 4)),  # Ralston (1962): the least error bound of order 2
    "heun3": Butcher(3, ((1 / 3,), (0.0, 2 / 3)), (1 / 4, 0.0, 3 / 4)),  # Heun (1900)
    "ralston3": Butcher(3, ((1 / 2,), (0.0, 3 / 4)), (2 / 9, 1 / 3, 4 / 9)),  # Ralston (1962)
    "kutta3": Butcher(3, ((1 / 2,), (-1.0, 2.0)), (1 / 6, 2 / 3, 1 / 6)),  # Kutta (1901)
    "rk4": RK4,  # Kutta (1901): the classical one
    "three-eighths": Butcher(4, ((1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)), (1 / 8, 3 / 8, 3 / 8, 1 / 8)),
}


def on_the_way(trace: Trace, face: Prediction, t: Level, s: Level, share: float) -> Level:
    """The level a share of the way in the face's clock; in a constant row's, (alpha, sigma) / c moves on a line."""
    if isinstance(face, Velocity):
        return in_time(trace, face, t, s, share)
    if isinstance(face, PerRadius):
        return trace.at_nsr(math.tan((1 - share) * t.theta + share * s.theta))
    near, far = (1 - share) / face.clock(t)[0], share / face.clock(s)[0]
    return trace.at(2 * math.log((near * t.alpha + far * s.alpha) / (near * t.sigma + far * s.sigma)))


def in_time(trace: Trace, face: Prediction, t: Level, s: Level, share: float) -> Level:  # noqa: ARG001 - a Place
    """The level a share of the way in t."""
    return trace.schedule.at((1 - share) * t.t + share * s.t).floats()[0]


def explicit(
    table: Butcher, face: Prediction, trace: Trace, x_t: Combination, t: Level, s: Level, place: Place = on_the_way
) -> Combination:
    """One step of a table in a face's clock: every stage leaves x_t with the mean of the slopes before it.

    Args:     table, face: the method.
              trace, x_t, t, s: the step; sigma_t > 0, and sigma_s > 0 where a node is 1.
              place: where nodes lie; not in the face's own clock: pseudo Runge-Kutta.
    """
    face = steering(face, t, s)
    slopes = [trace.call(x_t, t).on(face)]
    levels = {0.0: t, 1.0: s}
    for node, row in zip(table.nodes[1:], table.rows, strict=True):
        if node not in levels:
            levels[node] = place(trace, face, t, s, node)
        inner = along(face, x_t, _mean(row, slopes), t, levels[node])
        slopes.append(trace.call(trace.state(inner, levels[node]), levels[node]).on(face))
    return along(face, x_t, _mean(table.weights, slopes), t, s)


@dataclass(frozen=True)
class RungeKutta(InClock, name="runge-kutta"):
    """An explicit Runge-Kutta method in the clock of a face: data, noise, flow, velocity (t) or v (the angle) (T27).

    No stage is called at zero noise: a step there is taken in flow's clock with the table `last`, whose nodes lie
    below 1, and by euler (DDIM) where the schedule has no level between: it keeps noise at t = 0. In noise's clock,
    infinite at a start from pure noise, that step is taken in flow's.

    Args:     table: a name in TABLES; its order is the method's.
              face: in whose clock; on the linear path velocity's is flow's.
              last: the table of a step to zero noise; euler, as papers have it, costs one call and caps the order of
              a run to the clean end at 2; midpoint costs two.
    Example:
        >>> heun = RungeKutta("heun", face="noise", last="euler").tableau("vp", "uniform:steps=4")
        >>> heun == Heun("noise").tableau("vp", "uniform:steps=4"), heun.calls
        (True, 7)
    Source:   Kutta (1901); Butcher (2016), "Numerical methods for ordinary differential equations", chapter 3.
    """

    table: str = "rk4"
    face: Prediction = field(default_factory=Flow)
    last: str = "midpoint"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (self.table, self.last):
            if name not in TABLES:
                raise UnknownName("Butcher table", name, TABLES)
        inside = max(TABLES[self.last].nodes) < 1
        require(inside, f"runge-kutta: last={self.last} would call at zero noise (euler, midpoint, heun3 do not).")

    @property
    def order(self) -> int:  # type: ignore[override]
        """The table's."""
        return TABLES[self.table].order

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        return stepped(TABLES[self.table], TABLES[self.last], self.face, trace, x_t, t, s)


@dataclass(frozen=True)
class Heun(InClock, name="heun"):
    """Heun's method in the clock of a face: noise is EDM's; two calls a step, one for a step to zero noise.

    Source: Karras et al. (2022), algorithm 1.
    """

    face: Prediction = field(default_factory=Flow)

    order: ClassVar[int] = 2

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        return stepped(HEUN, EULER, self.face, trace, x_t, t, s)


def stepped(
    table: Butcher, last: Butcher, face: Prediction, trace: Trace, x_t: Combination, t: Level, s: Level
) -> Combination:
    """A step of a table, or where no noise is left of what may still be called."""
    if t.sigma == 0:
        return kept(x_t, t, s)
    if s.sigma == 0 and table.rows:
        return explicit(last if _reaches(trace, last, t) else EULER, Flow(), trace, x_t, t, s)
    return explicit(table, face, trace, x_t, t, s)


def _reaches(trace: Trace, table: Butcher, t: Level) -> bool:
    """Whether the schedule has the levels of a step of a table from t to zero noise, in flow's clock."""
    least = (1 - max(table.nodes)) * t.sigma
    most: float = log(t.alpha + t.sigma - least) - log(least)
    return 2 * most <= trace.schedule.range[1]


def _mean(weights: tuple[float, ...], slopes: list[Combination]) -> Combination:
    """The weighted mean of the slopes."""
    return weighted([weight / math.fsum(weights) for weight in weights], slopes)
