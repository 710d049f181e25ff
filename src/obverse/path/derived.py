"""Schedules made from something else: a table of betas, another schedule, an SDE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from obverse.ground.errors import UnknownName, require
from obverse.ground.quadrature import legendre
from obverse.path.circle import VariancePreserving
from obverse.path.schedule import Schedule
from obverse.path.schedules import Linear

BETAS = ("linear", "scaled-linear", "cosine")


@dataclass(frozen=True)
class DDPM(VariancePreserving, name="ddpm"):
    """The discrete schedule of DDPM as a continuous path: exact at every index, alpha linear in between.

    Index i lies at t = (i + 1) / count and t = 0 is clean data, so "time=index" hands a network the numbers it knows.

    Args:     betas: linear, scaled-linear (Stable Diffusion) or cosine (Nichol & Dhariwal, clipped at 0.999).
              count: number of steps trained with.
              beta_start, beta_end: of the two linear kinds.
              zero_terminal_snr: rescale so that the last index is pure noise.
              table: one's own betas, instead of all that.
    Source:   Ho et al. (2020); Lin et al. (2023), algorithm 1 for zero_terminal_snr.
    """

    betas: str = "linear"
    count: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    zero_terminal_snr: bool = False
    table: tuple[float, ...] = ()

    _knots: tuple[Tensor, Tensor] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.betas not in BETAS:
            raise UnknownName("table of betas", self.betas, BETAS)
        ok = self.count >= 2 and 0 < self.beta_start <= self.beta_end < 1
        require(ok, f"ddpm: count >= 2 and 0 < beta_start <= beta_end < 1, got {self.spec} (1000, 1e-4, 0.02).")
        betas = torch.tensor(self.table, dtype=torch.float64) if self.table else self._made()
        ok = bool(((betas >= 0) & (betas <= 1)).all())
        require(ok, f"ddpm: every beta lies in [0, 1], got {betas.min():.6g} ... {betas.max():.6g}.")
        ok = bool(betas[1:].any())
        require(ok, f"ddpm: two or more betas, one after the first above 0, got {len(betas)} of them.")
        log_alpha = torch.cat([torch.zeros(1, dtype=torch.float64), torch.log1p(-betas).cumsum(0) / 2])
        lack = -torch.expm1(log_alpha)  # 1 - alpha, exact where alpha is nearly 1
        if self.zero_terminal_snr:
            alpha = log_alpha[1:].exp()
            lack = torch.cat([lack[:1], 1 - alpha[0] * (alpha - alpha[-1]) / (alpha[0] - alpha[-1])])
        times = torch.arange(len(lack), dtype=torch.float64) / (len(lack) - 1)
        object.__setattr__(self, "_knots", (times, lack))

    @property
    def indices(self) -> int:
        """How many there are."""
        return len(self._knots[0]) - 1

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - self._lack(t)

    def sigma(self, t: Tensor) -> Tensor:
        lack = self._lack(t)
        return (lack * (2 - lack)).sqrt()

    def alpha_dot(self, t: Tensor) -> Tensor:
        times, lack = self._knots
        piece = self._piece(t)
        return -(lack[piece + 1] - lack[piece]) / (times[piece + 1] - times[piece])

    def sigma_dot(self, t: Tensor) -> Tensor:
        return -self.alpha(t) * self.alpha_dot(t) / self.sigma(t)

    def time_of(self, logsnr: Tensor) -> Tensor:
        times, lack = self._knots
        target = (-logsnr).sigmoid() / (1 + logsnr.sigmoid().sqrt())
        found = np.interp(target.detach().reshape(-1).numpy(), lack.numpy(), times.numpy())
        return torch.from_numpy(found).reshape(target.shape)

    def _piece(self, t: Tensor) -> Tensor:
        return (t * (len(self._knots[0]) - 1)).long().clamp(max=len(self._knots[0]) - 2)

    def _lack(self, t: Tensor) -> Tensor:
        times, lack = self._knots
        piece = self._piece(t)
        share = (t - times[piece]) / (times[piece + 1] - times[piece])
        return lack[piece] * (1 - share) + lack[piece + 1] * share

    def _made(self) -> Tensor:
        if self.betas == "linear":
            return torch.linspace(self.beta_start, self.beta_end, self.count, dtype=torch.float64)
        if self.betas == "scaled-linear":
            return torch.linspace(self.beta_start**0.5, self.beta_end**0.5, self.count, dtype=torch.float64) ** 2
        steps = torch.arange(self.count + 1, dtype=torch.float64) / self.count
        share = ((steps + 0.008) / 1.008 * (torch.pi / 2)).cos() ** 2
        return (1 - share[1:] / share[:-1]).clamp(max=0.999)  # Nichol & Dhariwal (2021), section 3.2


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
