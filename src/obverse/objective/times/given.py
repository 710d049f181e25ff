"""Time laws with a formula of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.errors import require
from obverse.ground.numerics import exact
from obverse.objective.times.law import OverTime, TimeLaw, normal
from obverse.path import Level, Schedule


class Uniform(OverTime, name="uniform"):
    """t uniform in (0, 1): flow matching and continuous-time diffusion as first written."""

    def quantile(self, u: Tensor) -> Tensor:
        return u

    def pdf(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def cdf(self, t: Tensor) -> Tensor:
        return t


@dataclass(frozen=True)
class LogitNormal(OverTime, name="logit-normal"):
    """logit(t) normal: the middle of the path more often than its ends; mean > 0 looks more at noise.

    Source: Esser et al. (2024), equation 19.
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        require(self.std > 0, f"logit-normal: std > 0, got {self.std} (SD3: mean 0, std 1).")

    def quantile(self, u: Tensor) -> Tensor:
        return (self.mean + self.std * normal(u)).sigmoid()

    def pdf(self, t: Tensor) -> Tensor:
        away = (t.logit() - self.mean) / self.std
        return (-(away**2) / 2).exp() / (self.std * math.sqrt(2 * math.pi) * t * (1 - t))

    def cdf(self, t: Tensor) -> Tensor:
        below: Tensor = torch.special.ndtr((t.logit() - self.mean) / self.std)
        return below


@dataclass(frozen=True)
class LogNormalNSR(TimeLaw, name="log-normal-nsr"):
    """log(sigma/alpha) normal, cut to the schedule's range: EDM's.

    Source: Karras et al. (2022), table 1.
    """

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        require(self.std > 0, f"log-normal-nsr: std > 0, got {self.std} (EDM: mean -1.2, std 1.2).")

    def level(self, u: Tensor, schedule: Schedule) -> Level:
        return schedule.nearest(-2 * (self.mean + self.std * normal(u)))

    def density(self, level: Level) -> Tensor:
        away = (exact(level.logsnr) + 2 * self.mean) / (2 * self.std)
        return (-(away**2) / 2).exp() / (2 * self.std * math.sqrt(2 * math.pi))

    def cumulative(self, level: Level) -> Tensor:
        below: Tensor = torch.special.ndtr((-exact(level.logsnr) / 2 - self.mean) / self.std)
        return below


@dataclass(frozen=True)
class Beta(OverTime, name="beta"):
    """t from a beta distribution: a, b > 1 look at the middle, < 1 at the ends; a > b more at noise.

    The defaults look more at noise, as a policy does whose observations say little of fine detail.
    Source: Black et al. (2024), "pi0: a vision-language-action flow model for general robot control", appendix B.
    """

    a: float = 1.5
    b: float = 1.0

    def __post_init__(self) -> None:
        require(self.a > 0 and self.b > 0, f"beta: a > 0 and b > 0, got a={self.a}, b={self.b} (1, 1 is uniform).")

    def quantile(self, u: Tensor) -> Tensor:
        from scipy.special import betaincinv

        return exact(betaincinv(self.a, self.b, u.numpy()))

    def pdf(self, t: Tensor) -> Tensor:
        whole = math.lgamma(self.a) + math.lgamma(self.b) - math.lgamma(self.a + self.b)
        log: Tensor = torch.special.xlogy(self.a - 1, t) + torch.special.xlog1py(self.b - 1, -t) - whole
        return log.exp()

    def cdf(self, t: Tensor) -> Tensor:
        from scipy.special import betainc

        return exact(betainc(self.a, self.b, t.numpy()))


@dataclass(frozen=True)
class Mode(OverTime, name="mode"):
    """Heavy-tailed, with a mode in the middle of the path (scale > 0) or at its ends (scale < 0).

    t = 1 - v - scale (cos²(pi v / 2) - 1 + v) of a uniform v. Source: Esser et al. (2024), equation 20.
    """

    scale: float = 1.29

    def __post_init__(self) -> None:
        most = 2 / (math.pi - 2)
        ok = -1 <= self.scale <= most
        require(ok, f"mode: scale lies in [-1, 2/(pi - 2) = {most:.4f}], got {self.scale} (SD3 tries 0.81 and 1.29).")

    def quantile(self, u: Tensor) -> Tensor:
        return u - self.scale * ((u * (math.pi / 2)).sin() ** 2 - u)  # v = 1 - u

    def pdf(self, t: Tensor) -> Tensor:
        rise = 1 + self.scale - self.scale * (math.pi / 2) * (self.cdf(t) * math.pi).sin()
        return 1 / rise


class CosMap(OverTime, name="cos-map"):
    """The log-SNRs of uniform times on the cosine schedule, whatever the clock, on the linear path.

    t = 1 - 1 / (tan(pi u / 2) + 1). Source: Esser et al. (2024), equation 21.
    """

    def quantile(self, u: Tensor) -> Tensor:
        angle = u * (math.pi / 2)
        return angle.sin() / (angle.sin() + angle.cos())

    def pdf(self, t: Tensor) -> Tensor:
        return 2 / (math.pi * (1 - 2 * t + 2 * t**2))

    def cdf(self, t: Tensor) -> Tensor:
        return torch.atan2(t, 1 - t) * (2 / math.pi)
