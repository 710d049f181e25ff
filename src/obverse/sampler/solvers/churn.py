"""Up again, then down: noise is raised before a deterministic step, or over a whole interval several times (T33)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

from obverse.ground.errors import InvalidArgument, require
from obverse.path import Level
from obverse.sampler.solvers.rungekutta import Heun
from obverse.sampler.solvers.solver import Around, Solver
from obverse.sampler.solvers.strength import downward
from obverse.sampler.solvers.symbols import Combination, Trace

MOST = math.sqrt(2) - 1  # Karras et al. (2022), algorithm 2: never more new noise than is there
Interval = tuple[float, ...]


@dataclass(frozen=True)
class Churn(Around, name="churn"):
    """Raise the noise a little, then step down from there with a deterministic method (T33).

    nsr -> (1 + gamma) nsr, gamma = min(s_churn / steps, sqrt(2) - 1) where s_min <= nsr <= s_max. Written in x / alpha,
    so it is right on every path. Noise is never raised above the schedule's, and not at all from pure noise.

    Args:     base: a method without memory; EDM's is heun:face=noise.
              s_churn: how much in all; 0 is the base itself.
              s_min, s_max: between which noise-to-signal ratios.
              s_noise: the standard deviation of what is added; 1 keeps the law, networks that blur want a little more.
    Source:   Karras et al. (2022), algorithm 2.
    """

    base: Solver = field(default_factory=Heun)
    s_churn: float = 10.0
    s_min: float = 0.05
    s_max: float = 50.0
    s_noise: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        ok = 0 <= self.s_churn < math.inf and 0 <= self.s_min <= self.s_max and 0 <= self.s_noise < math.inf
        require(ok, f"churn: s_churn, s_noise >= 0 and 0 <= s_min <= s_max, got {self.label} (10, 1, 0.05, 50).")

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        most = trace.schedule.at(1.0).floats()[0].nsr
        nsr = t.nsr
        if t.alpha > 0 and self.s_min <= nsr <= self.s_max:
            nsr = min((1 + min(self.s_churn / trace.total, MOST)) * nsr, most)
        if nsr > t.nsr:
            downward(t, s)
            above = trace.at_nsr(nsr)
            x_t, t = trace.state(raised(trace, x_t, t, above, self.s_noise), above), above
        return self.base.step(trace, x_t, t, s)


@dataclass(frozen=True)
class Restart(Around, name="restart"):
    """At the bottom of an interval go back to its top with fresh noise and come down again, several times (T33).

    Each interval is (nsr_min, nsr_max, times, steps): when the grid first passes nsr_min, noise is put back up to
    nsr_max and `steps` steps of the base lead down again, evenly spaced in nsr^(1/7); 0 steps: over the grid's own
    levels, as far up as they reach nsr_max. Few strong renewals forget early errors at less cost than many weak ones.

    Args:     base: the method; what it remembers is forgotten at every restart.
              intervals: of noise-to-signal ratio, apart from each other.
    Source:   Xu et al. (2023), algorithm 1 and table 3.
    """

    base: Solver = field(default_factory=Heun)
    intervals: tuple[Interval, ...] = ((0.5, 2.0, 1.0, 0.0),)

    def __post_init__(self) -> None:
        super().__post_init__()
        for interval in self.intervals:
            ok = len(interval) == 4 and 0 <= interval[0] < interval[1] < math.inf
            ok = ok and all(number >= 0 and number == int(number) for number in interval[2:])
            require(ok, f"restart: an interval is (nsr_min, nsr_max, times, steps), got {interval} (0.5, 2, 1, 0).")

    @property
    def order(self) -> int:  # type: ignore[override]
        """The base's; 0 where intervals have steps of their own, whose number a finer grid does not change."""
        return 0 if any(interval[3] for interval in self.intervals) else self.base.order

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        visited: list[Level] = trace.notes.setdefault("restart", [])
        visited.append(t)
        x_s = self.base.step(trace, x_t, t, s)
        for low, high, times, steps in self.intervals:
            if s.nsr <= low < t.nsr:
                way = _way(trace, visited, s, high, int(steps))
                for _ in range(int(times) if len(way) > 1 else 0):
                    x_s = self._again(trace, x_s, way)
        return x_s

    def _again(self, trace: Trace, x_s: Combination, way: list[Level]) -> Combination:
        """Up to the first level of the way and down to its last."""
        notes, trace.notes = trace.notes, {}
        trace.guesses.clear()
        x_s = raised(trace, trace.state(x_s, way[-1]), way[-1], way[0])
        for t, s in pairwise(way):
            x_s = self.base.step(trace, trace.state(x_s, t), t, s)
        trace.notes = notes | trace.notes
        return x_s


def raised(trace: Trace, x_s: Combination, s: Level, t: Level, std: float = 1.0) -> Combination:
    """A state taken to more noise: x / alpha plus what nsr² lacks (T33)."""
    fresh = std * t.alpha * math.sqrt((t.nsr - s.nsr) * (t.nsr + s.nsr))
    x_t: Combination = t.alpha / s.alpha * x_s + fresh * trace.draw()
    return x_t


def _way(trace: Trace, visited: list[Level], s: Level, high: float, steps: int) -> list[Level]:
    """The levels from the interval's top down to s."""
    if not steps:
        return [level for level in visited if s.nsr < level.nsr <= high] + [s]
    if s.sigma == 0:
        raise InvalidArgument("restart: the grid has no level in (0, nsr_min]; take more steps, or a larger nsr_min.")
    top = min(high, visited[0].nsr) ** (1 / 7)  # rho = 7: Karras et al. (2022)
    parts = [(top + i / steps * (s.nsr ** (1 / 7) - top)) ** 7 for i in range(steps)]
    return [*(trace.at_nsr(nsr) for nsr in parts), s]
