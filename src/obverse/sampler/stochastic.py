"""Methods that draw fresh noise: the reverse SDE and its relatives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from obverse.ground.errors import InvalidArgument
from obverse.path import Level
from obverse.sampler.solver import Combination, Solver, Trace


@dataclass(frozen=True)
class SDE(Solver, name="sde"):
    """The reverse SDE of any strength, data estimate frozen, integrated exactly: eta 0 is DDIM, eta 1 DDPM (T30).

    x_s = alpha_s x + sigma_s (q eps + sqrt(1 - q²) xi),  q = (nsr_s / nsr_t)^(eta²).
    Same law as the ODE at every eta when steps are small; more eta forgets early mistakes and costs more steps.
    Not Song's DDIM-eta: the two agree at 0 and 1 only.
    Source: Song et al. (2021), equation 6; Lu et al. (2022), SDE-DPM-Solver++(1).
    """

    eta: float = 1.0

    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not (0 <= self.eta < math.inf):
            raise InvalidArgument(f"sde: eta >= 0 (0 = DDIM, 1 = DDPM), got {self.eta}.")

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        e = trace.call(x_t, t)
        kept = (s.sigma * t.alpha / (s.alpha * t.sigma)) ** (self.eta**2)
        x_s: Combination = s.alpha * e.data + s.sigma * kept * e.noise
        fresh = s.sigma * math.sqrt((1 - kept) * (1 + kept))
        return x_s + fresh * trace.draw(t, s) if fresh > 0 else x_s
