"""Schedules made from something else: another schedule, or an SDE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from obverse.ground.errors import require
from obverse.ground.quadrature import legendre
from obverse.path.schedule import Schedule
from obverse.path.schedules import Linear


@dataclass(frozen=True)
class Shifted(Schedule, name="shift"):
    """Another schedule with all its noise multiplied: nsr -> k nsr at every t, on the same path.

    On the linear path t -> k t / (1 + (k - 1) t), the shift of SD3 and FLUX; k = sqrt(m / n) moves a schedule tuned
    for n pixels to m of them.
    Source: Esser et al. (2024), equation 23; Hoogeboom et al. (2023), equation 3.
    """

    base: Schedule = field(default_factory=Linear)
    k: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.k > 0, f"shift: k > 0, got {self.k} (1 changes nothing; SD3 at 1024²: 3).")

    def alpha(self, t: Tensor) -> Tensor:
        cosine, sine = self._direction(t)
        return self.base.radius(cosine, sine) * cosine

    def sigma(self, t: Tensor) -> Tensor:
        cosine, sine = self._direction(t)
        return self.base.radius(cosine, sine) * sine

    def time_of(self, logsnr: Tensor) -> Tensor:
        return self.base.time_of(logsnr + 2 * torch.tensor(self.k, dtype=torch.float64).log())

    def radius(self, cosine: Tensor, sine: Tensor) -> Tensor:
        return self.base.radius(cosine, sine)

    def _direction(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.base.alpha(t), self.k * self.base.sigma(t)
        r = (alpha**2 + sigma**2).sqrt()
        return alpha / r, sigma / r


@dataclass(frozen=True)
class Rescaled(Schedule, name="rescale"):
    """Another schedule times c(t): other states, the same noise levels; every lambda-grid sampler agrees on x/alpha.

    Args:     base: the schedule.
              scale: c(t) > 0, differentiable; float64 tensors in and out. Python only: a spec cannot hold it.
    """

    base: Schedule
    scale: Callable[[Tensor], Tensor]

    def alpha(self, t: Tensor) -> Tensor:
        return self.base.alpha(t) * self.scale(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.base.sigma(t) * self.scale(t)

    def time_of(self, logsnr: Tensor) -> Tensor:
        return self.base.time_of(logsnr)


@dataclass(frozen=True)
class Slider(Schedule, name="slider"):
    """The scale slider: from a schedule (vp = 0) to the same noise levels on the unit circle (vp = 1)."""

    base: Schedule = field(default_factory=Linear)
    vp: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.vp <= 1, f"slider: vp lies in [0, 1] (0 = as it is, 1 = unit circle), got {self.vp}.")

    def alpha(self, t: Tensor) -> Tensor:
        return self._scaled(self.base.alpha(t), t)

    def sigma(self, t: Tensor) -> Tensor:
        return self._scaled(self.base.sigma(t), t)

    def time_of(self, logsnr: Tensor) -> Tensor:
        return self.base.time_of(logsnr)

    def radius(self, cosine: Tensor, sine: Tensor) -> Tensor:
        return (1 - self.vp) * self.base.radius(cosine, sine) + self.vp

    def _scaled(self, share: Tensor, t: Tensor) -> Tensor:
        r = (self.base.alpha(t) ** 2 + self.base.sigma(t) ** 2).sqrt()
        return share * ((1 - self.vp) + self.vp / r)


@dataclass(frozen=True)
class FromSDE(Schedule, name="from-sde"):
    """The path of a forward SDE dx_t = f(t) x_t dt + g(t) dB (T17); `Level.f` and `Level.g2` lead back.

    alpha = exp ∫f, sigma = alpha sqrt(sigma_0² + ∫ g²/alpha²), by Gauss-Legendre quadrature (smooth f and g).

    Args:     f, g2: drift and squared diffusion coefficients; float64 tensors in and out. Python only.
              sigma_0: noise already there at t = 0.
    """

    f: Callable[[Tensor], Tensor]
    g2: Callable[[Tensor], Tensor]
    sigma_0: float = 0.0

    def alpha(self, t: Tensor) -> Tensor:
        return _integral(self.f, t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        grown = _integral(lambda s: self.g2(s) * (-2 * _integral(self.f, s)).exp(), t)
        return self.alpha(t) * (self.sigma_0**2 + grown).sqrt()

    def alpha_dot(self, t: Tensor) -> Tensor:
        return self.f(t) * self.alpha(t)

    def sigma_dot(self, t: Tensor) -> Tensor:
        sigma = self.sigma(t)
        return self.f(t) * sigma + self.g2(t) / (2 * sigma)


def _integral(f: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
    """∫ f from 0 to t, 48 nodes: exact to rounding for f smooth on [0, 1]."""
    nodes, weights = legendre(48)
    places = t[..., None] * (nodes + 1) / 2
    return (f(places) * weights).sum(-1) * t / 2
