"""What laws are tried on: paths, faces, times and distributions whose every answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.numerics import Number, bisect, exact
from obverse.laws.law import Compared
from obverse.model import Gaussian, Mixture
from obverse.path import (
    EDM,
    VP,
    Cosine,
    Data,
    Edm,
    Flow,
    Level,
    Linear,
    Noise,
    Prediction,
    Schedule,
    Score,
    V,
    Velocity,
)

PATHS: tuple[Schedule, ...] = (Linear(), VP(), Cosine(), EDM())  # both ends exact, one, both, none
FACES: tuple[Prediction, ...] = (Data(), Noise(), Flow(), V(), Velocity(), Score(), Edm())


def times(low: float, high: float, count: int = 64) -> Tensor:
    """Times between low and high, rising, at no regular distance."""
    golden = (math.sqrt(5) - 1) / 2
    spread = (torch.arange(1, count + 1, dtype=torch.float64) * golden) % 1
    return low + (high - low) * spread.sort().values


def one_by_one(what: str, f: Callable[[Level], Number]) -> Iterator[Compared]:
    """A function at many levels together, beside the same as plain floats, on every path."""
    for path in PATHS:
        level = path.at(times(0.1, 0.9, 6))
        alone = exact([float(f(moment)) for moment in level.floats()])
        yield f"{what} on {path.spec}", f(level), alone, 1 + alone.abs()


def draws(shape: tuple[int, ...], what: str) -> Tensor:
    """Standard normal draws, float64, the same at every call."""
    return noise.normal(shape, seed=0, purpose=f"laws: {what}", dtype=torch.float64)


def hill(schedule: Schedule | str) -> Gaussian:
    """One Gaussian on the line."""
    return Gaussian(torch.tensor([0.3]), 0.36, schedule)


def ridge(schedule: Schedule | str) -> Gaussian:
    """One Gaussian, narrow to wide along its axes: what a method does to any variance."""
    variances = torch.tensor([0.04, 0.36, 1.7, 9.0], dtype=torch.float64)
    return Gaussian(torch.tensor([0.3, -0.5, 0.2, 1.0]), variances.diag(), schedule)


def hills(schedule: Schedule | str) -> Mixture:
    """Two Gaussians on the line, near enough to be told apart only late."""
    return Mixture(torch.tensor([[-0.8], [1.0]]), 0.16, torch.tensor([0.4, 0.6]), schedule)


def starts(level: Level, count: int = 8) -> Tensor:
    """States spread over where a path starts; float64 (count, 1)."""
    return float(level.r) * torch.linspace(-1.6, 1.6, count, dtype=torch.float64)[:, None]


def carried(oracle: Mixture, x_t: Tensor, start: Level, stop: Level) -> Tensor:
    """Where the probability flow takes states on the line, exactly: quantiles stay quantiles (T59); (batch, 1)."""

    def above(z: Tensor, level: Level) -> Tensor:
        spread = (level.alpha**2 * oracle.variances[:, 0] + level.sigma**2).sqrt()
        beyond = torch.special.ndtr((level.alpha * oracle.means[:, 0] - z) / spread)
        share: Tensor = (oracle.weights * beyond).sum(1, keepdim=True)
        return share

    reach = 20.0 * float(stop.r)
    return bisect(lambda z: above(z, stop), above(x_t, start), -reach, reach)
