"""Which levels are visited (T3): `steps` intervals from the noisiest to the clean end."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, require
from obverse.ground.families import Family
from obverse.ground.numerics import exact
from obverse.path import Level, Schedule, join


class Grid(Family, family="grid"):
    """The levels a sampler visits, noise first; `steps` of them are left by a step.

    A schedule that keeps noise at t = 0 gets one more level, the clean end; its steps are spread so that t = 0 is
    visited too. To add a grid, write `calls`.
    """

    steps: int

    @abstractmethod
    def calls(self, schedule: Schedule) -> Level:
        """The `steps` levels that a step leaves, noise first."""

    def levels(self, schedule: Schedule) -> Level:
        """All `steps` + 1 levels, from the noisiest to the end.

        Raises:   InvalidArgument for a grid that does not fall, naming the place.
        """
        if not isinstance(self.steps, int) or self.steps < 1:
            raise InvalidArgument(f"Grid needs a whole number of steps >= 1, got {self.steps} (try steps=20).")
        levels = join(self.calls(schedule), self.stop(schedule))
        rises = (~(exact(levels.nsr).diff() < 0)).nonzero().flatten().tolist()
        if rises:
            here, there = levels[rises[0]], levels[rises[0] + 1]
            raise InvalidArgument(f"A grid goes from noise to data; step {rises[0]} goes from {here} to {there}.")
        return levels

    def stop(self, schedule: Schedule) -> Level:
        """Where the last step arrives: the clean end unless the grid says otherwise."""
        return schedule.end

    def resized(self, steps: int) -> Grid:
        """The same grid with another number of steps."""
        if "steps" in self.settings():
            return replace(self, steps=steps)  # type: ignore[type-var]
        if steps != self.steps:
            raise InvalidArgument(f"Grid {self.name!r} has its own {self.steps} steps; leave steps={steps} out.")
        return self

    def _fractions(self, schedule: Schedule) -> Tensor:
        """0 at the start towards 1 at the stop; 1 itself is a call's place only if noise is left there."""
        noisy = float(schedule.at(0.0).sigma) > 0
        return torch.arange(self.steps, dtype=torch.float64) / max(1, self.steps - noisy)


@dataclass(frozen=True)
class Uniform(Grid, name="uniform"):
    """Evenly spaced in t, from `start` to `end`."""

    steps: int = 20
    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.end < self.start <= 1:
            raise InvalidArgument(f"uniform: 0 <= end < start <= 1, got start={self.start}, end={self.end}.")

    def calls(self, schedule: Schedule) -> Level:
        if self.end > 0:
            return schedule.at(torch.linspace(self.start, self.end, self.steps + 1, dtype=torch.float64)[:-1])
        return schedule.at(self.start * (1 - self._fractions(schedule)))

    def stop(self, schedule: Schedule) -> Level:
        return schedule.at(self.end) if self.end > 0 else schedule.end


@dataclass(frozen=True)
class Angle(Grid, name="angle"):
    """Evenly spaced on the circle, to a power: the same noise levels whatever the schedule.

    theta_i = theta_start (1 - i/steps)^power, begun at t = `start`; power > 1 spends more steps near the data, where
    estimates still move. Over solvers and schedules 2 is the safest (benchmarks/error_against_calls.py).
    """

    steps: int = 20
    power: float = 2.0
    start: float = 1.0

    def __post_init__(self) -> None:
        require(self.power > 0, f"angle: power > 0, got {self.power} (1 is even).")
        require(0 < self.start <= 1, f"angle: 0 < start <= 1, got {self.start} (1 is pure noise).")

    def calls(self, schedule: Schedule) -> Level:
        first, last = (exact(schedule.at(t).theta) for t in (self.start, 0.0))
        reach = 1 - (last / first) ** (1 / self.power)
        theta = first * (1 - reach * self._fractions(schedule)) ** self.power
        return _at_nsr(schedule, _tan(theta))


@dataclass(frozen=True)
class LogSNR(Grid, name="logsnr"):
    """Evenly spaced in log-SNR between low and high, as far as the schedule reaches, then one step to the end."""

    steps: int = 20
    low: float = -10.0
    high: float = 10.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InvalidArgument(f"logsnr: low < high, got low={self.low}, high={self.high} (-10, 10 suit images).")

    def calls(self, schedule: Schedule) -> Level:
        low, high = (min(max(end, schedule.range[0]), schedule.range[1]) for end in (self.low, self.high))
        return schedule.at_logsnr(torch.linspace(low, high, self.steps, dtype=torch.float64))


@dataclass(frozen=True)
class Karras(Grid, name="karras"):
    """nsr^(1/rho) evenly spaced between nsr_max and nsr_min, as far as the schedule reaches, then the end.

    Source: Karras et al. (2022), equation 5.
    """

    steps: int = 20
    nsr_min: float = 0.002
    nsr_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        if not (0 < self.nsr_min < self.nsr_max and self.rho > 0):
            raise InvalidArgument(f"karras: 0 < nsr_min < nsr_max and rho > 0, got {self.spec} (0.002, 80, 7).")

    def calls(self, schedule: Schedule) -> Level:
        most, least = (math.exp(-end / 2) for end in schedule.range)
        high, low = min(self.nsr_max, most) ** (1 / self.rho), max(self.nsr_min, least) ** (1 / self.rho)
        return _at_nsr(schedule, torch.linspace(high, low, self.steps, dtype=torch.float64) ** self.rho)


@dataclass(frozen=True)
class Shift(Grid, name="shift"):
    """Another grid with its times moved towards noise: t -> k t / (1 + (k - 1) t), both ends kept.

    On the linear path every noise-to-signal ratio is multiplied by k: SD3's and FLUX's shift.
    Source: Esser et al. (2024), equation 23.
    """

    steps: int = 20
    base: Grid = field(default_factory=Uniform)
    k: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.k > 0:
            raise InvalidArgument(f"shift: k > 0, got {self.k} (1 changes nothing; SD3 at 1024²: 3).")

    def calls(self, schedule: Schedule) -> Level:
        return self._moved(schedule, self.base.resized(self.steps).calls(schedule))

    def stop(self, schedule: Schedule) -> Level:
        stop = self.base.stop(schedule)
        return stop if float(stop.sigma) == 0 else self._moved(schedule, stop)

    def _moved(self, schedule: Schedule, level: Level) -> Level:
        t = exact(level.t)
        return schedule.at(self.k * t / (1 + (self.k - 1) * t))


@dataclass(frozen=True)
class Given(Grid, name="given"):
    """One's own times, noise first; the last is where sampling stops (0: the clean end)."""

    times: tuple[float, ...] = (1.0, 0.5, 0.0)

    @property
    def steps(self) -> int:  # type: ignore[override]
        """One fewer than the times."""
        return len(self.times) - 1

    def calls(self, schedule: Schedule) -> Level:
        return schedule.at(torch.tensor(self.times[:-1], dtype=torch.float64))

    def stop(self, schedule: Schedule) -> Level:
        return schedule.at(self.times[-1]) if self.times[-1] > 0 else schedule.end


def _tan(theta: Tensor) -> Tensor:
    return torch.where(theta >= math.pi / 2, math.inf, theta.tan())


def _at_nsr(schedule: Schedule, nsr: Tensor) -> Level:
    low, high = schedule.range
    return schedule.at_logsnr((-2 * nsr.log()).clamp(low, high))
