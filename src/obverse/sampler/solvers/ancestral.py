"""Steps of discrete diffusion: DDPM's two variances, Song's eta, and noise put back after any step (T32)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from obverse.ground.errors import InvalidArgument, UnknownName, require
from obverse.path import Level
from obverse.sampler.solvers.onestep import DDIM
from obverse.sampler.solvers.solver import Around, Solver, ratio
from obverse.sampler.solvers.stochastic import with_noise
from obverse.sampler.solvers.strength import downward
from obverse.sampler.solvers.symbols import Combination, Trace

VARIANCES = ("posterior", "large")
SLACK = 1e-9  # what log and exp may lose of a level


@dataclass(frozen=True)
class DDPM(Solver, name="ddpm"):
    """A step of the reversed Markov chain: the mean of q(x_s | x_t, x) at the data estimate, and one of two variances.

    With alpha_ts = alpha_t / alpha_s and beta = sigma_t² - alpha_ts² sigma_s², the mean is
    (alpha_s beta x + alpha_ts sigma_s² x_t) / sigma_t², the variance beta sigma_s² / sigma_t² (posterior) or beta
    (large). With the posterior variance it is the SDE of eta = 1; the two differ at second order in the step.

    Args:     variance: posterior, right for data that are one point, or large, right for white data.
    Source:   Ho et al. (2020), equation 7 and section 3.2.
    """

    variance: str = "posterior"

    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.variance not in VARIANCES:
            raise UnknownName("variance of ddpm", self.variance, VARIANCES)

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        downward(t, s)
        e = trace.call(x_t, t)
        old = ratio(s, t)
        new = (1 - old) * (1 + old)  # beta / sigma_t²
        x_s: Combination = s.alpha * new * e.data + s.sigma * old / t.sigma * x_t
        if s.sigma == 0:
            return x_s
        largest = s.sigma if self.variance == "posterior" else t.sigma * s.r / t.r  # at the scale of x_s
        return with_noise(x_s, largest * math.sqrt(new), trace, t, s)


@dataclass(frozen=True)
class DDIMEta(Solver, name="ddim-eta"):
    """DDIM with a share of DDPM's noise: x_s = alpha_s x + sqrt(sigma_s² - c²) eps + c xi (T32).

    c² = eta² sigma_s² (1 - nsr_s²/nsr_t²). In x / alpha it is Euler with ancestral noise. This eta is not the SDE's
    (`sde`): they agree at 0 and 1 only.
    Source: Song, Meng & Ermon (2021), equation 16.
    """

    eta: float = 1.0

    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        require(0 <= self.eta <= 1, f"ddim-eta: 0 <= eta <= 1, got {self.eta} (0 = DDIM, 1 = DDPM; sde goes beyond).")

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        old, new = _shares(self.eta, t, s)
        e = trace.call(x_t, t)
        x_s: Combination = s.alpha * e.data + s.sigma * old * e.noise
        return with_noise(x_s, s.sigma * new, trace, t, s)


@dataclass(frozen=True)
class Ancestral(Around, name="ancestral"):
    """A deterministic step further down than asked, then noise put back: stochastic, of the base's order in law (T31).

    The noise put back is Song's: nsr_up² = eta² nsr_s² (1 - nsr_s²/nsr_t²). With DDIM as base it is Euler-ancestral
    and `ddim-eta`. Putting noise back is exact, so what errs is the base, over a longer step.

    Args:     base: a method without memory that calls between the levels of its step, not at its end: ddim, dpmpp-2s.
              eta: in [0, 1]; 0 is the base itself.
    Source:   Song, Meng & Ermon (2021), equation 16, in the coordinates of Karras et al. (2022).
    """

    base: Solver = field(default_factory=DDIM)
    eta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.eta <= 1, f"ancestral: 0 <= eta <= 1, got {self.eta} (0: no noise).")

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        if s.sigma == 0 or self.eta == 0:
            return self.base.step(trace, x_t, t, s)
        old, new = _shares(self.eta, t, s)
        below = _below(trace, s, s.nsr * old)
        calls = len(trace.guesses)
        x_below = self.base.step(trace, x_t, t, below)
        lowest = trace.schedule.at(0.0).floats()[0]
        if any(e.level.nsr < lowest.nsr * (1 - SLACK) for e in trace.guesses[calls:]):
            raise InvalidArgument(
                f"ancestral: {self.base.label} calls at the end of its step, which lies below the last level of "
                f"{trace.schedule.label}, {lowest}; use a base that does not (ddim, dpmpp-2s)."
            )
        return with_noise(s.alpha / below.alpha * x_below, s.sigma * new, trace, t, s)


def _below(trace: Trace, s: Level, nsr: float) -> Level:
    """The level with less noise than s: on the schedule, or beyond its end at the scale of s."""
    if nsr > 0 and -2 * math.log(nsr) <= trace.schedule.range[1]:
        return trace.at_nsr(nsr)
    angle = math.atan(nsr)
    return Level(s.t, s.r * math.cos(angle), s.r * math.sin(angle), 0.0, 0.0)


def _shares(eta: float, t: Level, s: Level) -> tuple[float, float]:
    """Of sigma_s: what is kept of the old noise, and what is new."""
    if eta:
        downward(t, s)
    old = ratio(s, t)
    return math.hypot(math.sqrt((1 - eta) * (1 + eta)), eta * old), eta * math.sqrt((1 - old) * (1 + old))
