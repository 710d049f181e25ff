"""Grids made of another grid: a part of it, or all of it the other way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from obverse.ground.errors import require
from obverse.path import Level, Schedule, join
from obverse.sampler.grids.even import Angle
from obverse.sampler.grids.grid import Grid


@dataclass(frozen=True)
class Part(Grid, name="part"):
    """The steps of another grid without its first and its last ones: start and stop anywhere.

    `part:steps=15,skip=5` begins where a grid of 20 steps is after five: with an image that has been noised no further
    than that (SDEdit).

    Args:     steps: how many there are left.
              skip, spare: how many are left out at the start and at the end.
    """

    steps: int = 20
    base: Grid = field(default_factory=Angle)
    skip: int = 0
    spare: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        ok = self.skip >= 0 and self.spare >= 0
        require(ok, f"part: skip >= 0 and spare >= 0, got skip={self.skip}, spare={self.spare}.")

    def calls(self, schedule: Schedule) -> Level:
        return self._kept(schedule)[:-1]

    def stop(self, schedule: Schedule) -> Level:
        return self._kept(schedule)[-1]

    def _kept(self, schedule: Schedule) -> Level:
        whole = self.base.resized(self.steps + self.skip + self.spare).levels(schedule)
        return whole[self.skip : len(whole) - self.spare]


@dataclass(frozen=True)
class Inverted(Grid, name="inverted"):
    """The levels of another grid from data to noise: what takes data to its latent (T29).

    Start it from alpha x of the data x. At the clean end no network says anything that is not known: methods of one
    step go up from there without a call. Where the schedule keeps noise at t = 0, that level stands for the clean end.
    For networks that know indices only, `inverted:base=indices` goes from index to index.

    Example:
        >>> from obverse.path import Linear
        >>> [round(float(t), 2) for t in Inverted(4).levels(Linear()).t]
        [0.0, 0.09, 0.29, 0.55, 1.0]
    Source:   Song, Meng & Ermon (2021), section 5.4.
    """

    steps: int = 20
    base: Grid = field(default_factory=Angle)

    def calls(self, schedule: Schedule) -> Level:
        return self._turned(schedule)[:-1]

    def stop(self, schedule: Schedule) -> Level:
        return self._turned(schedule)[-1]

    def _turned(self, schedule: Schedule) -> Level:
        levels, least = self.base.resized(self.steps).levels(schedule), schedule.at(0.0)
        if float(levels[-1].sigma) == 0 < float(least.sigma):  # the clean end is no level of this schedule
            visited = math.isclose(float(levels[-2].nsr), float(least.nsr))
            more = self.base.resized(self.steps + 1).levels(schedule) if visited else levels
            levels = more[:-1] if visited else join(levels[:-1], least)
        return levels[torch.arange(len(levels)).flip(0)]
