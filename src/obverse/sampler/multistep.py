"""Methods that look back at the estimates of earlier steps."""

from __future__ import annotations

from typing import ClassVar

from obverse.ground.numerics import log
from obverse.path import Level
from obverse.sampler.solver import Combination, Solver, Trace


class DPMpp2M(Solver, name="dpmpp-2m"):
    """DPM-Solver++ 2M: the data estimate, extrapolated linearly in log-SNR, integrated exactly; one call a step (T26).

    The first step, a step to zero noise (infinitely long in log-SNR) and the one after a start from alpha = 0
    (likewise) are of first order.
    Source: Lu et al. (2022), "DPM-Solver++", algorithm 2.
    """

    order: ClassVar[int] = 2

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        e = trace.call(x_t, t)
        data = e.data
        if len(trace.guesses) > 1 and s.sigma > 0:
            before = trace.guesses[-2]
            h, h_before = _length(t, s), _length(before.level, t)
            data = data + h / (2 * h_before) * (data - before.data)  # 0 after an infinite step
        x_s: Combination = s.sigma / t.sigma * x_t + (s.alpha - s.sigma * t.alpha / t.sigma) * data
        return x_s


def _length(t: Level, s: Level) -> float:
    """Length of a step in half log-SNR; infinite from alpha = 0."""
    return float(log(s.alpha) + log(t.sigma) - log(t.alpha) - log(s.sigma))
