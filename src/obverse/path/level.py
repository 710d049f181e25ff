"""One moment on the path: what everything else asks of a schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from obverse.ground import numerics
from obverse.ground.numerics import Number, exact


@dataclass(frozen=True)
class Level:
    """Where on the path: x_t = alpha x + sigma eps, and how fast alpha and sigma change.

    One moment, one for each sample, or the moments of a grid in order; float64 tensors of one shape (or plain floats,
    from `floats`). Levels live on the CPU: they decide, the data flows.

    Args:     t: time in [0, 1]; 0 = data, 1 = source.
              alpha, sigma: the share of data and of source in the state.
              alpha_dot, sigma_dot: their derivatives in t.
    Example:
        >>> from obverse.path import Linear
        >>> float(Linear().at(0.25).nsr)
        0.3333333333333333
    """

    t: Number
    alpha: Number
    sigma: Number
    alpha_dot: Number
    sigma_dot: Number

    @property
    def r(self) -> Number:
        """Scale of the state: the radius sqrt(alpha² + sigma²) (T3)."""
        return (self.alpha**2 + self.sigma**2) ** 0.5

    @property
    def theta(self) -> Number:
        """Angle on the circle, from 0 (data) to pi/2 (source) (T3)."""
        return numerics.atan2(self.sigma, self.alpha)

    @property
    def logsnr(self) -> Number:
        """log(alpha² / sigma²); infinite at the ends."""
        return 2 * (numerics.log(self.alpha) - numerics.log(self.sigma))

    @property
    def nsr(self) -> Number:
        """Noise-to-signal ratio sigma / alpha: EDM's sigma."""
        return numerics.divide(self.sigma, self.alpha)

    @property
    def swing(self) -> Number:
        """alpha sigma_dot - sigma alpha_dot = r² dtheta/dt, positive: how fast the circle is travelled."""
        return self.alpha * self.sigma_dot - self.sigma * self.alpha_dot

    @property
    def logsnr_dot(self) -> Number:
        """d logsnr / dt, negative; -inf at the ends where log-SNR is infinite."""
        return -2 * numerics.divide(self.swing, self.alpha * self.sigma)

    @property
    def f(self) -> Number:
        """Drift coefficient of the forward SDE dx_t = f x_t dt + g dB."""
        return numerics.divide(self.alpha_dot, self.alpha)

    @property
    def g2(self) -> Number:
        """Squared diffusion coefficient of the forward SDE: -sigma² dlogsnr/dt."""
        return 2 * numerics.divide(self.sigma * self.swing, self.alpha)

    def __len__(self) -> int:
        return len(exact(self.t))

    def __getitem__(self, index: int | slice | Tensor) -> Level:
        return Level(*(exact(getattr(self, field.name))[index] for field in fields(self)))

    def __iter__(self) -> Iterator[Level]:
        return (self[i] for i in range(len(self)))

    def floats(self) -> list[Level]:
        """The moments one by one, as plain floats: what solvers are written in."""
        columns = (exact(getattr(self, field.name)).reshape(-1).tolist() for field in fields(self))
        return [Level(*row) for row in zip(*columns, strict=True)]

    def __str__(self) -> str:
        def brief(value: Number) -> str:
            values = exact(value).flatten()
            return f"{values[0]:.6g}" if len(values) == 1 else f"{values[0]:.6g} ... {values[-1]:.6g}"

        return f"t = {brief(self.t)} (alpha {brief(self.alpha)}, sigma {brief(self.sigma)})"


def clean(scale: float = 1.0) -> Level:
    """The noiseless end: alpha = scale, sigma = 0, for schedules that stop short of it."""
    return Level(*(torch.tensor(value, dtype=torch.float64) for value in (0.0, scale, 0.0, 0.0, 0.0)))


def join(*levels: Level) -> Level:
    """Grids and single moments, one after the other."""
    parts = ([exact(getattr(level, field.name)).reshape(-1) for level in levels] for field in fields(Level))
    return Level(*(torch.cat(part) for part in parts))
