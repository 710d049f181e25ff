"""A discrete schedule at times between its indices, where libraries differ."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from obverse.ground.errors import UnknownName
from obverse.path import DDPM
from obverse.path.circle import VariancePreserving

BY = ("nsr", "log-nsr")


@dataclass(frozen=True)
class Between(VariancePreserving, name="between"):
    """DDPM's discrete schedule with sigma/alpha, or its logarithm, linear between the indices: diffusers' reading.

    At an index it is the base. nsr: EulerDiscreteScheduler at times that are no whole numbers; log-nsr: wherever
    diffusers turns a sigma into a time (use_karras_sigmas and its like).

    Args:     base: the discrete schedule.
              by: nsr or log-nsr; below the first index nsr falls to 0 linearly in both.
    """

    base: DDPM = field(default_factory=DDPM)
    by: str = "nsr"

    _knots: tuple[Tensor, Tensor] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by not in BY:
            raise UnknownName("way to interpolate", self.by, BY)
        count = self.base.indices
        times = torch.arange(count + 1, dtype=torch.float64) / count
        object.__setattr__(self, "_knots", (times, self.base.sigma(times) / self.base.alpha(times)))

    def alpha(self, t: Tensor) -> Tensor:
        return (1 + self._nsr(t) ** 2) ** -0.5

    def sigma(self, t: Tensor) -> Tensor:
        nsr = self._nsr(t)
        return nsr * (1 + nsr**2) ** -0.5

    def time_of(self, logsnr: Tensor) -> Tensor:
        times, knots = self._knots
        nsr = (-logsnr / 2).exp()
        piece = (torch.searchsorted(knots, nsr.detach().contiguous(), right=True) - 1).clamp(0, len(knots) - 2)
        low, high = knots[piece], knots[piece + 1]
        share = (nsr - low) / (high - low)
        if self.by == "log-nsr":
            share = torch.where(piece == 0, share, (nsr / low).log() / (high / low).log())
        return times[piece] + share * (times[piece + 1] - times[piece])

    def _nsr(self, t: Tensor) -> Tensor:
        times, knots = self._knots
        piece = (t.detach() * (len(times) - 1)).long().clamp(max=len(times) - 2)
        share = (t - times[piece]) / (times[piece + 1] - times[piece])
        low, high = knots[piece], knots[piece + 1]
        straight = low * (1 - share) + high * share
        if self.by == "nsr":
            return straight
        first = torch.where(piece == 0, high, low)  # log 0 is never asked for
        return torch.where(piece == 0, straight, first * (high / first) ** share)


def ddpm_of(alpha: np.ndarray, settings: dict[str, object]) -> DDPM:
    """The discrete schedule with these alphas: by name if it has one with these settings, else by its betas.

    Args:     alpha: at each index; (count,).
              settings: of a DDPM schedule to be tried.
    """
    times = (torch.arange(len(alpha), dtype=torch.float64) + 1) / len(alpha)
    named = DDPM(**settings)  # type: ignore[arg-type]
    if named.count == len(alpha) and float((named.alpha(times) - torch.from_numpy(alpha)).abs().max()) < 1e-13:
        return named
    before = np.concatenate([[1.0], alpha[:-1]])
    return DDPM(table=tuple((1 - (alpha / before) ** 2).tolist()))
