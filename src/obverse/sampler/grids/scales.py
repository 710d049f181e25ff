"""The grid of the default sampler: noise levels spread over the scales at which data has structure."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.errors import require
from obverse.ground.numerics import exact
from obverse.path import Level, Schedule
from obverse.sampler.grids.grid import Grid, at_nsr


@dataclass(frozen=True)
class Scales(Grid, name="scales"):
    """Even in log(nsr) between two scales of the data and sparse beyond them, with both ends exactly reached.

    w = log((nsr + fine) / fine · coarse / (nsr + coarse)) / log(coarse / fine) falls from 1 (nsr infinite) to 0, and
    its root w^(1/power) does so evenly.
    In units of the data's spread, modes are told apart at noise up to the distance between them (coarse: in many
    dimensions it is large) and filled in down to the finest detail that matters (fine). Few steps had better be wide.

    Args:     steps: intervals; the last goes straight to the clean end.
              fine: the smaller scale; none: (steps - 4) / 10 within 0.1 and 0.4.
              coarse: the larger one; none: (18 / steps)² within 2 and 8.
              start: the time it begins at.
              power: how much steps shrink towards the clean end; none: 0.6 + steps / 9 up to 1.3 on the two scales of
                  these rules, 1 on others. The rules come from a search over random mixtures in 1 to 100 dimensions,
                  together with `thrifty` (docs/log.md).
    """

    steps: int = 20
    fine: float | None = None
    coarse: float | None = None
    start: float = 1.0
    power: float | None = None

    def __post_init__(self) -> None:
        fine, coarse, power = self.reach
        require(0 < fine < coarse, f"scales: 0 < fine < coarse, got fine={fine:g}, coarse={coarse:g}.")
        require(power > 0, f"scales: power > 0, got {power:g} (1 is even, more is finer at the clean end).")
        require(0 < self.start <= 1, f"scales: 0 < start <= 1, got {self.start} (1 is pure noise).")

    @property
    def reach(self) -> tuple[float, float, float]:
        """The two scales and the power in force."""
        fine = min(max((self.steps - 4) / 10, 0.1), 0.4) if self.fine is None else self.fine
        coarse = min(max((18 / max(self.steps, 1)) ** 2, 2.0), 8.0) if self.coarse is None else self.coarse
        ruled = min(0.6 + max(self.steps, 4) / 9, 1.3) if self.fine is None and self.coarse is None else 1.0
        return fine, coarse, ruled if self.power is None else self.power

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
