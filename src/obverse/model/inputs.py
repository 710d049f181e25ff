"""How networks want to be told where they are, and how they want their state scaled."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch

from obverse.ground.errors import require
from obverse.ground.families import Family
from obverse.ground.numerics import Number, exact, log
from obverse.path import DDPM, Edm, Flow, Level, Prediction, Reversed, Schedule, Velocity

DUST = 1e-9  # what rounding leaves of a whole number below a million


class TimeInput(Family, family="time"):
    """How a network wants to be told where it is."""

    @abstractmethod
    def __call__(self, level: Level) -> Number:
        """The number handed to the network at a level."""

    def face(self, predicts: Prediction) -> Prediction:
        """What a prediction means to somebody whose time runs this way."""
        return predicts

    def check(self, schedule: Schedule) -> None:
        """Refuse a schedule that has no such times."""


@dataclass(frozen=True)
class Time(TimeInput, name="t"):
    """t in [0, 1], data at 0 (times `scale`: 1000 for SD3, Wan)."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        require(self.scale > 0, f"t: scale > 0, got {self.scale} (SD3, Wan: 1000).")

    def __call__(self, level: Level) -> Number:
        return level.t if self.scale == 1 else self.scale * level.t


@dataclass(frozen=True)
class DataAtOne(TimeInput, name="data-at-1"):
    """1 - t: flow-matching papers' time, in which rates (flow, velocity) have the other sign (`scale`: as of t)."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        require(self.scale > 0, f"data-at-1: scale > 0, got {self.scale} (1, or 1000).")

    def __call__(self, level: Level) -> Number:
        return self.scale * (1 - level.t)

    def face(self, predicts: Prediction) -> Prediction:
        match predicts:
            case Flow() | Velocity():
                return Reversed(predicts)
            case Reversed(face=Flow() | Velocity()):
                return predicts.face
        return predicts


@dataclass(frozen=True)
class Index(TimeInput, name="index"):
    """The index of a discrete schedule, from count - 1 (noise) to 0: count t - 1, as DDPM networks want it.

    Nearer the data than index 0 it goes on below 0, towards -1; on the grid `indices` no call is made there.
    """

    count: int = 1000

    def __post_init__(self) -> None:
        require(self.count >= 1, f"index: count >= 1, got {self.count} (DDPM: 1000).")

    def __call__(self, level: Level) -> Number:
        index = exact(self.count * level.t - 1)
        off = index.round() - index  # 1000 * 0.199 - 1 is a little less than 198: cut off, it would be 197
        return index + torch.where(off.abs() < DUST, off, 0.0).detach()

    def check(self, schedule: Schedule) -> None:
        own = schedule.indices if isinstance(schedule, DDPM) else self.count
        said = f"time {self.spec} counts to {self.count}, {schedule.label} has {own}"
        require(own == self.count, f"{said} (count={own}).")


@dataclass(frozen=True)
class LogSNR(TimeInput, name="logsnr"):
    """log-SNR itself, limited to +-limit: the path can be swapped afterwards."""

    limit: float = 20.0

    def __post_init__(self) -> None:
        require(self.limit > 0, f"logsnr: limit > 0, got {self.limit} (20).")

    def __call__(self, level: Level) -> Number:
        return exact(level.logsnr).clamp(-self.limit, self.limit)


class LogNSR(TimeInput, name="log-nsr"):
    """log(sigma/alpha) / 4: EDM's c_noise (Karras et al. 2022, table 1)."""

    def __call__(self, level: Level) -> Number:
        return log(level.nsr) / 4


class NSR(TimeInput, name="nsr"):
    """sigma/alpha itself: EDM's sigma, as k-diffusion and VE networks want it."""

    def __call__(self, level: Level) -> Number:
        return level.nsr


class Precondition(Family, family="precondition"):
    """How a network wants its state scaled."""

    @abstractmethod
    def __call__(self, level: Level) -> Number:
        """What the state is multiplied by before it enters."""

    def check(self, face: Prediction) -> None:
        """Refuse a prediction that does not go with it."""


class Unscaled(Precondition, name="none"):
    """The state as it is."""

    def __call__(self, level: Level) -> Number:
        return 1.0


@dataclass(frozen=True)
class UnitVariance(Precondition, name="unit-variance"):
    """1 / sqrt(alpha² sigma_data² + sigma²): EDM's c_in, right on every path (T13)."""

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        require(self.sigma_data > 0, f"unit-variance: sigma_data > 0, got {self.sigma_data} (images in [-1, 1]: 0.5).")

    def __call__(self, level: Level) -> Number:
        return (level.alpha**2 * self.sigma_data**2 + level.sigma**2) ** -0.5

    def check(self, face: Prediction) -> None:
        own = face.sigma_data if isinstance(face, Edm) else self.sigma_data
        require(own == self.sigma_data, f"EDM has one sigma_data: predicts says {own}, precondition {self.sigma_data}.")


class OnCircle(Precondition, name="circle"):
    """1 / r: the state on the unit circle, so that training does not depend on the schedule's scale."""

    def __call__(self, level: Level) -> Number:
        return 1 / level.r
