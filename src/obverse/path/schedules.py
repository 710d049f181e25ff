"""Schedules on straight lines and with unscaled data, each in closed form (T14)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.errors import require
from obverse.path.schedule import Schedule


@dataclass(frozen=True)
class Linear(Schedule, name="linear"):
    """Straight line from data to source: flow matching, rectified flow, CondOT; sigma_min keeps a little noise.

    alpha = 1 - t, sigma = sigma_min + (1 - sigma_min) t.
    Source: Lipman et al. (2023), equation 20; Liu et al. (2023).
    """

    sigma_min: float = 0.0

    def __post_init__(self) -> None:
        require(0 <= self.sigma_min < 1, f"linear: 0 <= sigma_min < 1, got {self.sigma_min} (Lipman et al.: 1e-4).")

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min + (1 - self.sigma_min) * t

    def alpha_dot(self, t: Tensor) -> Tensor:
        return torch.full_like(t, -1.0)

    def sigma_dot(self, t: Tensor) -> Tensor:
        return torch.full_like(t, 1 - self.sigma_min)

    def time_of(self, logsnr: Tensor) -> Tensor:
        nsr = (-logsnr / 2).exp()
        return (nsr - self.sigma_min) / (1 - self.sigma_min + nsr)

    def radius(self, cosine: Tensor, sine: Tensor) -> Tensor:
        return 1 / ((1 - self.sigma_min) * cosine + sine)


@dataclass(frozen=True)
class Polynomial(Schedule, name="polynomial"):
    """alpha = (1 - t)^power, sigma = 1 - alpha: a straight line at another pace.

    Source: Lipman et al. (2024), "Flow matching guide and code", section 4.8.
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        require(self.power > 0, f"polynomial: power > 0, got {self.power} (1 is the linear schedule).")

    def alpha(self, t: Tensor) -> Tensor:
        return (1 - t) ** self.power

    def sigma(self, t: Tensor) -> Tensor:
        return -torch.expm1(self.power * torch.log1p(-t))

    def alpha_dot(self, t: Tensor) -> Tensor:
        return -self.power * (1 - t) ** (self.power - 1)

    def sigma_dot(self, t: Tensor) -> Tensor:
        return -self.alpha_dot(t)

    def time_of(self, logsnr: Tensor) -> Tensor:
        return -torch.expm1(-torch.nn.functional.softplus(-logsnr / 2) / self.power)

    def radius(self, cosine: Tensor, sine: Tensor) -> Tensor:
        return 1 / (cosine + sine)


class VarianceExploding(Schedule):
    """Schedules that add noise to unscaled data: alpha = 1, sigma = nsr."""

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def alpha_dot(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def radius(self, cosine: Tensor, sine: Tensor) -> Tensor:
        return 1 / cosine


@dataclass(frozen=True)
class VE(VarianceExploding, name="ve"):
    """The variance-exploding SDE: sigma geometric from sigma_min to sigma_max.

    Source: Song et al. (2021), equation 31.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        ok = 0 < self.sigma_min < self.sigma_max
        require(ok, f"ve: 0 < sigma_min < sigma_max, got {self.sigma_min}, {self.sigma_max} (Song et al.: 0.01, 50).")

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * (t * math.log(self.sigma_max / self.sigma_min)).exp()

    def sigma_dot(self, t: Tensor) -> Tensor:
        return math.log(self.sigma_max / self.sigma_min) * self.sigma(t)

    def time_of(self, logsnr: Tensor) -> Tensor:
        return (-logsnr / 2 - math.log(self.sigma_min)) / math.log(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class EDM(VarianceExploding, name="edm"):
    """EDM's noise levels: sigma^(1/rho) uniform in t, so that a uniform grid is Karras's.

    Source: Karras et al. (2022), equation 5 and table 1.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        ok = 0 < self.sigma_min < self.sigma_max and self.rho > 0
        require(ok, f"edm: 0 < sigma_min < sigma_max and rho > 0, got {self.spec} (the paper: 0.002, 80, 7).")

    def sigma(self, t: Tensor) -> Tensor:
        return self._root(t) ** self.rho

    def sigma_dot(self, t: Tensor) -> Tensor:
        low, high = self._ends
        return self.rho * self._root(t) ** (self.rho - 1) * (high - low)

    def time_of(self, logsnr: Tensor) -> Tensor:
        low, high = self._ends
        return ((-logsnr / (2 * self.rho)).exp() - low) / (high - low)

    @property
    def _ends(self) -> tuple[float, float]:
        return self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)

    def _root(self, t: Tensor) -> Tensor:
        low, high = self._ends
        return low + t * (high - low)
