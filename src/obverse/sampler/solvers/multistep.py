"""Exponential Adams methods: estimates of earlier steps joined by a polynomial, integrated exactly (T26).

All of them are one step, `advance`, with three choices: the face that is joined, the clock it is joined in, and how
many estimates. A corrector joins the estimate at the new level too and takes the step again: that call is made anyway.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from obverse.ground.errors import InvalidArgument, require
from obverse.path import Flow, Level, Noise, Prediction, V
from obverse.sampler.solvers.clocks import Clock, InAngle, InNSR, InTime
from obverse.sampler.solvers.interpolation import weights
from obverse.sampler.solvers.onestep import constant_row, kept
from obverse.sampler.solvers.solver import Solver
from obverse.sampler.solvers.symbols import Combination, Guess, Trace

MOST = 6  # estimates worth joining: beyond that a polynomial amplifies what it should carry on
HIGHEST = 4  # order that the extra calls of a start reach


Join = Callable[[Trace, Sequence[Guess], Combination, Level, Level], Combination]


class Joined(NamedTuple):
    """What is joined and in which clock; steps of it."""

    face: Prediction
    clock: Clock

    def step(self, trace: Trace, known: Sequence[Guess], x_t: Combination, t: Level, s: Level) -> Combination:
        """x_s from x_t and estimates, the most trusted first; DDIM where noise has no clock (no data left)."""
        face = self.face
        if isinstance(face, Noise) and (t.alpha == 0 or s.alpha == 0):
            face, known = Flow(), known[:1]
        on_state, on_output = weights(face, self.clock, [e.level for e in known], t, s, trace.schedule)
        x_s: Combination = on_state * x_t
        for e, weight in zip(known, on_output, strict=True):
            x_s = x_s + weight * e.on(face) if weight else x_s
        return x_s


class Before(NamedTuple):
    """The step before: from where, how many estimates it joined, whether it is to be corrected."""

    x_t: Combination
    level: Level
    used: int
    correct: bool


def advance(
    trace: Trace,
    join: Join,
    memory: int,
    x_t: Combination,
    t: Level,
    s: Level,
    *,
    corrector: bool,
    share: float = 1.0,
    extra: int = 0,
) -> Combination:
    """One call, then x_s: the step that led to x_t is corrected first, then as many estimates joined as there are.

    Args:     join: x_s from x_t and estimates, the most trusted first.
              memory: estimates joined by the predictor; the corrector joins one more.
              share: how much of the correction is made.
              extra: calls spent halfway through the first step, so that it is of a higher order: 0, 1 or 2.
    """
    if t.sigma == 0:
        return kept(x_t, t, s)
    trace.call(x_t, t)
    known = latest(trace)
    before: Before | None = trace.notes.get("adams")
    if before is not None and before.correct:
        again = [known[1], known[0], *known[2 : 1 + before.used]]
        corrected = join(trace, again, before.x_t, before.level, t)
        x_t = trace.state(corrected if share == 1 else x_t + share * (corrected - x_t), t)
    extra = extra if before is None and s.sigma > 0 else 0
    if extra:
        halfway = trace.at_nsr(math.tan((t.theta + s.theta) / 2))
        for _ in range(extra):
            trace.call(trace.state(join(trace, known[::-1], x_t, t, halfway), halfway), halfway)
            known = latest(trace)
    known = known[: max(memory, 2) if extra else memory]
    trace.notes["adams"] = Before(x_t, t, len(known), corrector or extra > 1)
    return join(trace, known, x_t, t, s)


def latest(trace: Trace) -> list[Guess]:
    """What was estimated last, the newest first, once for each level: as much as any method looks back at."""
    known: dict[float, Guess] = {}
    for e in reversed(trace.guesses):
        known.setdefault(float(e.level.theta), e)
        if len(known) > MOST + 1:
            break
    return list(known.values())


class Multistep(Solver):
    """Root of the exponential Adams methods: a face joined in a clock, so many estimates, a start; one call a step.

    To add one, name `face`, `clock`, `memory` and `start`; where they are not fields, as class attributes.
    """

    face: Prediction
    clock: Clock
    memory: int
    corrector: bool = False
    start: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.memory <= MOST, f"{self.name}: memory is 1 to {MOST} estimates, got {self.memory}.")
        if self.start not in ("ramp", "exact"):
            raise InvalidArgument(f"{self.name}: start is ramp or exact, got {self.start!r}.")

    @property
    def order(self) -> int:  # type: ignore[override]
        """What is left of it after the start: a first step of one estimate costs all but 2, corrected 3."""
        return min(self.memory + self.corrector, HIGHEST if self.start == "exact" else 2 + self.corrector)

    @property
    def invariant(self) -> bool:
        return self.clock.invariant

    @property
    def exact(self) -> bool:
        return constant_row(self.face)

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        order = self.memory + self.corrector
        extra = min(order, HIGHEST) - 2 if self.start == "exact" and order > 2 + self.corrector else 0
        join = Joined(self.face, self.clock).step
        return advance(trace, join, self.memory, x_t, t, s, corrector=self.corrector, extra=extra)


@dataclass(frozen=True)
class Adams(Multistep, name="adams"):
    """Exponential Adams in any face and clock, corrected for free: the family that most others belong to (T26).

    x_s = c_s/c_t x_t + sum_j q_j int L_j d(m/c), L_j the Lagrange polynomials of the last levels in the clock.
    Flow in the angle changes least along a path, so that few estimates tell most. One call a step.

    Args:     face: what is joined: data, noise, flow or v. v is not exact on constant data.
              clock: in which.
              memory: estimates joined, 1 to 6.
              corrector: take each step again once the estimate at its end is known; one order more, no call more.
              start: ramp: as many estimates as there are, which costs high orders their first step (2 without, 3 with
                  the corrector is the most); exact: up to two calls more halfway through it, and order 4.
    """

    face: Prediction = field(default_factory=Flow)
    clock: Clock = field(default_factory=InAngle)
    memory: int = 4
    corrector: bool = True
    start: str = "ramp"


@dataclass(frozen=True)
class AB(Multistep, name="ab"):
    """Adams-Bashforth on the circle: v is the slope of x_t / r in the angle, whatever the schedule (T3, T26).

    Args:     memory: estimates joined, 1 to 6.
              start: ramp or exact, as in `adams`.
    """

    memory: int = 3
    start: str = "ramp"

    face = V()
    clock = InAngle()


@dataclass(frozen=True)
class LMS(Multistep, name="lms"):
    """The noise estimate joined in nsr: the linear multistep method of k-diffusion where start=ramp (T26).

    Args:     memory: estimates joined, 1 to 6.
              start: ramp or exact, as in `adams`.
    Source:   Karras et al. (2022), equation 1 in d nsr; Adams-Bashforth with unequal steps.
    """

    memory: int = 4
    start: str = "ramp"

    face = Noise()
    clock = InNSR()


@dataclass(frozen=True)
class DEIS(Multistep, name="deis"):
    """The noise estimate joined in the schedule's t: tAB-DEIS; in logsnr it is diffusers', in nsr rhoAB-DEIS (T26).

    Args:     memory: estimates joined, 1 to 6; 4 is the paper's tAB3.
              clock: in which.
              start: ramp or exact, as in `adams`.
    Source:   Zhang & Chen (2023), "Fast sampling of diffusion models with exponential integrator", equations 14, 15.
    """

    memory: int = 4
    clock: Clock = field(default_factory=InTime)
    start: str = "ramp"

    face = Noise()
