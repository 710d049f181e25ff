"""How strong the reverse SDE's noise is: eta of T20, a number or a function of the noise level."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, require
from obverse.ground.families import Family
from obverse.ground.numerics import exact, log
from obverse.ground.quadrature import in_panels
from obverse.path import Level

EDGE = 80.0  # of the log-SNRs that are integrated over; beyond them a strength is what it is at the edge
PANEL = 0.5  # of the quadrature, in half log-SNR


class Strength(Family, family="strength"):
    """eta as a function of log-SNR: 0 is the ODE, 1 the time reversal of the forward SDE, more forgets faster (T20).

    Over a step the state's noise is kept to the share q = exp(-int eta² dl), l half of log-SNR; the rest is drawn anew.
    A number is the strength that is the same everywhere. To add one, write `eta`; `spent` is its integral, by
    quadrature unless overridden.

    Example:
        >>> Strength.of(0.5) == Strength.of("0.5") == Strength.of("constant:value=0.5")
        True
    """

    @classmethod
    def of(cls, spec: str | Self | float) -> Self:
        """A member from its spec or from a number, or the member itself."""
        try:
            number = float(spec)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return super().of(spec)  # type: ignore[arg-type]
        made: Self = Constant(number)  # type: ignore[assignment]
        return made

    @abstractmethod
    def eta(self, logsnr: Tensor) -> Tensor:
        """The strength at a log-SNR, >= 0; float64, any shape."""

    def spent(self, low: float, high: float) -> float:
        """int eta² dl from one half log-SNR to a higher one; either may be infinite."""
        start, stop = (min(max(end, -EDGE / 2), EDGE / 2) for end in (low, high))
        tails = ((low, start), (stop, high))
        total = sum(_flat(float(self.eta(exact(2 * max(a, -EDGE / 2)))), a, b) for a, b in tails)
        if start < stop:
            points, masses = in_panels(start, stop, PANEL)
            total += float((masses * self.eta(2 * points) ** 2).sum())
        return total

    def at(self, level: Level) -> float:
        """The strength at a level."""
        return float(self.eta(exact(level.logsnr)))

    def split(self, t: Level, s: Level) -> tuple[float, float]:
        """(q, sqrt(1 - q²)): the share of the noise that a step from t to s keeps, and of what it draws (T30)."""
        low, high = _half_logsnr(t), _half_logsnr(s)
        if self != Constant(0.0):
            downward(t, s)
        spent = self.spent(low, high)
        return math.exp(-spent), math.sqrt(-math.expm1(-2 * spent))

    def over(self, t: Level, s: Level) -> float:
        """The number that spends as much over a step; where the step is infinitely long, the strength at its end."""
        low, high = _half_logsnr(t), _half_logsnr(s)
        spent = self.spent(low, high)
        if math.isfinite(spent) and math.isfinite(high - low):
            return math.sqrt(spent / (high - low))
        return self.at(s) if math.isfinite(high) else 0.0


@dataclass(frozen=True)
class Constant(Strength, name="constant"):
    """The same strength everywhere, written as a number: 0 is the ODE, 1 DDPM."""

    value: float = 1.0

    def __post_init__(self) -> None:
        require(0 <= self.value < math.inf, f"eta >= 0 and finite (0 = the ODE, 1 = DDPM), got {self.value}.")

    @property
    def spec(self) -> str:
        return str(self.value)

    def eta(self, logsnr: Tensor) -> Tensor:
        return torch.full_like(logsnr, self.value)

    def spent(self, low: float, high: float) -> float:
        return _flat(self.value, low, high)


@dataclass(frozen=True)
class Window(Strength, name="window"):
    """One strength between two noise-to-signal ratios, none outside: noise where it still can repair something.

    Source: Karras et al. (2022), S_tmin and S_tmax (table 5 for these).
    """

    value: float = 1.0
    nsr_min: float = 0.05
    nsr_max: float = 50.0

    def __post_init__(self) -> None:
        require(0 <= self.value < math.inf, f"window: value >= 0, got {self.value} (1 = DDPM).")
        require(0 <= self.nsr_min < self.nsr_max, f"window: 0 <= nsr_min < nsr_max, got {self.spec} (0.05, 50).")

    def eta(self, logsnr: Tensor) -> Tensor:
        nsr = (-logsnr / 2).exp()
        return torch.where((nsr >= self.nsr_min) & (nsr <= self.nsr_max), self.value, 0.0)

    def spent(self, low: float, high: float) -> float:
        start, stop = max(low, -math.log(self.nsr_max)), min(high, -log(self.nsr_min))
        return _flat(self.value, start, stop) if start < stop else 0.0


@dataclass(frozen=True)
class Ramp(Strength, name="ramp"):
    """From one strength at high noise to another at low, linear in log-SNR between two noise-to-signal ratios."""

    first: float = 1.0
    last: float = 0.0
    nsr_max: float = 10.0
    nsr_min: float = 0.1

    def __post_init__(self) -> None:
        ok = min(self.first, self.last) >= 0 and max(self.first, self.last) < math.inf
        require(ok, f"ramp: first, last >= 0, got {self.first}, {self.last} (1, 0: from DDPM to the ODE).")
        ok = 0 < self.nsr_min < self.nsr_max < math.inf
        require(ok, f"ramp: 0 < nsr_min < nsr_max, got {self.nsr_min}, {self.nsr_max} (0.1, 10).")

    def eta(self, logsnr: Tensor) -> Tensor:
        start, stop = self._ends
        return self.first + (self.last - self.first) * ((logsnr / 2 - start) / (stop - start)).clamp(0, 1)

    def spent(self, low: float, high: float) -> float:
        start, stop = (min(max(low, end), high) for end in self._ends)
        a, b = (float(self.eta(exact(2 * end))) for end in (start, stop))
        slope = (stop - start) * (a * a + a * b + b * b) / 3
        return _flat(self.first, low, start) + slope + _flat(self.last, stop, high)

    @property
    def _ends(self) -> tuple[float, float]:
        return -math.log(self.nsr_max), -math.log(self.nsr_min)


@dataclass(frozen=True)
class NoiseScale(Strength, name="noise-scale"):
    """ER-SDE's: x / alpha is carried by phi(nsr) = nsr (exp(nsr^power) + shift): strong at high noise, fading to none.

    Source: Cui et al. (2023), "Elucidating the solution space of extended reverse-time SDE", ER SDE 5.
    """

    power: float = 0.3
    shift: float = 10.0

    def __post_init__(self) -> None:
        require(self.power > 0 and self.shift > 0, f"noise-scale: power and shift > 0, got {self.spec} (0.3, 10).")

    def eta(self, logsnr: Tensor) -> Tensor:
        high = (-logsnr / 2 * self.power).exp()
        return (self.power * high * (high - math.log(self.shift)).sigmoid()).sqrt()

    def spent(self, low: float, high: float) -> float:
        first, last = (self._log_scale(end) for end in (low, high))
        return first - last if math.isfinite(first) else math.inf

    def _log_scale(self, half: float) -> float:
        high = (exact(-half) * self.power).exp()
        return float(torch.logaddexp(high, exact(math.log(self.shift))))


@dataclass(frozen=True)
class FromFunction(Strength, name="function"):
    """Any strength: a function of log-SNR, float64 tensors in and out. Python only: a spec cannot hold it."""

    function: Callable[[Tensor], Tensor]

    def eta(self, logsnr: Tensor) -> Tensor:
        eta = self.function(logsnr)
        ok = bool((eta >= 0).all()) and bool(eta.isfinite().all())
        require(ok, f"A strength is >= 0 and finite, the function gave {exact(eta).min():.6g} ... {eta.max():.6g}.")
        return eta


if TYPE_CHECKING:
    Eta: TypeAlias = Strength | float
else:
    Eta = Strength  # as which specs are read; members turn numbers into one


def downward(t: Level, s: Level) -> None:
    """Refuse a step towards noise: what is drawn on the way down cannot be undrawn."""
    if s.nsr > t.nsr:
        raise InvalidArgument(f"Noise is drawn on the way down; from {t} up to {s} takes an ODE (ddim, or eta=0).")


def _flat(eta: float, low: float, high: float) -> float:
    """eta² times a length that may be infinite."""
    return eta**2 * (high - low) if eta and high > low else 0.0


def _half_logsnr(level: Level) -> float:
    return float(log(level.alpha) - log(level.sigma))
