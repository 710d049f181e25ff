"""Weightings that are the plain mean squared error of one face."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from obverse.ground.errors import require
from obverse.ground.numerics import exact
from obverse.objective.weightings.weighting import Weighting
from obverse.path import Data, Edm, Flow, Level, Linear, Noise, Prediction, Schedule, V, Velocity, gain


class Plain(Weighting):
    """The plain mean squared error of one face, written without its infinite limits."""

    face: Prediction

    def on(self, face: Prediction, level: Level, density: Tensor) -> Tensor:
        return exact(gain(face, self.face, level)) ** 2 * torch.ones_like(exact(level.t))


class FlowMSE(Plain, name="flow"):
    """Mean squared error of eps - x: flow matching; (1 + nsr)² on the noise. Source: Lipman et al. (2023)."""

    face = Flow()

    def __call__(self, logsnr: Tensor) -> Tensor:
        return (1 + (-logsnr / 2).exp()) ** 2


class NoiseMSE(Plain, name="noise"):
    """Mean squared error of eps: DDPM's simple loss. Source: Ho et al. (2020), equation 14."""

    face = Noise()

    def __call__(self, logsnr: Tensor) -> Tensor:
        return torch.ones_like(logsnr)


class DataMSE(Plain, name="data"):
    """Mean squared error of x: a denoiser's; nsr² on the noise."""

    face = Data()

    def __call__(self, logsnr: Tensor) -> Tensor:
        return (-logsnr).exp()


class VMSE(Weighting, name="v"):
    """Mean squared error of v on the unit circle; 1 + nsr² on the noise. Source: Salimans & Ho (2022)."""

    def __call__(self, logsnr: Tensor) -> Tensor:
        return 1 + (-logsnr).exp()

    def on(self, face: Prediction, level: Level, density: Tensor) -> Tensor:
        return (exact(gain(face, V(), level)) / exact(level.r)) ** 2


@dataclass(frozen=True)
class EDM(Plain, name="edm"):
    """Mean squared error of EDM's raw output: unit variance at every level.

    Source: Karras et al. (2022), table 1 (lambda = 1 / c_out²).
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        require(self.sigma_data > 0, f"edm: sigma_data > 0, got {self.sigma_data} (images in [-1, 1]: 0.5).")

    @property
    def face(self) -> Edm:  # type: ignore[override]
        """EDM's, for data of this size."""
        return Edm(self.sigma_data)

    def __call__(self, logsnr: Tensor) -> Tensor:
        return ((-logsnr).exp() + self.sigma_data**2) / self.sigma_data**2


@dataclass(frozen=True)
class MSE(Weighting, name="mse"):
    """Mean squared error of a face as it stands on a path: velocities and scores have a scale of their own there.

    `mse:face=velocity,path=vp` is flow matching on the VP path. The path is the one that the face is read on, whatever
    path is trained on; at log-SNRs that it does not reach, its end stands for them.
    Source: Lipman et al. (2023), equation 9; Song et al. (2021), equation 7.
    """

    face: Prediction = field(default_factory=Velocity)
    path: Schedule = field(default_factory=Linear)

    def __call__(self, logsnr: Tensor) -> Tensor:
        return exact(gain(Noise(), self.face, self.path.nearest(logsnr))) ** 2
