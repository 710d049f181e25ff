"""Predictions as rows: anything a network may predict is q = a x + b eps, and one determinant converts them all (T7).

With <p, q> = p_a q_b - p_b q_a and the state's own row X = (alpha, sigma):

    q_d = (<X, d> q_c + <d, c> x_t) / <X, c>        error scales by <X, d> / <X, c>        singular where <X, c> = 0
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, SingularConversion, require
from obverse.ground.families import Family
from obverse.ground.numerics import Number, divide, exact, finite, magnitude, zero_somewhere
from obverse.ground.shapes import against
from obverse.path.level import Level

Row = tuple[Number, Number]


class Prediction(Family, family="prediction"):
    """What a network predicts, or a face something is expressed in: a row (a, b) for every level.

    Example:
        >>> import torch; from obverse.path import Linear
        >>> V().row(Linear().at(torch.tensor([0.25])).floats()[0])
        (-0.25, 0.75)
    """

    @abstractmethod
    def row(self, level: Level) -> Row:
        """(a, b) of q = a x + b eps at a level."""

    def clock(self, level: Level) -> Row:
        """(c, m) with d(x_t / c) = q d(m / c): the coordinates in which this prediction is the slope (T24).

        Raises:   InvalidArgument for predictions without such a clock.
        """
        raise InvalidArgument(
            f"{self.name!r} has no clock of its own; Euler and Heun step in data, noise, flow or velocity "
            f"(asked at {level})."
        )


class Data(Prediction, name="data"):
    """The clean data x (denoiser)."""

    def row(self, level: Level) -> Row:
        return 1.0, 0.0

    def clock(self, level: Level) -> Row:
        return level.sigma, level.alpha


class Noise(Prediction, name="noise"):
    """The source eps (DDPM's epsilon)."""

    def row(self, level: Level) -> Row:
        return 0.0, 1.0

    def clock(self, level: Level) -> Row:
        return level.alpha, level.sigma


class Flow(Prediction, name="flow"):
    """eps - x: flow matching's target, whatever the path (with data at t = 1 its sign flips)."""

    def row(self, level: Level) -> Row:
        return -1.0, 1.0

    def clock(self, level: Level) -> Row:
        return level.alpha + level.sigma, level.sigma


class V(Prediction, name="v"):
    """alpha eps - sigma x: the velocity on the circle.

    Source: Salimans & Ho (2022), appendix D.
    """

    def row(self, level: Level) -> Row:
        return -level.sigma, level.alpha


class Velocity(Prediction, name="velocity"):
    """alpha_dot x + sigma_dot eps: the rate of the state in t; equals flow on the linear path only."""

    def row(self, level: Level) -> Row:
        return level.alpha_dot, level.sigma_dot

    def clock(self, level: Level) -> Row:
        return 1.0, level.t


class Score(Prediction, name="score"):
    """-eps / sigma: the gradient of the log-density of x_t."""

    def row(self, level: Level) -> Row:
        return 0.0, divide(-1.0, level.sigma)


@dataclass(frozen=True)
class Edm(Prediction, name="edm"):
    """The raw output F of an EDM-preconditioned network: -v of the unit-circle process of x / sigma_data.

    x = c_skip x_t/alpha + c_out F; a row with no singular level (T13).
    Source: Karras et al. (2022), table 1.
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        require(self.sigma_data > 0, f"edm: sigma_data > 0, got {self.sigma_data} (images in [-1, 1]: 0.5).")

    def row(self, level: Level) -> Row:
        spread = self.sigma_data * level.alpha
        r = (level.sigma**2 + spread**2) ** 0.5
        return level.sigma / (self.sigma_data * r), -spread / r


@dataclass(frozen=True)
class Reversed(Prediction, name="reversed"):
    """x - eps, flow with the other sign, or another `face` with its; told 1 - t, it is flow in time data-at-1.

    Args:     face: what has the other sign.
    """

    face: Prediction = field(default_factory=Flow)

    def row(self, level: Level) -> Row:
        a, b = self.face.row(level)
        return -a, -b

    def clock(self, level: Level) -> Row:
        scale, slope = self.face.clock(level)
        return scale, -slope


def determinant(p: Row, q: Row) -> Number:
    """<p, q> = p_a q_b - p_b q_a."""
    return p[0] * q[1] - p[1] * q[0]


def coefficients(have: Prediction, want: Prediction, level: Level) -> Row:
    """(u, w) with q_want = u q_have + w x_t: the one conversion of the house (T7).

    Raises:   SingularConversion where the prediction at hand does not determine the wanted one.
    """
    if have == want:
        return 1.0, 0.0
    state: Row = (level.alpha, level.sigma)
    c, d = have.row(level), want.row(level)
    below, on_output, on_state = determinant(state, c), determinant(state, d), determinant(d, c)
    if zero_somewhere(below) or not all(map(finite, (below, on_output, on_state))):
        at = _first(level, exact(below) == 0, *(~exact(value).isfinite() for value in (below, on_output, on_state)))
        raise SingularConversion(
            f"{have.name} does not determine {want.name} at {at}: <X, {have.name}> vanishes or a row is infinite "
            f"there. Stay off that end (start below t = 1, stop above t = 0), or predict data, v or flow."
        )
    return on_output / below, on_state / below


def _first(level: Level, *wrong: Tensor) -> Level:
    """The first level at which something is wrong."""
    anywhere = sum((mask.long() for mask in wrong), start=torch.zeros_like(exact(level.t)))
    return level if anywhere.ndim == 0 else level[int(anywhere.flatten().nonzero()[0])]


def change(value: Tensor, x_t: Tensor, level: Level, have: Prediction | str, want: Prediction | str) -> Tensor:
    """A prediction in another face.

    Args:     value: what was predicted, in the face `have`; (batch *data).
              x_t: the state it was predicted from; (batch *data).
              level: one for all samples or one for each.
              have, want: a name, a spec or a Prediction.
    Raises:   SingularConversion, naming the level.
    Example:
        >>> import torch; from obverse.path import Linear
        >>> x, eps, at = torch.ones(2, 3), torch.zeros(2, 3), Linear().at(0.5)
        >>> change(eps - x, 0.5 * x, at, "flow", "noise").abs().max().item()
        0.0
    """
    have, want = Prediction.of(have), Prediction.of(want)
    if have == want:
        return value
    on_output, on_state = coefficients(have, want, level)
    return against(on_output, value) * value + against(on_state, x_t) * x_t


def gain(have: Prediction | str, want: Prediction | str, level: Level) -> Number:
    """By how much an error in `have` grows in `want`: |<X, want> / <X, have>|; no state needed (T8)."""
    have, want = Prediction.of(have), Prediction.of(want)
    if have == want:
        return 1.0
    state: Row = (level.alpha, level.sigma)
    above, below = determinant(state, want.row(level)), determinant(state, have.row(level))
    if zero_somewhere(below) or not finite(above):
        raise SingularConversion(f"An error in {have.name} has no finite size in {want.name} at {level}.")
    return magnitude(above / below)
