"""Grids of one's own levels, and of the indices of a discrete schedule."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, UnknownName, require
from obverse.path import DDPM, Level, Schedule
from obverse.sampler.grids.grid import Grid, at_logsnr


@dataclass(frozen=True)
class Given(Grid, name="given"):
    """One's own times, noise first; the last is where sampling stops (0: the clean end)."""

    times: tuple[float, ...] = (1.0, 0.5, 0.0)

    def __post_init__(self) -> None:
        _listed(self, "times")

    @property
    def steps(self) -> int:  # type: ignore[override]
        """One fewer than the times."""
        return len(self.times) - 1

    def calls(self, schedule: Schedule) -> Level:
        return schedule.at(torch.tensor(self.times[:-1], dtype=torch.float64))

    def stop(self, schedule: Schedule) -> Level:
        return schedule.at(self.times[-1]) if self.times[-1] > 0 else schedule.end


class GivenLevels(Grid):
    """One's own noise levels, the same on every schedule that has them; a level without noise is the clean end."""

    @property
    def steps(self) -> int:  # type: ignore[override]
        """One fewer than the levels."""
        return len(self._logsnr()) - 1

    def calls(self, schedule: Schedule) -> Level:
        return at_logsnr(schedule, self._logsnr()[:-1], self.name)

    def stop(self, schedule: Schedule) -> Level:
        last = self._logsnr()[-1]
        return schedule.end if float(last) == math.inf else at_logsnr(schedule, last, self.name)

    @abstractmethod
    def _logsnr(self) -> Tensor:
        """The levels as log-SNR, noise first."""


@dataclass(frozen=True)
class GivenNSR(GivenLevels, name="given-nsr"):
    """One's own noise-to-signal ratios (EDM's sigmas), noise first; 0 is the clean end."""

    nsr: tuple[float, ...] = (10.0, 1.0, 0.0)

    def __post_init__(self) -> None:
        _listed(self, "nsr")
        require(all(nsr >= 0 for nsr in self.nsr), f"given-nsr: every nsr >= 0, got {self.nsr}.")

    def _logsnr(self) -> Tensor:
        return -2 * torch.tensor(self.nsr, dtype=torch.float64).log()


@dataclass(frozen=True)
class GivenLogSNR(GivenLevels, name="given-logsnr"):
    """One's own log-SNRs, noise first, then one step to the clean end."""

    logsnr: tuple[float, ...] = (-5.0, 0.0, 5.0)

    def __post_init__(self) -> None:
        _listed(self, "logsnr")

    def _logsnr(self) -> Tensor:
        return torch.tensor([*self.logsnr, math.inf], dtype=torch.float64)


@dataclass(frozen=True)
class GivenAngle(GivenLevels, name="given-angle"):
    """One's own angles on the circle in quarter turns, noise first: 1 is pure noise, 0 the clean end.

    The way to write levels down with both ends exact; `adapted` returns one.
    """

    turns: tuple[float, ...] = (0.9, 0.5, 0.0)

    def __post_init__(self) -> None:
        _listed(self, "turns")
        ok = all(0 <= turn <= 1 for turn in self.turns)
        require(ok, f"given-angle: angles in quarter turns, 0 (data) to 1 (noise), got {self.turns}.")

    def _logsnr(self) -> Tensor:
        turns = torch.tensor(self.turns, dtype=torch.float64)
        near, far = (turns * (math.pi / 2)).tan(), ((1 - turns) * (math.pi / 2)).tan()
        return torch.where(turns < 0.5, -2 * near.log(), 2 * far.log())  # each where it has its digits


def _listed(grid: Grid, name: str) -> None:
    """Numbers may be given as a list, an array or a tensor too."""
    values = getattr(grid, name)
    if not isinstance(values, tuple):
        object.__setattr__(grid, name, tuple(float(value) for value in values))


SPACINGS = ("leading", "trailing", "linspace")


@dataclass(frozen=True)
class Indices(Grid, name="indices"):
    """Whole indices of a discrete schedule, spaced as other libraries space them, then the clean end.

    leading:   floor(count / points) i + offset;          round is half to even
    trailing:  round(count - i count / points) - 1
    linspace:  round(i (count - 1) / (points - 1))        with points = steps + dropped

    Index i lies at t = (i + 1) / count. Networks that were trained on indices only are called on indices only.

    Args:     spacing: trailing begins at the noisiest index and is best for few steps; leading never does.
              count: indices of the schedule; default its own if it has some, else 1000.
              offset: of leading; Stable Diffusion: 1.
              dropped: points that are spaced with the others and not visited, the cleanest; DPM-Solver: 1.
    Source:   Lin et al. (2023), "Common diffusion noise schedules and sample steps are flawed", table 2.
    """

    steps: int = 20
    spacing: str = "trailing"
    count: int | None = None
    offset: int = 0
    dropped: int = 0

    def __post_init__(self) -> None:
        if self.spacing not in SPACINGS:
            raise UnknownName("spacing of indices", self.spacing, SPACINGS)
        require(self.count is None or self.count >= 1, f"indices: count >= 1, got {self.count} (1000).")
        require(self.dropped >= 0, f"indices: dropped >= 0, got {self.dropped} (DPM-Solver: 1).")
        require(self.offset >= 0, f"indices: offset >= 0, got {self.offset} (Stable Diffusion: 1).")

    def calls(self, schedule: Schedule) -> Level:
        count = self.count or _indices_of(schedule)
        visited = self.visited(count)
        if self.steps + self.dropped > count or visited[0] >= count:
            raise InvalidArgument(
                f"{self.label} asks for {self.steps} indices up to {visited[0]}; {schedule.label} has {count}, "
                f"0 ... {count - 1} (fewer steps, or a smaller offset)."
            )
        return schedule.at(torch.tensor(visited, dtype=torch.float64).add(1).div(count))

    def visited(self, count: int) -> list[int]:
        """The indices, noise first.

        Example:
            >>> Indices(4).visited(1000), Indices(4, spacing="leading", offset=1).visited(1000)
            ([999, 749, 499, 249], [751, 501, 251, 1])
        """
        points = self.steps + self.dropped
        up = np.arange(points)
        if self.spacing == "leading":
            found = up * (count // points) + self.offset
        elif self.spacing == "trailing":
            found = np.round(count - up[::-1] * (count / points)) - 1
        else:
            found = np.round(np.linspace(0, count - 1, points))
        return [int(index) for index in found[::-1][: self.steps]]


def _indices_of(schedule: Schedule) -> int:
    """How many indices a schedule was made of; 1000 where it is continuous."""
    return schedule.indices if isinstance(schedule, DDPM) else 1000
