"""Where a model's own probability flow ends, and how far from there a table ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, SingularConversion
from obverse.ground.numerics import exact
from obverse.ground.shapes import check_rows, moved, rows
from obverse.model import Cond, Model
from obverse.path import Data, coefficients
from obverse.sampler.grids import Angle
from obverse.sampler.run import Sampler
from obverse.sampler.solvers.multistep import Adams
from obverse.sampler.tableau import Tableau

FLIPPED = 0.3  # of the data's root mean square: beyond this a sample has gone to another mode
AT_ONCE = 256  # rows that go through the model together


class Errors(NamedTuple):
    """Distances to the true ends, in units of the data's root mean square.

    Args:     median, rms: over samples, of each one's root mean square over its coordinates.
              flipped: the share of samples that ended elsewhere (further than 0.3).
    """

    median: float
    rms: float
    flipped: float

    @classmethod
    def of(cls, each: Tensor) -> Errors:
        """From the error of each sample; what is not finite is infinitely wrong."""
        each = exact(each).nan_to_num(math.inf, math.inf)
        return cls(float(each.quantile(0.5)), float(each.square().mean().sqrt()), float(exact(each > FLIPPED).mean()))

    @property
    def score(self) -> float:
        """log(median rms), to be small: a good middle and few strays."""
        return math.log(max(self.median, 1e-300)) + math.log(max(self.rms, 1e-300))

    def __str__(self) -> str:
        return f"median {self.median:.2g}, rms {self.rms:.2g}, flipped {self.flipped:.1%}"


@dataclass(frozen=True)
class Truth:
    """Noise, and where the model's own probability flow takes it.

    Args:     model, noise, cond: as of `truth`.
              ends: (batch *data).
              scale: the ends' root mean square.
              calls: of the reference.
              gap: median distance to the reference with half as many calls; the reference itself is closer.
    """

    model: Model
    noise: Tensor
    cond: Cond
    ends: Tensor
    scale: float
    calls: int
    gap: float

    def rows(self, index: slice | Tensor) -> Truth:
        """Some of the samples."""
        return replace(self, noise=self.noise[index], cond=rows(self.cond, index), ends=self.ends[index])

    def away(self, ends: Tensor) -> Tensor:
        """Differences to the true ends, so scaled that the squares of a sample's sum to its squared error."""
        return self.relative(ends - self.ends)

    def relative(self, differences: Tensor) -> Tensor:
        """Differences in float64, relative to the data, a sample's coordinates in a row; (... coordinates)."""
        rest = 1 - self.ends.ndim  # the axes of one sample, from behind
        return exact(differences.flatten(rest)) / (self.scale * math.sqrt(self.ends[0].numel()))

    def each(self, ends: Tensor) -> Tensor:
        """The error of every sample; (batch,)."""
        return self.away(ends).square().sum(1).sqrt()

    def run(self, table: Tableau) -> Tensor:
        """Where a table takes the noise; (batch *data)."""
        with torch.no_grad():
            return _ends(table, self.model, self.noise, self.cond)

    def errors(self, table: Tableau) -> Errors:
        """How exact a table is on this noise."""
        return Errors.of(self.each(self.run(table)))


def truth(model: Model, noise: Tensor, cond: Cond = None, *, tolerance: float = 1e-3, most: int = 512) -> Truth:
    """The ends of the probability flow: exponential Adams, calls doubled until the ends stand still.

    Args:     model: guided and on the schedule as it will be sampled.
              noise: standard normal; (batch *data); its dtype and device are those of the states.
              cond: one row for each sample.
              tolerance: median distance, relative to the data, that the last doubling may move the ends by; the error
                  left is far below it, for the method is of high order.
              most: calls at which doubling stops in any case.
    """
    check_rows(cond, len(noise))
    cond = moved(cond, noise.device)
    begin = beginning(model)

    def ends(calls: int) -> Tensor:
        grid = Angle(steps=calls, power=1.5, start=begin)
        with torch.no_grad():
            return _ends(Adams().tableau(model.schedule, grid), model, noise, cond)

    calls, now = 64, ends(64)
    while True:
        calls, before, now = 2 * calls, now, ends(2 * calls)
        known = Truth(model, noise, cond, now, float(exact(now).square().mean().sqrt()), calls, math.nan)
        gap = Errors.of(known.each(before)).median
        if gap <= tolerance or calls >= most:
            return replace(known, gap=gap)


def beginning(model: Model) -> float:
    """The time sampling starts at: the model's first, or just below 1 where it says nothing of data at pure noise."""
    try:
        coefficients(model.face, Data(), model.schedule.at(model.first))
    except SingularConversion:
        return 0.999
    return model.first


def _ends(table: Tableau, model: Model, noise: Tensor, cond: Cond) -> Tensor:
    """Where a table takes noise, some rows at a time."""
    start, run = noise * float(exact(table.levels.sigma)[0]), Sampler(table)
    parts = range(0, len(noise), AT_ONCE)
    return torch.cat([run.end(model, start[i : i + AT_ONCE], cond=rows(cond, slice(i, i + AT_ONCE))) for i in parts])


def check_noise(noise: Tensor, least: int) -> None:
    """Refuse noise that is not (batch *data) floating-point, or too few rows of it."""
    if noise.ndim < 2 or len(noise) < least or not noise.is_floating_point():
        raise InvalidArgument(
            f"noise is (batch *data), floating-point, at least {least} rows; got {noise.dtype} {tuple(noise.shape)}."
        )
