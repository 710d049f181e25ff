"""The reverse SDE with a memory: data estimates of earlier steps joined by a polynomial (T26, T30)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from obverse.ground.errors import require
from obverse.path import Data, Level
from obverse.sampler.solvers.clocks import Clock, InAngle, InLogSNR, InNSR
from obverse.sampler.solvers.interpolation import weights
from obverse.sampler.solvers.solver import length
from obverse.sampler.solvers.stochastic import Reverse, with_noise
from obverse.sampler.solvers.strength import Constant, Eta, NoiseScale
from obverse.sampler.solvers.symbols import Combination, Guess, Trace, weighted

MOST = 4  # estimates worth joining


class StochasticAdams(Reverse):
    """Root of the methods that join data estimates in a clock, and correct each step for free; one call a step.

    To add one, name `predictor`, `corrector` (0: none) and `clock`; where they are not fields, as class attributes.
    """

    predictor: int
    corrector: int
    clock: Clock

    def __post_init__(self) -> None:
        super().__post_init__()
        ok = 1 <= self.predictor <= MOST and 0 <= self.corrector <= MOST
        require(
            ok, f"{self.name}: predictor 1 to {MOST}, corrector 0 to {MOST}, got {self.predictor}, {self.corrector}."
        )

    @property
    def order(self) -> int:  # type: ignore[override]
        """Weak order: more estimates than two make the error smaller, but noise leaves no higher order in law."""
        return min(2, self.corrector or self.predictor)

    @property
    def invariant(self) -> bool:
        return self.clock.invariant

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        kept, fresh = self.strength.split(t, s)
        before = trace.notes.pop("sde-adams", None)
        now = trace.call(x_t, t)
        if self.corrector and before is not None:
            start, moved = before
            older = trace.guesses[-2::-1]
            nodes = [older[0], now, *older[1:]][: self.corrector] if self.corrector > 1 else [now]
            x_t = x_t + (self._moved(trace, nodes, start, t) - moved)
        moved = self._moved(trace, trace.guesses[::-1][: self.predictor], t, s)
        trace.notes["sde-adams"] = (t, moved)
        x_s = s.sigma / t.sigma * kept * x_t + moved
        return with_noise(x_s, s.sigma * fresh, trace, t, s)

    def _moved(self, trace: Trace, nodes: Sequence[Guess], t: Level, s: Level) -> Combination:
        """What the data estimates add in a step; their weights sum to what leaves constant data exact."""
        eta = self.strength.over(t, s)
        _, shares = weights(Data(), self.clock, [e.level for e in nodes], t, s, trace.schedule, eta=eta)
        kept, _ = self.strength.split(t, s)
        left = (s.alpha - s.sigma / t.sigma * kept * t.alpha) / math.fsum(shares)
        return weighted([left * share for share in shares], [e.data for e in nodes])


@dataclass(frozen=True)
class SDEAdams(StochasticAdams, name="sde-adams"):
    """The reverse SDE, the data estimate a polynomial through the last ones in any clock, and corrected for free.

    x_s = (sigma_s/sigma_t) q x_t + sum_j w_j x_j + sigma_s sqrt(1 - q²) xi. The corrector puts the estimate at s into
    the polynomial of the step that led there, with the same draw; it costs no call.

    The defaults, on the default grid, are the ones to start with (benchmarks/stochastic_samplers.py).

    Args:     eta: the strength; 0 is the ODE's exponential Adams; 0.7 is at the sampling floor from fewest calls.
              predictor, corrector: estimates joined, 1 to 4; corrector 0: none. Joining three costs at 10 calls.
              clock: in which they are joined.
    Source:   Xue et al. (2023), "SA-Solver", section 4; Lu et al. (2022), SDE-DPM-Solver++.
    """

    eta: Eta = field(default_factory=lambda: Constant(0.7))
    predictor: int = 2
    corrector: int = 2
    clock: Clock = field(default_factory=InAngle)


@dataclass(frozen=True)
class SASolver(StochasticAdams, name="sa-solver"):
    """SA-Solver: the stochastic Adams method in log-SNR, predictor and corrector (`sde-adams` in that clock).

    Args:     eta: the paper's tau.
              predictor, corrector: estimates joined; 3 and 4 in the paper.
    Source:   Xue et al. (2023), algorithm 1.
    """

    predictor: int = 3
    corrector: int = 4

    clock = InLogSNR()


@dataclass(frozen=True)
class ERSDE(StochasticAdams, name="er-sde"):
    """ER-SDE-Solver 1 to 3: estimates joined in nsr, with a strength given by a noise scale function.

    Args:     eta: the strength; the paper's best by default.
              stages: estimates joined.
    Source:   Cui et al. (2023), "Elucidating the solution space of extended reverse-time SDE", algorithms 1 to 3.
    """

    eta: Eta = field(default_factory=NoiseScale)
    stages: int = 3

    corrector = 0
    clock = InNSR()

    def __post_init__(self) -> None:
        require(1 <= self.stages <= 3, f"er-sde: stages is 1, 2 or 3, got {self.stages}.")
        super().__post_init__()

    @property
    def predictor(self) -> int:  # type: ignore[override]
        """The stages."""
        return self.stages


@dataclass(frozen=True)
class SDEDPMpp(Reverse, name="sde-dpmpp"):
    """SDE-DPM-Solver++ of 1 to 3 estimates, by its published formulas; data in log-SNR.

    Two: the midpoint form, the estimate moved half a step on. Three: k-diffusion's, where the second difference counts
    half of what the interpolation polynomial gives it (`sde-adams:predictor=3,clock=logsnr`). One is `sde`.
    Where a step is infinitely long in log-SNR, a start from pure noise or one to zero noise, one estimate is used.
    Source: Lu et al. (2022), "DPM-Solver++", section 5 and appendix.
    """

    stages: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.stages <= 3, f"sde-dpmpp: stages is 1, 2 or 3, got {self.stages}.")

    @property
    def order(self) -> int:  # type: ignore[override]
        """Weak order."""
        return min(2, self.stages)

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        kept, fresh = self.strength.split(t, s)
        data = trace.call(x_t, t).data
        past = [e for e in trace.guesses[::-1] if e.level.alpha > 0][: self.stages if s.sigma > 0 else 1]
        left = s.alpha - s.sigma / t.sigma * kept * t.alpha
        x_s = s.sigma / t.sigma * kept * x_t + left * data
        if len(past) > 1:
            x_s = x_s + left * self._trend(past, s, self.strength.over(t, s))
        return with_noise(x_s, s.sigma * fresh, trace, t, s)

    def _trend(self, past: Sequence[Guess], s: Level, eta: float) -> Combination:
        """What the estimate gains over the step, in its mean."""
        h = length(past[0].level, s)
        before = [length(b.level, a.level) / h for a, b in pairwise(past)]
        slopes = [1 / r * (a.data - b.data) for r, (a, b) in zip(before, pairwise(past), strict=True)]
        if self.stages == 2:
            return 0.5 * slopes[0]
        z = (1 + eta**2) * h
        total = -math.expm1(-z)
        second = 1 - total / z
        if len(slopes) == 1:
            return second / total * slopes[0]
        bend = 1 / (before[0] + before[1]) * (slopes[0] - slopes[1])
        return second / total * (slopes[0] + before[0] * bend) - (second / z - 0.5) / total * bend
