"""DDPM's table of betas as a continuous path."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from obverse.ground.errors import UnknownName, require
from obverse.path.circle import VariancePreserving

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
