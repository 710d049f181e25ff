"""Time laws made of others: spread evenly, cut, moved, drawn from one and meant as another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import require
from obverse.ground.numerics import Number
from obverse.objective.times.given import LogitNormal, Uniform
from obverse.objective.times.law import Around, OverTime, TimeLaw
from obverse.path import Level, Schedule


@dataclass(frozen=True)
class Stratified(Around, name="stratified"):
    """Another law with its draws spread evenly over every batch: the same expectation, less variance.

    u_i = frac(u_0 + i / golden ratio), one u_0 a step: row i needs to know neither its neighbours nor their number, so
    the rows of all processes are spread as one batch.
    Source: Kingma et al. (2021), appendix I.1 (low-discrepancy sampler); Weyl (1916).
    """

    base: TimeLaw = field(default_factory=Uniform)

    def uniforms(self, count: int, *, seed: int, step: int | range, samples: Sequence[int] | Tensor | None) -> Tensor:
        first = noise.uniform((1,), seed=seed, purpose="stratified", step=step)
        u = (first + noise.ids_of((count,), samples).double().cpu() * ((math.sqrt(5) - 1) / 2)) % 1.0
        return u.clamp(2.0**-53, 1 - 2.0**-53)


@dataclass(frozen=True)
class Cut(Around, name="cut"):
    """Another law without its extremes: only what lies between two of its quantiles.

    Of uniform times these are the times themselves: cut:low=0.001 starts at t = 0.001. Where a loss has no finite
    mean at an end of the path, this says how near to it training goes.

    Args:     base: the law.
              low, high: cumulative probabilities, from data to source.
    Source:   Song et al. (2021), appendix C (t from 1e-5).
    """

    base: TimeLaw = field(default_factory=Uniform)
    low: float = 1e-5
    high: float = 1 - 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.low < self.high <= 1, f"cut: 0 <= low < high <= 1, got low={self.low}, high={self.high}.")

    def level(self, u: Tensor, schedule: Schedule) -> Level:
        return self.base.level(self.low + (self.high - self.low) * u, schedule)

    def density(self, level: Level) -> Tensor:
        u = self.base.cumulative(level)
        inside = (u >= self.low) & (u <= self.high)
        return torch.where(inside, self.base.density(level) / (self.high - self.low), 0.0)

    def cumulative(self, level: Level) -> Tensor:
        return ((self.base.cumulative(level) - self.low) / (self.high - self.low)).clamp(0, 1)


@dataclass(frozen=True)
class Shifted(OverTime, name="shifted"):
    """A law of t moved as a grid is: t -> k t / (1 + (k - 1) t), to train where the grid `shift:k=...` will look.

    On the linear path every noise-to-signal ratio is multiplied by k.

    Args:     base: a law of t.
              k: as of the grid; > 1 moves towards noise.
    Source:   Esser et al. (2024), equation 23.
    """

    base: OverTime = field(default_factory=LogitNormal)
    k: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.k > 0, f"shifted: k > 0, got {self.k} (1 changes nothing; SD3 at 1024²: 3).")
        of_t = isinstance(self.base, OverTime)
        require(of_t, f"shifted: base is a law of t, got {self.base.label} (spread it outside: stratified:base=...).")

    def quantile(self, u: Tensor) -> Tensor:
        t = self.base.quantile(u)
        return self.k * t / (1 + (self.k - 1) * t)

    def pdf(self, t: Tensor) -> Tensor:
        return self.base.pdf(self._back(t)) * self.k / (self.k - (self.k - 1) * t) ** 2

    def cdf(self, t: Tensor) -> Tensor:
        return self.base.cdf(self._back(t))

    def _back(self, t: Tensor) -> Tensor:
        return t / (self.k - (self.k - 1) * t)


@dataclass(frozen=True)
class Importance(Around, name="importance"):
    """Draws from one law, meant as draws from another: every loss is weighted by the ratio of their densities.

    The expectation is that of `meant`; where to look is a matter of variance only (T50).

    Args:     base: the law drawn from.
              meant: the law whose expectation is wanted.
    """

    base: TimeLaw = field(default_factory=LogitNormal)
    meant: TimeLaw = field(default_factory=Uniform)

    def ratio(self, level: Level) -> Number:
        return self.meant.density(level) / self.base.density(level)
