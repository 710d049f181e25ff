"""Weightings written in the signal-to-noise ratio, to keep fine noise levels from taking over."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from obverse.ground.errors import require
from obverse.objective.weightings.weighting import Weighting


@dataclass(frozen=True)
class MinSNR(Weighting, name="min-snr"):
    """The noise's error, capped as if SNR never exceeded gamma: min(1, gamma / SNR).

    Source: Hang et al. (2023), equation 7.
    """

    gamma: float = 5.0

    def __post_init__(self) -> None:
        require(self.gamma > 0, f"min-snr: gamma > 0, got {self.gamma} (the paper: 5).")

    def __call__(self, logsnr: Tensor) -> Tensor:
        return (self.gamma * (-logsnr).exp()).clamp(max=1)


@dataclass(frozen=True)
class SoftMinSNR(Weighting, name="soft-min-snr"):
    """`min-snr` with its corner rounded: 1 / (nsr² + 1/gamma) on the data, gamma / (gamma + SNR) on the noise.

    Source: Crowson et al. (2024), "Scalable high-resolution pixel-space image synthesis with hourglass diffusion
    transformers".
    """

    gamma: float = 4.0

    def __post_init__(self) -> None:
        require(self.gamma > 0, f"soft-min-snr: gamma > 0, got {self.gamma} (the paper: 4, for sigma_data = 0.5).")

    def __call__(self, logsnr: Tensor) -> Tensor:
        return (math.log(self.gamma) - logsnr).sigmoid()


class TruncatedSNR(Weighting, name="truncated-snr"):
    """Whichever is larger of the errors of noise and data: max(1, nsr²), so that no level is forgotten.

    Source: Salimans & Ho (2022), section 4.
    """

    def __call__(self, logsnr: Tensor) -> Tensor:
        return (-logsnr).exp().clamp(min=1)


@dataclass(frozen=True)
class P2(Weighting, name="p2"):
    """The noise's error over (k + SNR)^gamma: perception prioritised, clean levels count little.

    Source: Choi et al. (2022).
    """

    k: float = 1.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        ok = self.k > 0 and self.gamma >= 0
        require(ok, f"p2: k > 0 and gamma >= 0, got k={self.k}, gamma={self.gamma} (the paper: k=1, gamma=0.5 or 1).")

    def __call__(self, logsnr: Tensor) -> Tensor:
        return (self.k + logsnr.exp()) ** -self.gamma
