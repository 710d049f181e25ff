"""From data to noise with the log-density in tow, every sample in steps of its own.

On the circle, z = x_t / rho, dz/dphi = v and d log p(z)/dphi = -div v along a path. A step that misses z by a little
misses log p by the score times that, and the score is in the same model's output: -(z + v / tan phi). So what a step
is wrong by is known in nats, and that is what the tolerance is about.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.shapes import against
from obverse.sampler.tolerance.control import Controller
from obverse.sampler.tolerance.pairs import Attempt, DormandPrince, Start

FIRST = 0.3  # the first step, times tolerance^(1 / (order + 1))
DOUBT = 0.3  # of the pair's second difference, for where the first vanishes by accident
SHORTEST = 1e-9  # radians: a step below is none

Slopes = Callable[[Tensor, Tensor, Tensor, bool], Tensor]  # (z, phi, rows, idle) -> v beside divergences, 0 if idle


class Arrived(NamedTuple):
    """Where everybody got to: states z, divergences summed up, errors in nats, calls, who finished; rows in order."""

    z: Tensor
    grown: Tensor
    error: Tensor
    calls: Tensor
    finished: Tensor


@dataclass
class Crowd:
    """Those on their way; one row for each.

    who: the row of the run. phi, z, slope: where it is, and v beside its divergences. grown: those integrated so far,
    one column for each probe. step: what it tries next. last: error over tolerance of its last step. error: what its
    steps may have been wrong by, together. calls: of the model.
    """

    who: Tensor
    phi: Tensor
    z: Tensor
    slope: Tensor
    grown: Tensor
    step: Tensor
    last: Tensor
    error: Tensor
    calls: Tensor

    def of(self, mask: Tensor) -> Crowd:
        """Some of them."""
        return Crowd(*(v[mask] for v in (getattr(self, f.name) for f in fields(self))))


@dataclass(frozen=True)
class Walk:
    """How a crowd goes.

    Args:     slopes: v beside the divergences, flat: (batch, d + columns).
              stop: the angle where all are to arrive.
              tolerance: what a step may be wrong by, in nats.
              max_calls: of each.
    """

    slopes: Slopes
    stop: float
    tolerance: float
    max_calls: int
    pair: DormandPrince = field(default_factory=DormandPrince)

    def run(self, z: Tensor, phi: float) -> Arrived:
        """Everybody to the stop, or as far as the calls reach.

        Args:     z: flat states; float64 (batch, d).
                  phi: the angle where all are.
        """
        left = self._begin(z, phi)
        gone: list[Crowd] = []
        while len(left.who):
            leaving = (left.phi >= self.stop) | (left.step < SHORTEST)
            leaving |= left.calls + self.pair.calls > self.max_calls
            gone.append(left.of(leaving))
            left = left.of(~leaving)
            if len(left.who):
                self._round(left)
        order = torch.cat([crowd.who for crowd in gone]).argsort()

        def column(name: str) -> Tensor:
            values = torch.cat([getattr(crowd, name) for crowd in gone])
            return values[order.to(values.device)]

        finished = column("phi") >= self.stop
        return Arrived(column("z"), column("grown"), column("error"), column("calls"), finished)

    def _begin(self, z: Tensor, phi: float) -> Crowd:
        who, angles = torch.arange(len(z)), torch.full((len(z),), phi, dtype=torch.float64)
        slope, zero = self.slopes(z, angles, who, False), torch.zeros_like(angles)
        step = zero + FIRST * min(self.tolerance, 1.0) ** (1 / (self.pair.order + 1))
        grown = torch.zeros_like(slope[:, z.shape[1] :])
        return Crowd(who, angles, z, slope, grown, step, zero + 1, zero, torch.ones_like(who))

    def _round(self, crowd: Crowd) -> None:
        """One attempt each; those that were good enough are taken."""
        size, who = crowd.z.shape[1], crowd.who
        to = (crowd.phi + crowd.step).clamp(max=self.stop)
        start = Start(who, crowd.phi, torch.cat([crowd.z, torch.zeros_like(crowd.grown)], 1), crowd.slope)
        stages = iter(self._idle())
        attempt = self.pair.attempt(lambda z, phi: self.slopes(z[:, :size], phi, who, next(stages)), start, to)
        wrong = self._wrong(attempt, to, size)
        ratio = (wrong / self.tolerance).nan_to_num(math.inf)
        crowd.step = (to - crowd.phi) * Controller(self.pair.order).factor(ratio, crowd.last)
        crowd.calls = crowd.calls + self.pair.calls
        good = ratio <= 1
        on = good.to(crowd.z.device)[:, None]
        crowd.z = torch.where(on, attempt.z[:, :size], crowd.z)
        crowd.slope = torch.where(on, attempt.v, crowd.slope)
        crowd.grown = crowd.grown + torch.where(on, attempt.z[:, size:], 0.0)
        crowd.phi, crowd.last = torch.where(good, to, crowd.phi), torch.where(good, ratio, crowd.last)
        crowd.error = crowd.error + torch.where(good, wrong, 0.0)

    def _idle(self) -> list[bool]:
        """Which stages only lead to others: their divergences enter nothing."""
        entering = zip(self.pair.stages[-1], self.pair.difference, self.pair.doubt, strict=False)
        return [*(not any(numbers) for numbers in entering), False][1:]

    def _wrong(self, attempt: Attempt, to: Tensor, size: int) -> Tensor:
        """What a step may be wrong by in nats: its divergence, and its state by way of the score."""
        z, v = attempt.z[:, :size], attempt.v[:, :size]
        score = -(z + against(1 / to.tan(), z) * v)

        def nats(difference: Tensor) -> Tensor:
            moved, grown = (score * difference[:, :size]).sum(1), difference[:, size:].mean(1)
            return (moved.abs() + grown.abs()).cpu()

        assert attempt.doubt is not None
        return torch.maximum(nats(attempt.error), DOUBT * nats(attempt.doubt) ** (self.pair.order / 4))
