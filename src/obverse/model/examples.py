"""Data to try networks on: noised at a few levels, where data and noise can be told from each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import require
from obverse.ground.numerics import exact
from obverse.ground.shapes import against, check_rows, rows
from obverse.model.model import Cond
from obverse.path import DDPM, Level, Schedule

LEVELS, REACH = 9, 4.0  # log-SNRs, around the one at which noise is as large as data: beyond, denoising is easy
ROWS, NUMBERS = 16, 2**14  # looked at: so many rows, or more while their numbers are no more than these


@dataclass(frozen=True)
class Noised:
    """Data on a path, and what a denoiser that knows their mean and variance leaves of them at each level (T56)."""

    levels: Level
    states: list[Tensor]
    least: Tensor


@dataclass(frozen=True)
class Examples:
    """Data to try networks on.

    Args:     x: the data; (batch *data).
              cond: one row for each sample.
              seed: of the noise.
              variance, logsnr: of all the data, and where they are told from noise; float64 (levels,).
    """

    x: Tensor
    cond: Cond
    seed: int
    variance: float
    logsnr: Tensor

    @classmethod
    def of(cls, x: Tensor, cond: Cond, seed: int, paths: Sequence[Schedule]) -> Examples:
        """Data and the log-SNRs at which they are told from noise, within the ranges of some paths."""
        require(isinstance(x, Tensor), f"x is a tensor, got {type(x).__name__} (torch.as_tensor(x)).")
        x = x if x.dtype == torch.float64 else x.float()
        variance = float(exact(x).var(0).mean()) if len(x) > 1 else 0.0
        require(0 < variance < math.inf, f"x is data: finite, two different rows or more; got {tuple(x.shape)}.")
        check_rows(cond, len(x))
        few = slice(0, max(ROWS, NUMBERS // max(1, x[0].numel())))
        middle = -math.log(variance)
        low = max(middle - REACH, *(path.range[0] for path in paths))
        high = min(middle + REACH, *(path.range[1] for path in paths))
        names = ", ".join(path.label for path in paths)
        told = f"Data of variance {variance:.3g} are all signal or all noise on {names}"
        require(low < high, f"{told}: scale x as the network was trained on.")
        places = torch.linspace(low, high, LEVELS, dtype=torch.float64)
        return cls(x[few], rows(cond, few), seed, variance, places)

    def on(self, path: Schedule) -> Noised:
        """The data with noise, the same on every path."""
        levels, x = path.at_logsnr(self.logsnr), self.x
        if isinstance(path, DDPM):  # where its indices lie
            levels = path.at((exact(levels.t) * path.indices).round().clamp(min=1) / path.indices)
        states = [x_t for x_t, _ in with_noise(x, levels, seed=self.seed, purpose="fits")]
        return Noised(levels, states, 1 / (1 / self.variance + exact(levels.nsr) ** -2))


def with_noise(x: Tensor, levels: Iterable[Level], *, seed: int, purpose: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Data at each level, and the noise in them; (batch *data) both."""
    for number, level in enumerate(levels):
        eps = noise.normal(x.shape, seed=seed, purpose=purpose, step=number, dtype=x.dtype, device=x.device)
        yield against(level.alpha, x) * x + against(level.sigma, x) * eps, eps
