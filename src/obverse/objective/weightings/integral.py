"""Weightings of the integral over log-SNR: the same objective under every time law."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from obverse.objective.times import LogitNormal, TimeLaw
from obverse.objective.weightings.faces import FlowMSE
from obverse.objective.weightings.weighting import OverLogSNR, Weighting
from obverse.path import Linear, Schedule


class ELBO(OverLogSNR, name="elbo"):
    """Every log-SNR alike: the negative log-likelihood bound, up to the factor 1/2. Source: Kingma et al. (2021)."""

    def __call__(self, logsnr: Tensor) -> Tensor:
        return torch.ones_like(logsnr)


@dataclass(frozen=True)
class Sigmoid(OverLogSNR, name="sigmoid"):
    """sigmoid(bias - logsnr): fine noise levels fade out. Source: Kingma & Gao (2023); Hoogeboom et al. (2024)."""

    bias: float = 2.0

    def __call__(self, logsnr: Tensor) -> Tensor:
        return (self.bias - logsnr).sigmoid()


class VCosine(OverLogSNR, name="v-cosine"):
    """v-prediction with the cosine schedule, and so flow matching up to the constant pi/2: nsr / pi (T47).

    Source: Salimans & Ho (2022); Kingma & Gao (2023), table 1.
    """

    def __call__(self, logsnr: Tensor) -> Tensor:
        return (-logsnr / 2).exp() / math.pi


class InDI(OverLogSNR, name="indi"):
    """Inversion by direct iteration: the data's error at uniform times of the linear path.

    exp(-logsnr) sech²(logsnr / 4) / 8. Source: Delbracio & Milanfar (2023); Kingma & Gao (2023), table 1.
    """

    def __call__(self, logsnr: Tensor) -> Tensor:
        return (-logsnr).exp() / (8 * (logsnr / 4).cosh() ** 2)


@dataclass(frozen=True)
class Induced(OverLogSNR, name="induced"):
    """What another recipe weighs each log-SNR with: its time law's density times its weighting, on its path.

    It keeps that recipe's objective while levels are drawn from any time law. The time law is read as independent
    draws would be; log-SNRs that the path does not reach weigh nothing.

    Args:     times, weighting, path: of the recipe; as they stand, those of rectified flow in SD3.
    """

    times: TimeLaw = field(default_factory=LogitNormal)
    weighting: Weighting = field(default_factory=FlowMSE)
    path: Schedule = field(default_factory=Linear)

    def __call__(self, logsnr: Tensor) -> Tensor:
        low, high = self.path.range
        reached = (logsnr >= low) & (logsnr <= high)
        density = self.times.density(self.path.nearest(logsnr))
        return torch.where(reached, self.weighting.over(logsnr, density), 0.0)


@dataclass(frozen=True)
class SD3(Induced, name="sd3"):
    """SD3's weight under any time law: flow's error at logit-normal times (also times=mode, times=cos-map).

    Normal(logsnr; -2 mean, (2 std)²) (1 + nsr)². Source: Esser et al. (2024), section 3.1.
    """
