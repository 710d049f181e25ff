"""DPM-Solver: exponential Runge-Kutta methods in log-SNR, of the noise or of the data estimate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from obverse.ground.errors import require
from obverse.path import Data, Flow, Level, Noise, Prediction
from obverse.sampler.solvers.onestep import along, kept
from obverse.sampler.solvers.rungekutta import EULER, MIDPOINT, explicit
from obverse.sampler.solvers.solver import Solver
from obverse.sampler.solvers.symbols import Combination, Trace

THIRD = 2 / 3  # the r2 at which three stages are of order 3


@dataclass(frozen=True)
class DPMSolver(Solver, name="dpm-solver"):
    """Single-step DPM-Solver of 1, 2 or 3 calls; with face=data DPM-Solver++ 2S and 3S (T25).

    The linear part is exact; the estimate is extrapolated in log-SNR from the start of the step and from stages at
    shares r1, r2 of it. A step to zero noise, infinitely long in log-SNR, is DDIM. A step from pure noise, likewise
    infinite, is the midpoint rule in flow's clock.

    Args:     stages: calls a step; also the order, of 3 with r2 = 2/3 only.
              face: noise (DPM-Solver) or data (DPM-Solver++).
              r1: where the second call lies; default 1/2 of two, 1/3 of three.
              r2: where the third lies.
              tail: stages of the last steps; (2, 1): DPM-Solver-fast. One of few stages costs order.
    Example:
        >>> fast = DPMSolver(3, tail=(2, 1)).tableau("vp", "uniform:steps=5,end=0.001")
        >>> fast.calls
        12
    Source:   Lu et al. (2022), "DPM-Solver", algorithms 1 and 2, section 3.4; "DPM-Solver++", algorithm 1.
    """

    stages: int = 3
    face: Prediction = field(default_factory=Noise)
    r1: float | None = None
    r2: float = THIRD
    tail: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.stages in (1, 2, 3), f"dpm-solver: stages is 1, 2 or 3, got {self.stages}.")
        ok = self.face in (Data(), Noise())
        require(ok, f"dpm-solver: face is noise or data, got {self.face.spec} (runge-kutta takes others).")
        require(set(self.tail) <= {1, 2, 3}, f"dpm-solver: tail holds 1, 2 and 3, got {self.tail} (fast: (2, 1)).")
        two, three = 2 in (self.stages, *self.tail), 3 in (self.stages, *self.tail)
        ok = not (two and not 0 < self._first(2) <= 1) and not (three and not 0 < self._first(3) < self.r2 <= 1)
        require(ok, f"dpm-solver: 0 < r1 <= 1, of three stages r1 < r2 <= 1; got r1={self.r1}, r2={self.r2}.")

    @property
    def order(self) -> int:  # type: ignore[override]
        """That of the steps; one more than that of a single worse step at the end."""
        return min(self._order(self.stages), *(1 + self._order(stages) for stages in self.tail), 3)

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        left = trace.total - trace.number
        stages = self.stages if left > len(self.tail) else self.tail[-left]
        if t.sigma == 0:
            return kept(x_t, t, s)
        if stages == 1 or s.sigma == 0:
            return explicit(EULER, self.face, trace, x_t, t, s)
        if t.alpha == 0 or s.alpha == 0:
            return explicit(MIDPOINT, Flow(), trace, x_t, t, s)
        return self._inside(stages, trace, x_t, t, s)

    def _inside(self, stages: int, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        """A step between levels with signal and noise; z is its length in the logarithm of the clock, falling."""
        (c_t, m_t), (c_s, m_s) = self.face.clock(t), self.face.clock(s)
        z = math.log(m_t / c_t) - math.log(m_s / c_s)
        e = trace.call(x_t, t).on(self.face)
        r1, r2 = self._first(stages), self.r2

        def turn(share: float, change: Combination | None = None) -> Combination:
            """What is said a share of the way, going there with e and the change of it known so far."""
            level = s if share == 1 else trace.between(t, s, share)
            inner = along(self.face, x_t, e, t, level)
            if change is not None:
                inner = inner - self.face.clock(level)[1] * share / r1 * _second(share * z) * change
            return trace.call(trace.state(inner, level), level).on(self.face) - e

        change = turn(r1)
        weight = math.expm1(z) / (2 * r1)
        if stages == 3:
            change, weight = turn(r2, change), _second(z) / r2
        x_s: Combination = along(self.face, x_t, e, t, s) - m_s * weight * change
        return x_s

    def _first(self, stages: int) -> float:
        return 1 / stages if self.r1 is None else self.r1

    def _order(self, stages: int) -> int:
        return stages if stages < 3 or math.isclose(self.r2, THIRD) else 2


def _second(z: float) -> float:
    """(exp(z) - 1) / z - 1, the weight of a change that grows evenly."""
    return math.expm1(z) / z - 1
