"""What a time law is: where on the path training looks (T45)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument
from obverse.ground.families import Family
from obverse.ground.numerics import Number, bisect, exact
from obverse.path import Level, Schedule


class TimeLaw(Family, family="time law"):
    """A distribution of levels to train at.

    To add one, write `level` (a quantile function: u uniform in (0, 1) to a level, noisier as u grows) and `density`;
    `cumulative`, its inverse, lets other laws be made of it.
    """

    memory: Tensor | None = None  # what the law has learnt, for checkpoints: written in place by `observe`

    @abstractmethod
    def level(self, u: Tensor, schedule: Schedule) -> Level:
        """The level of each uniform draw; float64 (batch,)."""

    @abstractmethod
    def density(self, level: Level) -> Tensor:
        """Probability density per unit of log-SNR at a level of the schedule."""

    def cumulative(self, level: Level) -> Tensor:
        """The share of draws with less noise than a level: u of `level`, again."""
        raise InvalidArgument(
            f"{self.label}: a law is made of another by its distribution function, which {type(self).__name__} does "
            f"not have: write cumulative(level). (Asked at {level}.)"
        )

    def ratio(self, level: Level) -> Number:
        """The density that is meant over the density of the draws: what keeps a loss unbiased (T50)."""
        return 1.0

    def observe(self, level: Level, loss: Tensor) -> None:
        """Learn from the losses of a step, `ratio` included, of all processes; most laws have nothing to learn.

        Args:     level: where each sample was looked at.
                  loss: of each sample; (batch,).
        """

    def uniforms(self, count: int, *, seed: int, step: int | range, samples: Sequence[int] | Tensor | None) -> Tensor:
        """The uniform draws of one training step; (count,); for a range of steps (steps, count)."""
        return noise.uniform((count,), seed=seed, purpose="times", step=step, samples=samples)


class OverTime(TimeLaw):
    """Laws of t: write `quantile` and `pdf` on (0, 1); `cdf` where it has a closed form."""

    @abstractmethod
    def quantile(self, u: Tensor) -> Tensor:
        """t at a cumulative probability."""

    @abstractmethod
    def pdf(self, t: Tensor) -> Tensor:
        """Density in t."""

    def cdf(self, t: Tensor) -> Tensor:
        """Cumulative probability at t; by bisection unless overridden."""
        return bisect(lambda u: -self.quantile(u), -t, 0.0, 1.0)

    def level(self, u: Tensor, schedule: Schedule) -> Level:
        return schedule.at(self.quantile(u))

    def density(self, level: Level) -> Tensor:
        return self.pdf(exact(level.t)) / exact(level.logsnr_dot).abs()

    def cumulative(self, level: Level) -> Tensor:
        return self.cdf(exact(level.t))


class Around(TimeLaw):
    """A law made of another: it is that other law until it says otherwise."""

    base: TimeLaw

    @property
    def memory(self) -> Tensor | None:  # type: ignore[override]
        """The other law's."""
        return self.base.memory

    def level(self, u: Tensor, schedule: Schedule) -> Level:
        return self.base.level(u, schedule)

    def density(self, level: Level) -> Tensor:
        return self.base.density(level)

    def cumulative(self, level: Level) -> Tensor:
        return self.base.cumulative(level)

    def ratio(self, level: Level) -> Number:
        return self.base.ratio(level)

    def observe(self, level: Level, loss: Tensor) -> None:
        self.base.observe(level, loss)

    def uniforms(self, count: int, *, seed: int, step: int | range, samples: Sequence[int] | Tensor | None) -> Tensor:
        return self.base.uniforms(count, seed=seed, step=step, samples=samples)


def normal(u: Tensor) -> Tensor:
    """The standard normal's quantile function."""
    x: Tensor = torch.special.ndtri(u)
    return x
