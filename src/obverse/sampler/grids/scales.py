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

    w = log((nsr + fine) / fine · coarse / (nsr + coarse)) / log(coarse / fine) falls evenly from 1 (nsr infinite) to 0.
    In units of the data's spread, modes are told apart at noise up to the distance between them (coarse: in many
    dimensions it is large) and filled in down to the finest detail that matters (fine). Few steps had better be wide.

    Args:     steps: intervals; the last goes straight to the clean end.
              fine: the smaller scale; none: 0.1 below 6 steps, 0.15 from 6.
              coarse: the larger one; none: 36 / steps within 2 and 6. Both rules come from a search over random
                  mixtures in 2 to 64 dimensions, together with `thrifty` (docs/log.md).
              start: the time it begins at.
    """

    steps: int = 20
    fine: float | None = None
    coarse: float | None = None
    start: float = 1.0

    def __post_init__(self) -> None:
        fine, coarse = self.reach
        require(0 < fine < coarse, f"scales: 0 < fine < coarse, got fine={fine:g}, coarse={coarse:g}.")
        require(0 < self.start <= 1, f"scales: 0 < start <= 1, got {self.start} (1 is pure noise).")

    @property
    def reach(self) -> tuple[float, float]:
        """The two scales in force."""
        fine = (0.1 if self.steps < 6 else 0.15) if self.fine is None else self.fine
        coarse = min(max(36 / max(self.steps, 1), 2.0), 6.0) if self.coarse is None else self.coarse
        return fine, coarse

    def calls(self, schedule: Schedule) -> Level:
        first, least = (self._place(exact(schedule.at(t).nsr)) for t in (self.start, 0.0))
        share = torch.arange(self.steps, dtype=torch.float64) / self.steps
        if self.steps > 1 and first / self.steps < least:  # the schedule keeps noise where the last call would be
            share = share * self.steps / (self.steps - 1) * (1 - least / first)
        return at_nsr(schedule, self._nsr(first * (1 - share)))

    def _place(self, nsr: Tensor) -> Tensor:
        fine, coarse = self.reach
        inside = torch.where(nsr.isinf(), coarse / fine, (nsr / fine + 1) / (nsr / coarse + 1))
        return inside.log() / exact(coarse / fine).log()

    def _nsr(self, place: Tensor) -> Tensor:
        fine, coarse = self.reach
        width = exact(coarse / fine).log()
        return torch.where(place >= 1, torch.inf, fine * (width * place).expm1() / -(width * (place - 1)).expm1())
