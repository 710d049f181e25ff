"""A time law that learns where the loss varies."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, require
from obverse.ground.numerics import Number
from obverse.objective.times.law import Around, TimeLaw
from obverse.objective.times.made import Stratified
from obverse.path import Level, Schedule

SHRUNK = 0.5  # draws of the mean over all bins that every bin's own are mixed with: nothing is sure of few


@dataclass(frozen=True)
class Adaptive(Around, name="adaptive"):
    """Another law's expectation, with draws where the squared loss is large: importance sampling of log-SNR (T50).

    The other law's quantiles are cut into bins; draws fall into bin k in proportion to the square root of the mean
    squared loss seen there, and their losses are divided by how much more often they do. Until it has observed, it is
    the other law. What it has learnt is `memory`: the same observations in the same order give the same bits.

    It pays where losses differ: on a small network, gradients of v with min-SNR, of DDPM and of EDM with the ELBO have
    0.54 to 0.64 of their variance under uniform times, those of flow matching 1.02 (benchmarks/adaptive_times.py).

    Args:     base: the law whose expectation is wanted.
              bins: of equal probability under it.
              share: of the draws that follow the other law whatever was seen: no ratio exceeds 1 / share.
              keep: share of what is known that is kept from step to step; 0.995 remembers some two hundred steps.
    Source:   Nichol & Dhariwal (2021), section 3.3; Kingma & Gao (2023), appendix F.
    """

    base: TimeLaw = field(default_factory=Stratified)
    bins: int = 64
    share: float = 0.1
    keep: float = 0.995

    _memory: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.bins >= 1, f"adaptive: bins is a whole number >= 1, got {self.bins} (try 64).")
        require(0 < self.share <= 1, f"adaptive: share lies in (0, 1], got {self.share} (try 0.1).")
        require(0 < self.keep < 1, f"adaptive: keep lies in (0, 1), got {self.keep} (try 0.995).")
        object.__setattr__(self, "_memory", torch.zeros(2, self.bins, dtype=torch.float64))

    @property
    def memory(self) -> Tensor:  # type: ignore[override]
        """Draws counted and squared losses summed, in each bin, fading; float64 (2, bins)."""
        return self._memory

    @property
    def rise(self) -> Tensor:
        """How much more often than the other law it draws from each bin; mean 1; (bins,)."""
        count, square = self._memory.unbind()
        if not bool(square.sum() > 0):
            return torch.ones_like(count)
        usual = (square[count > 0] / count[count > 0]).mean()
        size = ((square + SHRUNK * usual) / (count + SHRUNK)).sqrt()
        return (1 - self.share) * size / size.mean() + self.share

    def level(self, u: Tensor, schedule: Schedule) -> Level:
        edges = torch.nn.functional.pad(self.rise.cumsum(0), (1, 0))
        edges = edges / edges[-1]
        piece = torch.searchsorted(edges, u, right=True).clamp(1, self.bins) - 1
        inside = ((u - edges[piece]) / (edges[piece + 1] - edges[piece])).clamp(0, 1)
        moved = ((piece + inside) / self.bins).clamp(2.0**-53, 1 - 2.0**-53)
        level = self.base.level(moved, schedule)
        apart = (self._bin(level) != piece) & ((self.base.cumulative(level) - moved).abs() > 1e-6)
        if bool(apart.any()):
            raise InvalidArgument(
                f"{self.base.label} piles up more than 1/{self.bins} of its draws at an end of {schedule.label}, where "
                f"their bins cannot be told apart: cut it (adaptive:base=(cut:base=...,low=...,high=...))."
            )
        return level

    def density(self, level: Level) -> Tensor:
        return self.base.density(level) * self.rise[self._bin(level)]

    def cumulative(self, level: Level) -> Tensor:
        u = self.base.cumulative(level)
        piece, rise = self._bin(level), self.rise / self.bins
        before = rise.cumsum(0) - rise
        return before[piece] + rise[piece] * (u * self.bins - piece).clamp(0, 1)

    def ratio(self, level: Level) -> Number:
        return self.base.ratio(level) / self.rise[self._bin(level)]

    def observe(self, level: Level, loss: Tensor) -> None:
        piece = self._bin(level)
        meant = loss.detach().cpu().double() * self.rise[piece]  # the loss of a draw of the other law
        self.base.observe(level, meant)
        self._memory.mul_(self.keep)
        self._memory[0].index_add_(0, piece, torch.ones_like(meant))
        self._memory[1].index_add_(0, piece, meant**2)

    def _bin(self, level: Level) -> Tensor:
        return (self.base.cumulative(level) * self.bins).long().clamp(0, self.bins - 1)
