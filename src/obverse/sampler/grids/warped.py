"""Grids warped by a distribution, by a shift, or by what somebody has fitted to a network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from obverse.ground.errors import UnknownName, require
from obverse.ground.numerics import exact
from obverse.path import Level, Schedule
from obverse.sampler.grids.even import Uniform
from obverse.sampler.grids.grid import Grid, at_logsnr, fractions, reach


@dataclass(frozen=True)
class Sigmoid(Grid, name="sigmoid"):
    """An S-curve in log-SNR: sigmoid((mean - logsnr) / spread) evenly spaced, so that most steps lie around `mean`.

    spread 2 is uniform time on the linear path, there shifted by k where mean = -2 log k; spread 1 is even in sigma²
    on the unit circle. Both ends are reached on every schedule.
    """

    steps: int = 20
    mean: float = 0.0
    spread: float = 2.0

    def __post_init__(self) -> None:
        require(self.spread > 0, f"sigmoid: spread > 0, got {self.spread} (2 is flow matching's).")

    def calls(self, schedule: Schedule) -> Level:
        first, last = ((self.mean - exact(end)).div(self.spread).sigmoid() for end in schedule.range)
        shares = fractions(self.steps, schedule)
        logsnr = self.mean - self.spread * (first * (1 - shares) + last * shares).logit()
        return schedule.nearest(logsnr)


@dataclass(frozen=True)
class Beta(Grid, name="beta"):
    """Times at the quantiles of a Beta(a, b) distribution: finer at both ends of the path where a and b are below 1.

    Source: Lee et al. (2024), "Beta sampling is all you need", section 4: a = b = 0.6.
    """

    steps: int = 20
    a: float = 0.6
    b: float = 0.6
    start: float = 1.0

    def __post_init__(self) -> None:
        require(self.a > 0 and self.b > 0, f"beta: a > 0 and b > 0, got a={self.a}, b={self.b} (the paper: 0.6, 0.6).")
        require(0 < self.start <= 1, f"beta: 0 < start <= 1, got {self.start} (1 is pure noise).")

    def calls(self, schedule: Schedule) -> Level:
        from scipy.special import betaincinv  # takes longer to import than all of obverse

        quantiles = betaincinv(self.a, self.b, 1 - fractions(self.steps, schedule).numpy())
        return schedule.at(self.start * torch.from_numpy(quantiles))


@dataclass(frozen=True)
class Shift(Grid, name="shift"):
    """Another grid with its times moved towards noise: t -> k t / (1 + (k - 1) t), both ends kept.

    On the linear path every noise-to-signal ratio is multiplied by k: SD3's and FLUX's shift.
    Source: Esser et al. (2024), equation 23.
    """

    steps: int = 20
    base: Grid = field(default_factory=Uniform)
    k: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.k > 0, f"shift: k > 0, got {self.k} (1 changes nothing; SD3 at 1024²: 3).")

    def calls(self, schedule: Schedule) -> Level:
        return self._moved(schedule, self.base.resized(self.steps).calls(schedule))

    def stop(self, schedule: Schedule) -> Level:
        stop = self.base.stop(schedule)
        return stop if float(stop.sigma) == 0 else self._moved(schedule, stop)

    def _moved(self, schedule: Schedule, level: Level) -> Level:
        t = exact(level.t)
        return schedule.at(self.k * t / (1 + (self.k - 1) * t))


@dataclass(frozen=True)
class ResolutionShift(Grid, name="resolution-shift"):
    """`shift` by as much as the size of an image asks for: k = exp(mu), mu linear in the number of tokens.

    A larger image needs more noise to be hidden as well; a network is called with one token for 16 x 16 pixels.

    Args:     tokens: of the image that is made; 1024² pixels: 4096.
              low_tokens, high_tokens, low_mu, high_mu: two points of the line; these are FLUX's.
    Source:   Esser et al. (2024), section 5.3.2; Black Forest Labs (2024), FLUX.1's own sampling code for the line.
    """

    steps: int = 20
    base: Grid = field(default_factory=Uniform)
    tokens: int = 4096
    low_tokens: int = 256
    high_tokens: int = 4096
    low_mu: float = 0.5
    high_mu: float = 1.15

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.tokens >= 1, f"resolution-shift: tokens >= 1, got {self.tokens} (1024² pixels: 4096).")
        ok = 1 <= self.low_tokens < self.high_tokens
        require(ok, f"resolution-shift: 1 <= low_tokens < high_tokens, got {self.spec} (FLUX: 256, 4096).")

    @property
    def k(self) -> float:
        """The factor by which the noise-to-signal ratio grows on the linear path."""
        rise = (self.high_mu - self.low_mu) / (self.high_tokens - self.low_tokens)
        return math.exp(self.low_mu + rise * (self.tokens - self.low_tokens))

    def calls(self, schedule: Schedule) -> Level:
        return Shift(self.steps, self.base, self.k).calls(schedule)

    def stop(self, schedule: Schedule) -> Level:
        return Shift(self.steps, self.base, self.k).stop(schedule)


# Sabour et al. (2024), "Align your steps", table 2 and the authors' guide, in nsr; the last is the end.
_SD15 = "14.6146412293 6.4745760956 3.8636745985 2.6946151520 1.8841921177 1.3943805092 0.9642583904 0.6523686016 "
_SD15 += "0.3977456272 0.1515232662 0.0291671582"
_SDXL = "14.6146412293 6.3184485287 3.7681790315 2.1811480769 1.3405244945 0.8620721141 0.5550693289 0.3798540708 "
_SDXL += "0.2332364134 0.1114188177 0.0291671582"
_SVD = "700 54.5 15.886 7.977 4.248 1.789 0.981 0.403 0.173 0.034 0.002"
_ALIGNED = {name: tuple(map(float, row.split())) for name, row in (("sd15", _SD15), ("sdxl", _SDXL), ("svd", _SVD))}


@dataclass(frozen=True)
class AlignYourSteps(Grid, name="align-your-steps"):
    """The levels published for Stable Diffusion 1.5, XL and Video; other numbers of steps interpolate log nsr.

    The table's ends give way where the schedule reaches less far; its last level is taken to the clean end.

    Args:     network: sd15, sdxl or svd.
    Source:   Sabour et al. (2024), "Align your steps", table 2 and section 5 for the interpolation.
    """

    steps: int = 10
    network: str = "sd15"

    def __post_init__(self) -> None:
        if self.network not in _ALIGNED:
            raise UnknownName("table of align-your-steps", self.network, _ALIGNED)

    def calls(self, schedule: Schedule) -> Level:
        table = -2 * np.log(np.array(_ALIGNED[self.network]))
        table[0], table[-1] = reach(schedule, table[0], table[-1], self.label)
        places = np.linspace(0, 1, self.steps + 1)[:-1]
        logsnr = torch.from_numpy(np.interp(places, np.linspace(0, 1, len(table)), table))
        return at_logsnr(schedule, logsnr, self.label)
