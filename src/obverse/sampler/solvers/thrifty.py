"""The default sampler: one documented method for each number of calls."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from obverse.path import Flow, Level, Prediction, V
from obverse.sampler.solvers.clocks import InAngle
from obverse.sampler.solvers.multistep import Joined, advance
from obverse.sampler.solvers.solver import Combination, Solver, Trace


class Plan(NamedTuple):
    """What an exponential Adams method is from a number of steps on."""

    steps: int
    face: Prediction
    memory: int
    corrector: bool


PLANS = (
    Plan(24, Flow(), 5, True),
    Plan(10, Flow(), 4, True),
    Plan(8, Flow(), 3, True),
    Plan(6, Flow(), 2, True),
    Plan(4, V(), 4, False),
    Plan(1, Flow(), 2, False),
)


class Thrifty(Solver, name="thrifty"):
    """The most exact method here for its calls: exponential Adams in the angle, set by the number of steps (T26).

    Four v estimates, not corrected, in 4 and 5 steps; flow estimates, corrected, from 6 on: two, three from 8, four
    from 10, five from 24, and fewer again towards the end: two in the last step, three in the one before. One call a
    step. The plans, and the grid `scales` they were chosen with, know the number of steps and nothing of the data
    (benchmarks/error_against_calls.py). In few steps high orders send samples to the wrong mode, in very few a
    corrector does, and a high order in the last step overshoots data that lies on points.
    """

    order: ClassVar[int] = 3

    @property
    def exact(self) -> bool:
        return False

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        plan = next(plan for plan in PLANS if trace.total >= plan.steps)
        left = trace.total - trace.number
        memory = min(plan.memory, left + 1) if plan.corrector else plan.memory
        return advance(trace, Joined(plan.face, InAngle()).step, memory, x_t, t, s, corrector=plan.corrector)
