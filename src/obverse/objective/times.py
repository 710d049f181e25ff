"""Time laws: where on the path training looks (T45)."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument
from obverse.ground.families import Family
from obverse.ground.numerics import exact
from obverse.path import Level, Schedule


class TimeLaw(Family, family="time law"):
    """A distribution of levels to train at.

    To add one, write `level` (a quantile function: u uniform in (0, 1) to a level) and `density`.
    """

    @abstractmethod
    def level(self, u: Tensor, schedule: Schedule) -> Level:
        """The level of each uniform draw; float64 (batch,)."""

    @abstractmethod
    def density(self, level: Level) -> Tensor:
        """Probability density per unit of log-SNR at a level of the schedule."""

    def uniforms(self, count: int, *, seed: int, step: int, samples: Sequence[int] | Tensor | None) -> Tensor:
        """The uniform draws of one training step; (count,)."""
        return noise.uniform((count,), seed=seed, purpose="times", step=step, samples=samples)


class OverTime(TimeLaw):
    """Laws of t: write `quantile` and `pdf` on (0, 1)."""

    @abstractmethod
    def quantile(self, u: Tensor) -> Tensor:
        """t at a cumulative probability."""

    @abstractmethod
    def pdf(self, t: Tensor) -> Tensor:
        """Density in t."""

    def level(self, u: Tensor, schedule: Schedule) -> Level:
        return schedule.at(self.quantile(u))

    def density(self, level: Level) -> Tensor:
        return self.pdf(exact(level.t)) / exact(level.logsnr_dot).abs()


def _normal(u: Tensor) -> Tensor:
    """The standard normal's quantile function."""
    x: Tensor = torch.special.ndtri(u)
    return x


class Uniform(OverTime, name="uniform"):
    """t uniform in (0, 1): flow matching and continuous-time diffusion as first written."""

    def quantile(self, u: Tensor) -> Tensor:
        return u

    def pdf(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)


@dataclass(frozen=True)
class LogitNormal(OverTime, name="logit-normal"):
    """logit(t) normal: the middle of the path more often than its ends; mean > 0 looks more at noise.

    Source: Esser et al. (2024), equation 19.
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise InvalidArgument(f"logit-normal: std > 0, got {self.std} (SD3: mean 0, std 1).")

    def quantile(self, u: Tensor) -> Tensor:
        return (self.mean + self.std * _normal(u)).sigmoid()

    def pdf(self, t: Tensor) -> Tensor:
        away = (t.logit() - self.mean) / self.std
        return (-(away**2) / 2).exp() / (self.std * math.sqrt(2 * math.pi) * t * (1 - t))


@dataclass(frozen=True)
class LogNormalNSR(TimeLaw, name="log-normal-nsr"):
    """log(sigma/alpha) normal, cut to the schedule's range: EDM's.

    Source: Karras et al. (2022), table 1.
    """

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise InvalidArgument(f"log-normal-nsr: std > 0, got {self.std} (EDM: mean -1.2, std 1.2).")

    def level(self, u: Tensor, schedule: Schedule) -> Level:
        low, high = schedule.range
        return schedule.at_logsnr((-2 * (self.mean + self.std * _normal(u))).clamp(low, high))

    def density(self, level: Level) -> Tensor:
        away = (exact(level.logsnr) + 2 * self.mean) / (2 * self.std)
        return (-(away**2) / 2).exp() / (2 * self.std * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class Stratified(TimeLaw, name="stratified"):
    """Another law with its draws spread evenly over every batch: the same expectation, less variance.

    u_i = frac(u_0 + i / golden ratio), one u_0 a step: row i needs to know neither its neighbours nor their number.
    Source: Kingma et al. (2021), appendix I.1 (low-discrepancy sampler); Weyl (1916).
    """

    base: TimeLaw = field(default_factory=Uniform)

    def uniforms(self, count: int, *, seed: int, step: int, samples: Sequence[int] | Tensor | None) -> Tensor:
        first = noise.uniform((1,), seed=seed, purpose="stratified", step=step)
        place = torch.arange(count) if samples is None else torch.as_tensor(samples)
        u = (first + place.double().cpu() * ((math.sqrt(5) - 1) / 2)) % 1.0
        return u.clamp(2.0**-53, 1 - 2.0**-53)

    def level(self, u: Tensor, schedule: Schedule) -> Level:
        return self.base.level(u, schedule)

    def density(self, level: Level) -> Tensor:
        return self.base.density(level)
