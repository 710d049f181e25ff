"""Pseudo numerical methods: classical weights, with DDIM's step for the carrying."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from obverse.ground.errors import UnknownName
from obverse.path import Level, Noise
from obverse.sampler.solvers.onestep import along, kept
from obverse.sampler.solvers.rungekutta import EULER, HEUN, RK4, explicit, in_time, on_the_way
from obverse.sampler.solvers.solver import Solver
from obverse.sampler.solvers.symbols import Combination, Trace, weighted

ADAMS = (  # Adams-Bashforth of order 1 to 4 on even steps: the newest first
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
STARTERS = {"runge-kutta": (RK4, 3), "heun": (HEUN, 1), "none": (EULER, 0)}  # and for how many steps


@dataclass(frozen=True)
class PNDM(Solver, name="pndm"):
    """Pseudo linear multistep: the Adams-Bashforth mean of four noise estimates goes into DDIM's step (T26).

    One call a step after the start. The weights are those of even steps whatever the levels, which keeps the order
    at 2. At zero noise nothing is called, so a start that would is left out there.

    Args:     starter: runge-kutta: three steps of four calls, the stages halfway in t (PNDM); heun: one step of two
                  calls (PLMS as Stable Diffusion runs it); none: fewer estimates at first (iPNDM).
    Source:   Liu et al. (2022), "Pseudo numerical methods for diffusion models", algorithm 2; Zhang & Chen (2023).
    """

    starter: str = "runge-kutta"

    order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.starter not in STARTERS:
            raise UnknownName("starter of pndm", self.starter, STARTERS)

    @property
    def invariant(self) -> bool:
        return self.starter != "runge-kutta"  # halfway in t knows the schedule's t

    @property
    def exact(self) -> bool:
        return self.starter != "runge-kutta"  # but for rounding, which long steps halfway in t raise to 1e-8

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        if t.sigma == 0:
            return kept(x_t, t, s)
        x_s: Combination
        before: list[Combination] = trace.notes.setdefault("pndm", [])
        table, steps = STARTERS[self.starter]
        if len(before) < steps and s.sigma > 0:
            before.insert(0, trace.call(x_t, t).noise)
            return explicit(table, Noise(), trace, x_t, t, s, on_the_way if t.alpha == 0 else in_time)
        e = trace.call(x_t, t)
        before.insert(0, e.noise)
        del before[4:]
        if t.alpha == 0:
            x_s = s.alpha * e.data + s.sigma * e.noise
            return x_s
        return along(Noise(), x_t, weighted(ADAMS[len(before) - 1], before), t, s)
