"""Predictor and corrector of score-based generation: moves at one level between the steps (T11)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from obverse.ground.errors import require
from obverse.path import Level
from obverse.sampler.solvers.solver import Around, Solver
from obverse.sampler.solvers.stochastic import SDE
from obverse.sampler.solvers.symbols import Combination, Trace


@dataclass(frozen=True)
class Langevin(Around, name="langevin"):
    """A step of any method, then moves of Langevin dynamics at the level reached.

    x <- x - 2 snr² sigma eps + 2 snr sigma xi: the size that Song et al. take from norms, with their expected values,
    so that it depends on the level alone. Each move costs a call. Moves of a fixed size keep a bias, however many
    levels there are: on Gaussian data of variance C at the level many moves end at C / (1 - snr² sigma² / C). Noise
    without that bias, and without the calls, is `sde` with more eta.

    Args:     base: the predictor.
              snr: of the moves; 0.16 in the paper.
              moves: at each level.
    Source:   Song et al. (2021), algorithm 1 and appendix G.
    """

    base: Solver = field(default_factory=SDE)
    snr: float = 0.16
    moves: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.snr < math.inf, f"langevin: snr >= 0, got {self.snr} (0.16).")
        require(self.moves >= 0, f"langevin: moves >= 0, got {self.moves} (1).")

    @property
    def order(self) -> int:  # type: ignore[override]
        """0: the bias stays. Without moves the base's."""
        return 0 if self.snr and self.moves else self.base.order

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        x_s = self.base.step(trace, x_t, t, s)
        if s.sigma == 0:  # nothing moves there, and networks are not trained there
            return x_s
        for _ in range(self.moves):
            x_s = trace.state(x_s, s)
            e = trace.call(x_s, s)
            trace.guesses.pop()  # the base remembers its own only
            x_s = x_s - 2 * self.snr**2 * s.sigma * e.noise + 2 * self.snr * s.sigma * trace.draw()
        return x_s
