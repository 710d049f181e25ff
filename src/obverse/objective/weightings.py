"""Weightings: how much an error counts, as a function of log-SNR on the squared error of the noise (T46)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.families import Family
from obverse.ground.numerics import exact
from obverse.path import Data, Edm, Flow, Level, Noise, Prediction, V, gain


class Weighting(Family, family="weighting"):
    """What a squared error of the noise is multiplied by at a log-SNR, for every draw of the time law.

    To add one, write `__call__`; `on` carries it to any face by the gain (the gain law: whatever the network
    predicts, the expected loss is the same).
    """

    @abstractmethod
    def __call__(self, logsnr: Tensor) -> Tensor:
        """The weight on |eps^ - eps|²; float64, any shape."""

    def on(self, face: Prediction, level: Level, density: Tensor) -> Tensor:
        """The weight on the squared error of a face.

        Args:     face: what the network predicts.
                  level: where.
                  density: of the time law per unit of log-SNR there; only weightings of the integral over log-SNR
                      need it.
        """
        return self(exact(level.logsnr)) * exact(gain(face, Noise(), level)) ** 2


class Plain(Weighting):
    """The plain mean squared error of one face, written without its infinite limits."""

    face: ClassVar[Prediction]

    def on(self, face: Prediction, level: Level, density: Tensor) -> Tensor:
        return exact(gain(face, self.face, level)) ** 2 * torch.ones_like(exact(level.t))


class FlowMSE(Plain, name="flow"):
    """Mean squared error of eps - x: flow matching; (1 + nsr)² on the noise. Source: Lipman et al. (2023)."""

    face: ClassVar[Prediction] = Flow()

    def __call__(self, logsnr: Tensor) -> Tensor:
        return (1 + (-logsnr / 2).exp()) ** 2


class NoiseMSE(Plain, name="noise"):
    """Mean squared error of eps: DDPM's simple loss. Source: Ho et al. (2020), equation 14."""

    face: ClassVar[Prediction] = Noise()

    def __call__(self, logsnr: Tensor) -> Tensor:
        return torch.ones_like(logsnr)


class DataMSE(Plain, name="data"):
    """Mean squared error of x: a denoiser's; nsr² on the noise."""

    face: ClassVar[Prediction] = Data()

    def __call__(self, logsnr: Tensor) -> Tensor:
        return (-logsnr).exp()


class VMSE(Weighting, name="v"):
    """Mean squared error of v on the unit circle; 1 + nsr² on the noise. Source: Salimans & Ho (2022)."""

    def __call__(self, logsnr: Tensor) -> Tensor:
        return 1 + (-logsnr).exp()

    def on(self, face: Prediction, level: Level, density: Tensor) -> Tensor:
        return (exact(gain(face, V(), level)) / exact(level.r)) ** 2


@dataclass(frozen=True)
class EDM(Weighting, name="edm"):
    """Mean squared error of EDM's raw output: unit variance at every level.

    Source: Karras et al. (2022), table 1 (lambda = 1 / c_out²).
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not self.sigma_data > 0:
            raise InvalidArgument(f"edm: sigma_data > 0, got {self.sigma_data} (images in [-1, 1]: 0.5).")

    def __call__(self, logsnr: Tensor) -> Tensor:
        return ((-logsnr).exp() + self.sigma_data**2) / self.sigma_data**2

    def on(self, face: Prediction, level: Level, density: Tensor) -> Tensor:
        return exact(gain(face, Edm(self.sigma_data), level)) ** 2


@dataclass(frozen=True)
class MinSNR(Weighting, name="min-snr"):
    """The noise's error, capped as if SNR never exceeded gamma: min(1, gamma / SNR).

    Source: Hang et al. (2023), equation 7.
    """

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise InvalidArgument(f"min-snr: gamma > 0, got {self.gamma} (the paper: 5).")

    def __call__(self, logsnr: Tensor) -> Tensor:
        return (self.gamma * (-logsnr).exp()).clamp(max=1)


class OverLogSNR(Weighting):
    """Weights of the integral over log-SNR itself: the time law is divided out, so it only decides the variance."""

    def on(self, face: Prediction, level: Level, density: Tensor) -> Tensor:
        return super().on(face, level, density) / density


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
