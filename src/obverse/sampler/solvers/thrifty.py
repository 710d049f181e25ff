"""The default sampler: one documented method for each number of calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from obverse.path import Flow, Level
from obverse.sampler.sizes import checked, few, many
from obverse.sampler.solvers.clocks import InAngle
from obverse.sampler.solvers.multistep import Joined, advance
from obverse.sampler.solvers.solver import Solver
from obverse.sampler.solvers.symbols import Combination, Trace

JOINED = Joined(Flow(), InAngle())


class Plan(NamedTuple):
    """What an exponential Adams method is from a number of steps on.

    Args:     steps: from how many on.
              memory: estimates joined by the predictor.
              first, last: how much of the correction is made, 1 being all: in the first step, evenly to the last.
              ease: what the first is less by, times the number of steps. Near pure noise all data look normal, and one
                  number takes out what the first step, with one estimate, gets wrong.
              tail: two estimates are joined in so many last steps, three in as many before them ...
    """

    steps: int
    memory: int
    first: float
    last: float
    ease: float = 0.0
    tail: int = 1

    def share(self, number: int, total: int) -> float:
        """How much of the correction is made in a step."""
        first = self.first - self.ease / total
        return first + (self.last - first) * number / max(total - 1, 1)

    def joined(self, number: int, total: int) -> int:
        """How many estimates a step joins at most."""
        return min(self.memory, 2 + (total - 1 - number) // self.tail)

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        """From t to s as planned."""
        memory, share = self.joined(trace.number, trace.total), self.share(trace.number, trace.total)
        return advance(trace, JOINED.step, memory, x_t, t, s, corrector=self.first > 0, share=share)


SIX_AND_FIVE = (Plan(6, 2, 1.2, 0.6), Plan(5, 2, 1.4, 0.4))
FEWER = Plan(1, 2, 0.0, 0.0)
MANY = (
    Plan(40, 5, 1.0, 1.0, tail=3),
    Plan(28, 5, 1.0, 0.9, tail=3),
    Plan(16, 4, 1.0, 0.9, tail=4),
    Plan(10, 3, 1.15, 0.85, tail=4),
    Plan(8, 3, 1.0, 0.8, tail=5),
    *SIX_AND_FIVE,
    Plan(4, 2, 0.6, 0.2),
    FEWER,
)
SOME = (
    Plan(48, 5, 1.0, 1.0),
    Plan(16, 4, 1.0, 0.9, tail=3),
    Plan(12, 4, 1.0, 0.9, tail=3),
    Plan(10, 4, 1.0, 0.8, tail=2),
    Plan(8, 3, 1.0, 0.7, tail=3),
    *SIX_AND_FIVE,
    Plan(4, 2, 1.2, 0.2),
    FEWER,
)
FEW = (
    Plan(16, 6, 1.0, 1.0, ease=2.2, tail=2),
    Plan(10, 5, 1.0, 1.0, ease=1.6),
    Plan(9, 5, 0.85, 0.8),
    Plan(8, 4, 0.9, 0.75),
    Plan(6, 4, 1.0, 0.6),
    Plan(5, 2, 1.2, 0.5),
    Plan(4, 2, 1.2, 0.3),
    FEWER,
)


@dataclass(frozen=True)
class Thrifty(Solver, name="thrifty"):
    """The most exact method here for its calls: exponential Adams in the angle, set by the number of steps (T26).

    Flow estimates, one call a step: two are joined, more of them the more steps there are, up to six, and fewer again
    towards the end. From 4 steps on each step is corrected by the call that follows it; in few steps the correction
    weakens towards the data. The plans, and the rules of the grid `scales`, come from a search over random mixtures in
    1 to 192 dimensions, checked on trained networks: they know the number of steps and of dimensions, and nothing else
    of the data but that its spread is near 1. In few steps high orders send samples to the wrong mode; in the last
    steps they overshoot, most of all with networks, whose estimates are rough there.

    Args:     size: numbers of a sample, as `sample` knows it; none: neither few (5) nor many (30), which have plans of
                  their own.
    """

    size: int | None = None

    order: ClassVar[int] = 3

    def __post_init__(self) -> None:
        checked(self.size, self.name)

    def plan(self, steps: int) -> Plan:
        """What is done in so many steps."""
        plans = FEW if few(self.size) else MANY if many(self.size) else SOME
        return next(plan for plan in plans if steps >= plan.steps)

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        return self.plan(trace.total).step(trace, x_t, t, s)
