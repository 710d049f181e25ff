"""A Brownian path that can be asked anywhere, in any order: the answer never depends on what was asked before.

The noise of the eta SDE is a Brownian motion W in the clock tau = nsr^(-2 eta²) (T30), that is (1 + tau) times a
bridge b in w = tau / (1 + tau), from the noise end (w = 0) to the data end (w = 1). The bridge is drawn by halving an
interval again and again, each middle from its two ends and a draw keyed by the middle's own number (Lévy 1948; Li et
al. 2020, "Scalable gradients for stochastic differential equations"). A refused step has looked at the path, and not
changed it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.numerics import precise
from obverse.ground.shapes import against
from obverse.sampler.tolerance.control import wide

DEPTH = 24  # halvings: the angle is told apart to pi/2 2^-48 at the data end
FINER = 8  # points of the grid in a step, at least: steps end on the grid, so that few halvings reach them


@dataclass(frozen=True)
class BrownianTree:
    """G = W / sqrt(tau) of every sample, of unit variance at every angle.

    Args:     eta: of the SDE.
              seed: of all paths.
              samples: who the rows are; (batch,).
    """

    eta: float
    seed: int
    samples: Tensor | Sequence[int]

    @cached_property
    def keys(self) -> Tensor:
        """A number for each sample, from which those of its middles are counted."""
        return noise.bits(1, seed=self.seed, purpose="tree", samples=self.samples)[:, 0]

    def snapped(self, theta: Tensor, last: Tensor) -> Tensor:
        """The nearest angle of the grid that suits the step from `last`; (batch,)."""

        def snap(theta: Tensor, last: Tensor) -> Tensor:
            u, before = _clock(theta), _clock(last)
            grain = 2.0 ** ((u - before).abs().clamp(min=2.0**-DEPTH * FINER) / FINER).log2().floor()
            return _angle((u / grain).round() * grain)

        return wide(snap, theta, last)

    def at(self, theta: Tensor, who: Tensor, like: Tensor) -> Tensor:
        """G at an angle of each sample; 0 at pi/2, where nothing has been drawn yet.

        Args:     theta: (batch,).
                  who: their rows; (batch,).
                  like: a state; (batch *data).
        """
        place = precise(like.device)
        bridge = torch.zeros(like.shape, dtype=torch.float64, device=place)
        path = _halvings(wide(lambda a: _clock(a) * 2**DEPTH, theta))
        if not path:
            return bridge
        rows = torch.cat([halving.rows for halving in path])
        ends = (torch.cat(part) for part in zip(*((h.low, h.middle, h.high) for h in path), strict=True))
        counts = [len(halving.rows) for halving in path]
        draws = noise.normal(
            (len(rows), *like.shape[1:]), seed=self.seed, purpose="middle", dtype=torch.float64, device=place,
            samples=self.keys[who][rows] + torch.cat([halving.node for halving in path]),
        )  # fmt: skip
        share, spread = (against(part, draws) for part in wide(self._middle, *ends).unbind(1))
        right = against(torch.cat([halving.right for halving in path]).double(), draws) > 0
        low, high = torch.zeros_like(bridge), torch.zeros_like(bridge)
        told = (torch.split(part, counts) for part in (rows.to(place), share, right, spread * draws))
        for on, share_here, up, innovation in zip(*told, strict=True):
            value = low[on] + share_here * (high[on] - low[on]) + innovation
            bridge[on] = value  # the last that a row is in is its own
            low[on], high[on] = torch.where(up, value, low[on]), torch.where(up, high[on], value)
        return against(wide(self._unit, theta), bridge) * bridge

    def _unit(self, theta: Tensor) -> Tensor:
        """(1 + tau) / sqrt(tau), by which the bridge is of unit variance."""
        w, rest = self._share(theta)
        return torch.where(w * rest > 0, (w * rest).rsqrt(), 0.0)

    def _share(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """w and 1 - w."""
        log_tau = -2 * self.eta**2 * theta.tan().log()
        log_tau = torch.where(theta >= math.pi / 2, -math.inf, log_tau)
        return log_tau.sigmoid(), (-log_tau).sigmoid()

    def _middle(self, low: Tensor, middle: Tensor, high: Tensor) -> Tensor:
        """How far in w the middle lies between its ends, and the standard deviation of the bridge there; (batch, 2)."""
        ends = [self._share(_angle(place * 2.0**-DEPTH)) for place in (low, middle, high)]
        to_low, to_high, whole = (_apart(ends[i], ends[j]) for i, j in ((1, 0), (2, 1), (2, 0)))
        return torch.stack([to_low / whole, (to_low / whole * to_high).abs().sqrt()], 1)


class Halving(NamedTuple):
    """The rows whose interval is halved, its ends and middle, its number, and who goes on to the right."""

    rows: Tensor
    low: Tensor
    middle: Tensor
    high: Tensor
    node: Tensor
    right: Tensor


def _halvings(place: Tensor) -> list[Halving]:
    """The way to places on (0, 2^DEPTH), halving by halving; off the grid, the place itself is the last middle."""
    rows = ((place > 0) & (place < 2.0**DEPTH)).nonzero()[:, 0]
    place = place[rows]
    low, high, node = torch.zeros_like(place), torch.full_like(place, 2.0**DEPTH), torch.ones_like(rows)
    path: list[Halving] = []
    while len(rows):
        middle = place if len(path) == DEPTH else (low + high) / 2
        right, on = place > middle, place != middle
        path.append(Halving(rows, low, middle, high, node, right))
        low, high = torch.where(right, middle, low)[on], torch.where(right, high, middle)[on]
        rows, place, node = rows[on], place[on], (2 * node + right.long())[on]
    return path


def _apart(one: tuple[Tensor, Tensor], two: tuple[Tensor, Tensor]) -> Tensor:
    """w of one minus w of two, with the digits of whichever of w and 1 - w is small."""
    return torch.where(one[0] > 0.5, two[1] - one[1], one[0] - two[0])


def _clock(theta: Tensor) -> Tensor:
    """Where on [0, 1] an angle is halved: more finely towards the data."""
    return (theta / (math.pi / 2)).sqrt().clamp(max=1.0)


def _angle(u: Tensor) -> Tensor:
    return math.pi / 2 * u * u
