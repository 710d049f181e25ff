"""What a grid is: which levels are visited (T3), `steps` intervals from one end to the other."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace
from numbers import Integral

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.families import Family
from obverse.ground.numerics import exact
from obverse.path import Level, Schedule, join

ROUNDING = 1e-9  # relative, of a level that somebody wrote down with ten digits


class Grid(Family, family="grid"):
    """The levels a sampler visits, noise first; `steps` of them are left by a step.

    A schedule that keeps noise at t = 0 gets one more level, the clean end; its steps are spread so that t = 0 is
    visited too. A grid may also rise, from data to noise (`inverted`). To add a grid, write `calls`.
    """

    steps: int

    @abstractmethod
    def calls(self, schedule: Schedule) -> Level:
        """The `steps` levels that a step leaves, noise first."""

    def levels(self, schedule: Schedule) -> Level:
        """All `steps` + 1 levels, from the noisiest to the end.

        Raises:   InvalidArgument for a grid that neither falls nor rises all the way, naming the place, or that lies
                  beyond the schedule.
        """
        if not isinstance(self.steps, Integral) or self.steps < 1:
            raise InvalidArgument(f"Grid needs a whole number of steps >= 1, got {self.steps} (try steps=20).")
        levels = join(self.calls(schedule), self.stop(schedule))
        nsr = exact(levels.nsr)
        falls = bool(nsr[0] >= nsr[-1])
        onward = nsr.diff() < 0 if falls else nsr.diff() > 0
        if not bool(onward.all()):
            i = int(onward.double().argmin())
            way = "from noise to data" if falls else "from data to noise"
            raise InvalidArgument(
                f"A grid goes {way} without a halt or a turn; {self.label} on {schedule.label} does not: "
                f"step {i} goes from {levels[i]} to {levels[i + 1]}."
            )
        return levels

    def stop(self, schedule: Schedule) -> Level:
        """Where the last step arrives: the clean end unless the grid says otherwise."""
        return schedule.end

    @classmethod
    def sized(cls, spec: str | Grid, steps: int) -> Grid:
        """The grid of a spec with so many steps; InvalidArgument where the spec itself says another number."""
        asked = cls.of(spec)
        resized, said = asked.resized(steps), asked.said.get("steps", steps)
        if said != steps:
            raise InvalidArgument(
                f"grid {asked.label} asks for {said} steps, steps for {steps}: say it there alone (steps={said})."
            )
        return resized

    def resized(self, steps: int) -> Grid:
        """The same grid with another number of steps."""
        if not isinstance(steps, Integral):
            raise InvalidArgument(f"Grid needs a whole number of steps >= 1, got {steps!r} (try steps=20).")
        if "steps" in self.settings():
            return replace(self, steps=int(steps))
        if steps != self.steps:
            raise InvalidArgument(f"Grid {self.name!r} has its own {self.steps} steps, got steps={steps}.")
        return self


def fractions(steps: int, schedule: Schedule, *, closed: bool = False) -> Tensor:
    """0 at the start towards 1 at the stop, evenly; (steps,).

    Args:     closed: 1 itself is a call's place; it is anyway where the schedule keeps noise at t = 0.
    """
    last = closed or float(schedule.at(0.0).sigma) > 0
    return torch.arange(steps, dtype=torch.float64) / max(1, steps - last)


def reach(schedule: Schedule, low: float, high: float, asked: str) -> tuple[float, float]:
    """The log-SNRs from low (noise) to high (data), as far as the schedule has them.

    Args:     asked: the arguments in words, for the refusal.
    Raises:   InvalidArgument where the schedule has none of them.
    """
    source, data = schedule.range
    if not (low < data and high > source):
        raise InvalidArgument(
            f"{asked} asks for log-SNR from {low:.6g} to {high:.6g}, beyond {schedule.label}, which has "
            f"{source:.6g} to {data:.6g} (nsr {noise_of(source):.6g} to {noise_of(data):.6g}); choose ends within."
        )
    return max(low, source), min(high, data)


def at_logsnr(schedule: Schedule, logsnr: Tensor, asked: str) -> Level:
    """The levels with given log-SNRs, those at the schedule's ends (to rounding) exactly there.

    Args:     asked: the arguments in words, for the refusal.
    Raises:   InvalidArgument where one lies beyond the schedule.
    """
    source, data = schedule.range
    slack = [ROUNDING * (1 + abs(end)) for end in (source, data)]
    beyond = (logsnr < source - slack[0]) | (logsnr > data + slack[1])
    if bool(beyond.any()):
        wrong = float(logsnr[beyond][0])
        raise InvalidArgument(
            f"{asked} asks for log-SNR {wrong:.6g} (nsr {noise_of(wrong):.6g}), beyond {schedule.label}, which has "
            f"{source:.6g} to {data:.6g} (nsr {noise_of(source):.6g} to {noise_of(data):.6g}); choose levels within."
        )
    return schedule.nearest(logsnr)


def at_nsr(schedule: Schedule, nsr: Tensor) -> Level:
    """The levels with given noise-to-signal ratios, those at the schedule's ends (to rounding) exactly there."""
    return schedule.nearest(-2 * nsr.log())


def noise_of(logsnr: float) -> float:
    """The noise-to-signal ratio of a log-SNR."""
    return math.exp(-logsnr / 2) if logsnr > -math.inf else math.inf
