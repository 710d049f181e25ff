"""The default sampler: one documented method for each number of calls."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from obverse.path import Flow, Level
from obverse.sampler.solvers.clocks import InAngle
from obverse.sampler.solvers.multistep import Joined, advance
from obverse.sampler.solvers.solver import Combination, Solver, Trace


class Plan(NamedTuple):
    """What an exponential Adams method is from a number of steps on.

    Args:     steps: from how many on.
              memory: estimates joined by the predictor; two in the last step, three in the one before ...
              first, last: how much of the correction is made, 1 being all: in the first step, evenly to the last.
    """

    steps: int
    memory: int
    first: float
    last: float

    def share(self, number: int, total: int) -> float:
        """How much of the correction is made in a step."""
        return self.first + (self.last - self.first) * number / max(total - 1, 1)


PLANS = (
    Plan(24, 5, 1.0, 1.0),
    Plan(10, 4, 1.0, 1.0),
    Plan(8, 3, 1.0, 0.7),
    Plan(6, 2, 1.2, 0.7),
    Plan(5, 2, 1.4, 0.4),
    Plan(4, 2, 1.2, 0.2),
    Plan(1, 2, 0.0, 0.0),
)


class Thrifty(Solver, name="thrifty"):
    """The most exact method here for its calls: exponential Adams in the angle, set by the number of steps (T26).

    Flow estimates, one call a step: two are joined, three from 8 steps on, four from 10, five from 24, fewer again
    towards the end. From 4 steps on each step is corrected by the call that follows it; below 10 the correction weakens
    from the first step to the last. The plans, and the rules of the grid `scales`, come from a search over random
    mixtures in 1 to 100 dimensions: they know the number of steps and nothing of the data but that its spread is near
    1. In few steps high orders send samples to the wrong mode; in the last steps they overshoot data that is points.
    """

    order: ClassVar[int] = 3

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        plan = next(plan for plan in PLANS if trace.total >= plan.steps)
        memory = min(plan.memory, trace.total - trace.number + 1)
        share = plan.share(trace.number, trace.total)
        return advance(trace, Joined(Flow(), InAngle()).step, memory, x_t, t, s, corrector=plan.first > 0, share=share)
