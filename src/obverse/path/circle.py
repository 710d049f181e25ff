"""Schedules of unit variance, alpha² + sigma² = 1, each in closed form (T14)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.errors import require
from obverse.path.schedule import Schedule


class VariancePreserving(Schedule):
    """Schedules on the unit circle: alpha² + sigma² = 1."""

    def sigma(self, t: Tensor) -> Tensor:
        """What alpha leaves."""
        return ((1 - self.alpha(t)) * (1 + self.alpha(t))).sqrt()

    def radius(self, cosine: Tensor, sine: Tensor) -> Tensor:
        """Always 1."""
        return torch.ones_like(cosine)


class Cosine(VariancePreserving, name="cosine"):
    """Uniform motion on the circle: theta = pi t / 2, so v is the velocity up to pi / 2 (trigonometric path).

    Source: Salimans & Ho (2022); Albergo & Vanden-Eijnden (2023).
    """

    def alpha(self, t: Tensor) -> Tensor:
        return torch.where(t == 1, 0.0, (t * (math.pi / 2)).cos())

    def sigma(self, t: Tensor) -> Tensor:
        return (t * (math.pi / 2)).sin()

    def alpha_dot(self, t: Tensor) -> Tensor:
        return -math.pi / 2 * self.sigma(t)

    def sigma_dot(self, t: Tensor) -> Tensor:
        return math.pi / 2 * self.alpha(t)

    def time_of(self, logsnr: Tensor) -> Tensor:
        return (-logsnr / 2).exp().atan() * (2 / math.pi)


@dataclass(frozen=True)
class NicholDhariwal(VariancePreserving, name="nichol-dhariwal"):
    """The cosine schedule of improved DDPM, in continuous time: an offset keeps its first steps from vanishing.

    alpha = cos(pi/2 (t + offset)/(1 + offset)) / cos(pi/2 offset/(1 + offset)).
    Source: Nichol & Dhariwal (2021), equation 17.
    """

    offset: float = 0.008

    def __post_init__(self) -> None:
        require(self.offset > 0, f"nichol-dhariwal: offset > 0, got {self.offset} (the paper: 0.008).")

    def alpha(self, t: Tensor) -> Tensor:
        first, angle = self._angles(t)
        return torch.where(t == 1, 0.0, angle.cos() / math.cos(first))

    def sigma(self, t: Tensor) -> Tensor:
        first, angle = self._angles(t)  # cos² a - cos² b = sin(b - a) sin(b + a): exact at t = 0
        turned = (math.pi / 2 - first) * t
        return (turned.sin() * (angle + first).sin()).sqrt() / math.cos(first)

    def alpha_dot(self, t: Tensor) -> Tensor:
        first, angle = self._angles(t)
        return -angle.sin() / math.cos(first) * (math.pi / 2 / (1 + self.offset))

    def sigma_dot(self, t: Tensor) -> Tensor:
        return -self.alpha(t) * self.alpha_dot(t) / self.sigma(t)

    def time_of(self, logsnr: Tensor) -> Tensor:
        first, _ = self._angles(logsnr)
        sine = (-logsnr).sigmoid().sqrt() * math.cos(first)  # sin² angle = sine² + sin² first
        angle = (sine**2 + math.sin(first) ** 2).sqrt().clamp(max=1).asin()
        near = (sine**2 / (angle + first).sin()).clamp(max=1).asin()  # angle - first, with all its digits
        far = (logsnr.sigmoid().sqrt() * math.cos(first)).clamp(max=1).acos() - first  # asin has none left near pi/2
        return torch.where(angle < math.pi / 4, near, far) / (math.pi / 2 - first)

    def _angles(self, t: Tensor) -> tuple[float, Tensor]:
        first = math.pi / 2 * self.offset / (1 + self.offset)
        return first, first + (math.pi / 2 - first) * t


@dataclass(frozen=True)
class VP(VariancePreserving, name="vp"):
    """The variance-preserving SDE with linear beta: DDPM in continuous time.

    alpha = exp(-B/2), sigma² = 1 - exp(-B), B = beta_min t + (beta_max - beta_min) t²/2.
    Source: Song et al. (2021), equation 33; Ho et al. (2020).
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        ok = 0 < self.beta_min <= self.beta_max
        require(ok, f"vp: 0 < beta_min <= beta_max, got {self.beta_min}, {self.beta_max} (Song et al.: 0.1, 20).")

    def alpha(self, t: Tensor) -> Tensor:
        return (-self._total(t) / 2).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return (-torch.expm1(-self._total(t))).sqrt()

    def alpha_dot(self, t: Tensor) -> Tensor:
        return -self._beta(t) / 2 * self.alpha(t)

    def sigma_dot(self, t: Tensor) -> Tensor:
        return self._beta(t) / 2 * self.alpha(t) ** 2 / self.sigma(t)

    def time_of(self, logsnr: Tensor) -> Tensor:
        total = torch.nn.functional.softplus(-logsnr)
        rise = self.beta_max - self.beta_min
        return 2 * total / ((self.beta_min**2 + 2 * rise * total).sqrt() + self.beta_min)

    def _beta(self, t: Tensor) -> Tensor:
        return self.beta_min + (self.beta_max - self.beta_min) * t

    def _total(self, t: Tensor) -> Tensor:
        return t * (self.beta_min + (self.beta_max - self.beta_min) * t / 2)


class VPLinear(VariancePreserving, name="vp-linear"):
    """The linear path divided by its radius: flow matching's clock on the unit circle."""

    def alpha(self, t: Tensor) -> Tensor:
        return (1 - t) / self._radius(t)

    def sigma(self, t: Tensor) -> Tensor:
        return t / self._radius(t)

    def alpha_dot(self, t: Tensor) -> Tensor:
        return -t / self._radius(t) ** 3

    def sigma_dot(self, t: Tensor) -> Tensor:
        return (1 - t) / self._radius(t) ** 3

    def time_of(self, logsnr: Tensor) -> Tensor:
        return (-logsnr / 2).sigmoid()

    def _radius(self, t: Tensor) -> Tensor:
        return ((1 - t) ** 2 + t**2).sqrt()


class Sqrt(VariancePreserving, name="sqrt"):
    """alpha = 1 - t with unit variance: sigma = sqrt(t (2 - t)); its velocity diverges at the data end."""

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return (t * (2 - t)).sqrt()

    def alpha_dot(self, t: Tensor) -> Tensor:
        return torch.full_like(t, -1.0)

    def sigma_dot(self, t: Tensor) -> Tensor:
        return (1 - t) / self.sigma(t)

    def time_of(self, logsnr: Tensor) -> Tensor:
        return (-logsnr).sigmoid() / (1 + logsnr.sigmoid().sqrt())


@dataclass(frozen=True)
class Laplace(VariancePreserving, name="laplace"):
    """Log-SNR spread as a Laplace distribution over uniform t: most time is spent around `mean`.

    logsnr = mean - spread sign(1/2 - t) log(1 - 2|t - 1/2|).
    Source: Hang et al. (2024), "Improved noise schedule for diffusion training", table 1.
    """

    mean: float = 0.0
    spread: float = 0.5

    def __post_init__(self) -> None:
        require(self.spread > 0, f"laplace: spread > 0, got {self.spread} (the paper: 0.5).")

    def alpha(self, t: Tensor) -> Tensor:
        cosine, sine = self._direction(t)
        return cosine / (cosine**2 + sine**2).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        cosine, sine = self._direction(t)
        return sine / (cosine**2 + sine**2).sqrt()

    def alpha_dot(self, t: Tensor) -> Tensor:
        steep, steeper, data_side = self._slopes(t)
        growth = torch.where(data_side, self.alpha(t) * steeper, self.sigma(t) ** 2 * steep)
        return -self.spread / 2 * growth

    def sigma_dot(self, t: Tensor) -> Tensor:
        steep, steeper, data_side = self._slopes(t)
        growth = torch.where(data_side, self.alpha(t) ** 2 * steep, self.sigma(t) * steeper)
        return self.spread / 2 * growth

    def time_of(self, logsnr: Tensor) -> Tensor:
        small = (-(logsnr - self.mean).abs() / self.spread).exp() / 2
        return torch.where(logsnr > self.mean, small, 1 - small)

    def _slopes(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The smaller of alpha and sigma, and its square, over the distance to its end; whether that end is data."""
        cosine, sine = self._direction(t)
        data_side = t < 0.5
        r2, near = cosine**2 + sine**2, 2 * torch.minimum(t, 1 - t)
        scale = torch.where(data_side, math.exp(-self.mean / 2), 1.0)
        steep = 2 * scale * near ** (self.spread / 2 - 1) / r2.sqrt()
        return steep, 2 * scale**2 * near ** (self.spread - 1) / r2, data_side

    def _direction(self, t: Tensor) -> tuple[Tensor, Tensor]:
        half = self.spread / 2
        return (2 * (1 - t)).clamp(max=1) ** half, math.exp(-self.mean / 2) * (2 * t).clamp(max=1) ** half
