"""Clocks: the variable in which estimates of earlier steps are joined by a polynomial (T26).

Which one decides how far a polynomial can be trusted: an estimate that settles in one clock still runs in another.
A clock is a function of the noise level u = log nsr; it may be infinite at an end.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from obverse.ground.errors import require
from obverse.ground.families import Family
from obverse.ground.numerics import exact
from obverse.path import Schedule


class Clock(Family, family="clock"):
    """A monotone function of the noise level; to add one, write `at`.

    Example:
        >>> import torch; from obverse.path import Linear
        >>> Clock.of("nsr").at(torch.tensor([0.0]), Linear())
        tensor([1.])
    """

    @abstractmethod
    def at(self, u: Tensor, schedule: Schedule) -> Tensor:
        """The clock's value where log nsr is u; float64, any shape; u = +-inf are the ends."""

    @property
    def invariant(self) -> bool:
        """Whether it reads noise levels only, not the schedule's t."""
        return True


class InLogSNR(Clock, name="logsnr"):
    """log-SNR: DPM-Solver's; infinite at both ends."""

    def at(self, u: Tensor, schedule: Schedule) -> Tensor:
        return -2 * u


@dataclass(frozen=True)
class InNSR(Clock, name="nsr"):
    """nsr^(1/rho): k-diffusion's for rho = 1; infinite at pure noise."""

    rho: float = 1.0

    def __post_init__(self) -> None:
        require(self.rho > 0, f"nsr: rho > 0, got {self.rho} (1 is nsr itself).")

    def at(self, u: Tensor, schedule: Schedule) -> Tensor:
        return (u / self.rho).exp()


@dataclass(frozen=True)
class InAngle(Clock, name="angle"):
    """atan(nsr / sigma_data): the angle of the data brought to unit size; finite at both ends."""

    sigma_data: float = 1.0

    def __post_init__(self) -> None:
        require(self.sigma_data > 0, f"angle: sigma_data > 0, got {self.sigma_data} (1: data of unit size).")

    def at(self, u: Tensor, schedule: Schedule) -> Tensor:
        return (u.exp() / self.sigma_data).atan()


class InTime(Clock, name="t"):
    """The schedule's own t: DEIS's; knows the schedule."""

    def at(self, u: Tensor, schedule: Schedule) -> Tensor:
        return exact(schedule.nearest(-2 * u).t)

    @property
    def invariant(self) -> bool:
        return False
