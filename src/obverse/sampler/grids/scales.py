"""The grid of the default sampler: noise levels spread over the scales at which data has structure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.errors import require
from obverse.ground.numerics import exact
from obverse.path import Level, Schedule
from obverse.sampler.grids.grid import Grid, at_nsr
from obverse.sampler.sizes import checked, few, many


@dataclass(frozen=True)
class Scales(Grid, name="scales"):
    """Even in log(nsr) between two scales of the data and sparse beyond them, with both ends exactly reached.

    w = log((nsr + fine) / fine · coarse / (nsr + coarse)) / log(coarse / fine) falls from 1 (nsr infinite) to 0, and
    its root w^(1/power) does so evenly.
    In units of the data's spread, modes are told apart at noise up to the distance between them (coarse: in many
    dimensions it is large) and filled in down to the finest detail that matters (fine). Few steps had better be wide.

    Args:     steps: intervals; the last goes straight to the clean end.
              fine: the smaller scale; none: (steps - 4) / 10 within 0.1 and 0.8.
              coarse: the larger one; none: (18 / steps)² from 2, and from twice the smaller one, to 6.
              start: the time it begins at.
              power: how much steps shrink towards the clean end; none: 0.9 + steps / 20 up to 1.5 on the two scales of
                  these rules, 1 on others.
              size: numbers of a sample, as `sample` knows it; none: neither few nor many. From 30 on, fine goes to 1.5,
                  coarse is (21 / steps)² from 50 / steps to the root of 3 size, at most 14, and from 8 steps on power
                  1.4 + steps / 100 up to 1.7. Up to 5, fine is (steps - 2) / 10 within 0.1 and 0.4, coarse 12 / steps
                  from 1.75 (from 1.5 from 9 steps on), power 0.7 + steps / 10 up to 1.4. All rules come from a search
                  over random mixtures in 1 to 192 dimensions and trained networks, together with `thrifty`;
                  benchmarks/default_plans.py goes on with it.
    """

    steps: int = 20
    fine: float | None = None
    coarse: float | None = None
    start: float = 1.0
    power: float | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        checked(self.size, self.name)
        fine, coarse, power = self.reach
        require(0 < fine < coarse, f"scales: 0 < fine < coarse, got fine={fine:g}, coarse={coarse:g}.")
        require(power > 0, f"scales: power > 0, got {power:g} (1 is even, more is finer at the clean end).")
        require(0 < self.start <= 1, f"scales: 0 < start <= 1, got {self.start} (1 is pure noise).")

    @property
    def reach(self) -> tuple[float, float, float]:
        """The two scales and the power in force."""
        steps = max(self.steps, 1)
        if few(self.size):
            fine, power = min(max((steps - 2) / 10, 0.1), 0.4), min(0.7 + steps / 10, 1.4)
            coarse = max(12 / steps, 1.75 if steps <= 8 else 1.5)
        else:
            fine, power = min(max((steps - 4) / 10, 0.1), 0.8), min(0.9 + steps / 20, 1.5)
            coarse = min(max((18 / steps) ** 2, 2 * fine, 2.0), 6.0)
            if many(self.size):
                fine, power = min(max((steps - 4) / 10, 0.1), 1.5), 1.4 + steps / 100 if steps >= 8 else power
                coarse = max((21 / steps) ** 2, 50 / steps, 2 * fine)
                coarse, power = min(coarse, math.sqrt(3 * (self.size or 0)), 14.0), min(power, 1.7)
        if self.fine is not None or self.coarse is not None:
            fine = min(fine, (self.coarse or coarse) / 2) if self.fine is None else self.fine
            coarse = max(coarse, 2 * fine) if self.coarse is None else self.coarse
            power = 1.0
        return fine, coarse, power if self.power is None else self.power

    def calls(self, schedule: Schedule) -> Level:
        first, least = (self._place(exact(schedule.at(t).nsr)) for t in (self.start, 0.0))
        share = torch.arange(self.steps, dtype=torch.float64) / self.steps
        if self.steps > 1 and first / self.steps < least:  # the schedule keeps noise where the last call would be
            share = share * self.steps / (self.steps - 1) * (1 - least / first)
        return at_nsr(schedule, self._nsr(first * (1 - share)))

    def _place(self, nsr: Tensor) -> Tensor:
        fine, coarse, power = self.reach
        inside = torch.where(nsr.isinf(), coarse / fine, (nsr / fine + 1) / (nsr / coarse + 1))
        return (inside.log() / exact(coarse / fine).log()) ** (1 / power)

    def _nsr(self, place: Tensor) -> Tensor:
        fine, coarse, power = self.reach
        width, w = exact(coarse / fine).log(), place**power
        return torch.where(w >= 1, torch.inf, fine * (width * w).expm1() / -(width * (w - 1)).expm1())
