"""DPM-Solver++ with a memory, and UniPC: the data estimate joined in log-SNR (T26)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from obverse.ground.errors import UnknownName, require
from obverse.path import Data, Level
from obverse.sampler.solvers.clocks import InLogSNR
from obverse.sampler.solvers.multistep import Joined, advance
from obverse.sampler.solvers.solver import Solver, length
from obverse.sampler.solvers.symbols import Combination, Guess, Trace

JOINED = Joined(Data(), InLogSNR())


class DPMpp2M(Solver, name="dpmpp-2m"):
    """DPM-Solver++ 2M: the data estimate, extrapolated linearly in log-SNR, integrated exactly; one call a step (T26).

    The first step, a step to zero noise (infinitely long in log-SNR) and the one after a start from alpha = 0
    (likewise) are of first order.
    Source: Lu et al. (2022), "DPM-Solver++", algorithm 2.
    """

    order: ClassVar[int] = 2

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        return advance(trace, half, 2, x_t, t, s, corrector=False)


class DPMpp3M(Solver, name="dpmpp-3m"):
    """DPM-Solver++ 3M as its authors' code has it: three data estimates, the second difference at half its weight.

    Joined exactly (`adams:face=data,clock=logsnr,memory=3`) they would be of third order; so they are of second, and
    calmer in few steps.
    Source: Lu et al. (2022), "DPM-Solver++", section 4.2 and the code beside it.
    """

    order: ClassVar[int] = 2

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        return advance(trace, self._joined, 3, x_t, t, s, corrector=False)

    def _joined(self, trace: Trace, known: Sequence[Guess], x_t: Combination, t: Level, s: Level) -> Combination:
        h = length(t, s)
        past = [length(b.level, a.level) / h for a, b in pairwise(known)]
        if len(past) < 2 or not all(map(math.isfinite, (h, *past))):
            return half(trace, known[:2], x_t, t, s)
        near, far = ((a.data - b.data) * (1 / r) for (a, b), r in zip(pairwise(known), past, strict=True))
        bend = (near - far) * (1 / (past[0] + past[1]))
        slope = near + past[0] * bend
        one = -math.expm1(-h)
        two = 1 - one / h  # int_0^1 q h exp(-(1 - q) h) dq: phi_2
        x_s: Combination = s.sigma / t.sigma * x_t + s.alpha * one * known[0].data
        x_s += s.alpha * two * slope + s.alpha * (0.5 - two / h) * bend
        return x_s


@dataclass(frozen=True)
class UniPC(Solver, name="unipc"):
    """UniP, the exponential Adams method of the data estimate in log-SNR, corrected by UniC for free (T26).

    The paper's B(h) counts only where one weight is set to a half instead of solved for: two estimates in the
    predictor, one before and one after in the corrector.

    Args:     memory: estimates the predictor joins, 1 to 4: the paper's order.
              variant: bh1 or bh2, B(h) = h or exp(h) - 1.
              corrector: false is UniP alone.
    Source:   Zhao et al. (2023), "UniPC", algorithms 5 and 6.
    """

    memory: int = 2
    variant: str = "bh2"
    corrector: bool = True

    def __post_init__(self) -> None:
        require(1 <= self.memory <= 4, f"unipc: memory is 1 to 4 estimates, got {self.memory}.")
        if self.variant not in ("bh1", "bh2"):
            raise UnknownName("variant of unipc", self.variant, ("bh1", "bh2"))

    @property
    def order(self) -> int:  # type: ignore[override]
        """One more with the corrector; the first step leaves 2 without it."""
        return min(self.memory + self.corrector, 2 + self.corrector)

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        return advance(trace, self._joined, self.memory, x_t, t, s, corrector=self.corrector)

    def _joined(self, trace: Trace, known: Sequence[Guess], x_t: Combination, t: Level, s: Level) -> Combination:
        if len(known) == 2:
            return half(trace, known, x_t, t, s, self.variant)
        return JOINED.step(trace, known, x_t, t, s)


def half(
    trace: Trace, known: Sequence[Guess], x_t: Combination, t: Level, s: Level, variant: str = "bh2"
) -> Combination:
    """One estimate, or two with the difference weighted by a half of B(h) over their distance in steps."""
    x_s = JOINED.step(trace, known[:1], x_t, t, s)
    h = length(t, s)
    if len(known) == 2 and math.isfinite(h) and math.isfinite(apart := length(known[1].level, known[0].level)):
        share = s.alpha * (h if variant == "bh1" else -math.expm1(-h))
        x_s = x_s + 0.5 * share * h / apart * (known[0].data - known[1].data)
    return x_s
