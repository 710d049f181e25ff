"""The reverse SDE one call at a time: exactly, by renoising, and by the plain step that the others are measured by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from obverse.ground.errors import require
from obverse.path import Level
from obverse.sampler.solvers.solver import Solver
from obverse.sampler.solvers.strength import Constant, Eta, Strength, downward
from obverse.sampler.solvers.symbols import Combination, Trace


@dataclass(frozen=True)
class Reverse(Solver):
    """Root of the methods that solve the reverse SDE of a strength."""

    eta: Eta = field(default_factory=Constant)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "eta", Strength.of(self.eta))

    @property
    def strength(self) -> Strength:
        """eta as a function of the noise level."""
        return Strength.of(self.eta)


@dataclass(frozen=True)
class SDE(Reverse, name="sde"):
    """The reverse SDE of any strength, data estimate frozen, integrated exactly: eta 0 is DDIM, eta 1 DDPM (T30).

    x_s = alpha_s x + sigma_s (q eps + sqrt(1 - q²) xi),  q = exp(-int eta² dl), for constant eta (nsr_s/nsr_t)^(eta²).
    Same law as the ODE at every eta when steps are small; more eta forgets early mistakes and costs more steps.
    Not Song's DDIM-eta: the two agree at 0 and 1 only.

    Args:     eta: a number, or a strength such as (window:value=0.5,nsr_min=0.1,nsr_max=10).
    Source:   Song et al. (2021), equation 6; Lu et al. (2022), SDE-DPM-Solver++(1).
    """

    order: ClassVar[int] = 1

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        kept, fresh = self.strength.split(t, s)
        e = trace.call(x_t, t)
        x_s: Combination = s.alpha * e.data + s.sigma * kept * e.noise
        return with_noise(x_s, s.sigma * fresh, trace, t, s)


@dataclass(frozen=True)
class Renoise(Solver, name="renoise"):
    """DDIM further down than asked, then noise put back: the reverse SDE without an SDE (T31).

    A fraction of the way down is undone: 0 is DDIM; one half, DDIM twice as far, DDPM; eta²/(1 + eta²) the SDE of eta.
    Source: Gao et al. (2024).
    """

    undone: float = 0.5

    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        require(0 <= self.undone < 1, f"renoise: 0 <= undone < 1, got {self.undone} (0 = DDIM, 0.5 = DDPM).")

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        if self.undone:
            downward(t, s)
        e = trace.call(x_t, t)
        further = self.undone / (1 - self.undone)  # beyond s, in steps
        nsr = s.nsr * (s.nsr / t.nsr) ** further if further else s.nsr
        x_s: Combination = s.alpha * (e.data + nsr * e.noise)
        return with_noise(x_s, s.alpha * math.sqrt((s.nsr - nsr) * (s.nsr + nsr)), trace, t, s)


@dataclass(frozen=True)
class EulerMaruyama(Reverse, name="euler-maruyama"):
    """Plain Euler of the reverse SDE in t: the baseline; nothing is integrated exactly (T35).

    dx = (velocity + eta² g²/(2 sigma) eps) dt + eta g dB; a step to zero noise takes the data estimate. It cannot start
    at alpha = 0, where g is infinite, and depends on the pace of the schedule.
    Source: Song et al. (2021), appendix D.1.
    """

    order: ClassVar[int] = 1

    @property
    def invariant(self) -> bool:
        return False

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        length, pull = t.t - s.t, self.strength.at(t) ** 2
        if pull:
            downward(t, s)
        e = trace.call(x_t, t)
        x_s: Combination = s.alpha * e.data
        if s.sigma == 0:
            return x_s
        x_s = x_t - length * (t.alpha_dot * e.data + t.sigma_dot * e.noise)
        if pull:
            x_s = x_s - length * pull * t.g2 / (2 * t.sigma) * e.noise
        return with_noise(x_s, math.sqrt(pull * t.g2 * length) if pull else 0.0, trace, t, s)


def with_noise(x_s: Combination, fresh: float, trace: Trace, t: Level, s: Level) -> Combination:
    """The state with what the Brownian path does between two levels; nothing is drawn where nothing is added."""
    return x_s + fresh * trace.draw(t, s) if fresh > 0 else x_s
