"""Grids that are even in a quantity of the path: t, the angle, log-SNR, or a power of one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.errors import require
from obverse.ground.numerics import atan2, exact
from obverse.path import Level, Schedule
from obverse.sampler.grids.grid import Grid, at_nsr, fractions, reach


@dataclass(frozen=True)
class Uniform(Grid, name="uniform"):
    """Evenly spaced in t, from `start` to `end`."""

    steps: int = 20
    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        ok = 0 <= self.end < self.start <= 1
        require(ok, f"uniform: 0 <= end < start <= 1, got start={self.start}, end={self.end}.")

    def calls(self, schedule: Schedule) -> Level:
        if self.end > 0:
            return schedule.at(torch.linspace(self.start, self.end, self.steps + 1, dtype=torch.float64)[:-1])
        return schedule.at(self.start * (1 - fractions(self.steps, schedule)))

    def stop(self, schedule: Schedule) -> Level:
        return schedule.at(self.end) if self.end > 0 else schedule.end


@dataclass(frozen=True)
class Quadratic(Grid, name="quadratic"):
    """t^(1/power) evenly spaced from `start` to `last`, then the clean end: finer near the data.

    With a clock it is that schedule's t, whatever the model's own: `quadratic:clock=vp,last=0.001` visits the noise
    levels that DEIS and iPNDM are used with, as far as the model's schedule reaches.

    Args:     power: 2 is quadratic, 1 even.
              last: t of the last call; 0: the spacing goes on to the clean end.
              clock: whose t; default the model's schedule.
    Source:   Song, Meng & Ermon (2021), appendix D.2; Zhang & Chen (2023), "DEIS", appendix H.3.
    """

    steps: int = 20
    power: float = 2.0
    start: float = 1.0
    last: float = 0.0
    clock: Schedule | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "clock", None if self.clock is None else Schedule.of(self.clock))
        require(self.power > 0, f"quadratic: power > 0, got {self.power} (2 is quadratic, 1 even).")
        ok = 0 <= self.last < self.start <= 1
        require(ok, f"quadratic: 0 <= last < start <= 1, got start={self.start}, last={self.last}.")

    def calls(self, schedule: Schedule) -> Level:
        shares = fractions(self.steps, schedule, closed=self.last > 0)
        if self.clock is None:
            return schedule.at(self._spread(exact(self.start), exact(self.last), shares))
        low, high = (float(self.clock.logsnr(t)) for t in (self.start, self.last))
        low, high = reach(schedule, low, high, self.label)
        first, last = (exact(self.clock.at_logsnr(end).t) for end in (low, high))
        times = self._spread(first, last, shares)
        return schedule.at_logsnr(self.clock.logsnr(times).clamp(low, high))

    def _spread(self, first: Tensor, last: Tensor, shares: Tensor) -> Tensor:
        roots = first ** (1 / self.power) * (1 - shares) + last ** (1 / self.power) * shares
        return roots**self.power


@dataclass(frozen=True)
class Angle(Grid, name="angle"):
    """Evenly spaced on the circle, to a power: the same noise levels on all schedules with the same ends.

    angle_i = angle_start (1 - i/steps)^power, begun at t = `start`; power > 1 spends more steps near the data, where
    estimates still move. Over solvers and schedules 2 is the safest (benchmarks/error_against_calls.py).
    nsr = sigma_data tan(angle): data of another spread than 1 has a circle of its own.
    """

    steps: int = 20
    power: float = 2.0
    start: float = 1.0
    sigma_data: float = 1.0

    def __post_init__(self) -> None:
        require(self.power > 0, f"angle: power > 0, got {self.power} (1 is even).")
        require(0 < self.start <= 1, f"angle: 0 < start <= 1, got {self.start} (1 is pure noise).")
        require(self.sigma_data > 0, f"angle: sigma_data > 0, got {self.sigma_data} (the spread of the data; 1).")

    def calls(self, schedule: Schedule) -> Level:
        ends = (schedule.at(t) for t in (self.start, 0.0))
        first, last = (atan2(end.sigma, self.sigma_data * end.alpha) for end in ends)
        share = 1 - (last / first) ** (1 / self.power)
        angle = first * (1 - share * fractions(self.steps, schedule)) ** self.power
        nsr = torch.where(angle >= math.pi / 2, math.inf, self.sigma_data * angle.tan())
        return at_nsr(schedule, nsr)


@dataclass(frozen=True)
class LogSNR(Grid, name="logsnr"):
    """Evenly spaced in log-SNR between low and high, as far as the schedule reaches, then one step to the end."""

    steps: int = 20
    low: float = -10.0
    high: float = 10.0

    def __post_init__(self) -> None:
        ok = self.low < self.high
        require(ok, f"logsnr: low < high, got low={self.low}, high={self.high} (-10, 10 suit images).")

    def calls(self, schedule: Schedule) -> Level:
        low, high = reach(schedule, self.low, self.high, self.label)
        return schedule.at_logsnr(torch.linspace(low, high, self.steps, dtype=torch.float64))


@dataclass(frozen=True)
class Karras(Grid, name="karras"):
    """nsr^(1/rho) evenly spaced between nsr_max and nsr_min, as far as the schedule reaches, then the end.

    More rho means more steps near the data; rho to infinity is `exponential`, and negative rho lies beyond it.
    Source: Karras et al. (2022), equation 5.
    """

    steps: int = 20
    nsr_min: float = 0.002
    nsr_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        ok = 0 < self.nsr_min < self.nsr_max
        require(ok, f"karras: 0 < nsr_min < nsr_max, got {self.spec} (the paper: 0.002, 80).")
        require(self.rho != 0, "karras: rho is not 0 (the paper: 7; exponential is the limit of large rho), got 0.")

    def calls(self, schedule: Schedule) -> Level:
        low, high = reach(schedule, -2 * math.log(self.nsr_max), -2 * math.log(self.nsr_min), self.label)
        first, last = (math.exp(-end / (2 * self.rho)) for end in (low, high))  # nsr^(1/rho)
        return at_nsr(schedule, torch.linspace(first, last, self.steps, dtype=torch.float64) ** self.rho)


@dataclass(frozen=True)
class Exponential(Grid, name="exponential"):
    """log nsr evenly spaced between nsr_max and nsr_min, as far as the schedule reaches, then the end.

    `logsnr` with its ends named as noise-to-signal ratios, and the limit of `karras` for large rho.
    """

    steps: int = 20
    nsr_min: float = 0.002
    nsr_max: float = 80.0

    def __post_init__(self) -> None:
        ok = 0 < self.nsr_min < self.nsr_max
        require(ok, f"exponential: 0 < nsr_min < nsr_max, got {self.spec} (0.002, 80).")

    def calls(self, schedule: Schedule) -> Level:
        low, high = reach(schedule, -2 * math.log(self.nsr_max), -2 * math.log(self.nsr_min), self.label)
        return schedule.at_logsnr(torch.linspace(low, high, self.steps, dtype=torch.float64))
