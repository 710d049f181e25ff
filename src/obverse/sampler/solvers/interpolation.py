"""Steps with past estimates joined by a polynomial: one kernel for all exponential Adams methods (T26).

Every face has a clock in which it is the slope, d(x_t / c) = q d(m / c) (T24). With q a polynomial in another clock, a
step is an integral of Lagrange polynomials against d(m / c). All integrals are taken over u = log nsr, where the
densities decay like exp(-|u|) and the clocks are smooth: Gauss-Legendre on panels of unit length is exact to rounding.

    data:   x_s / sigma_s = x_t / sigma_t + int q d(1 / nsr)      noise:  x_s / alpha_s = x_t / alpha_t + int q d nsr
    flow:   c = alpha + sigma,  d(nsr / (1 + nsr))                v:      c = r,  q / r,  d theta
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import divide, exact, log
from obverse.ground.quadrature import in_panels
from obverse.path import Data, Flow, Level, Noise, Prediction, Schedule, V
from obverse.sampler.solvers.clocks import Clock
from obverse.sampler.solvers.solver import ratio

PANEL = 1.0  # of the quadrature: the nearest pole, of atan(exp u), is pi/2 away; error below 1e-20
REACH = 46.0  # exp(-46) = 1e-20: beyond this many units of u nothing is left of a density


class _Step(NamedTuple):
    """x_s = on_state x_t + scale times the mean of q under a density in u; all at s where low is -inf."""

    on_state: float
    scale: float
    low: float
    high: float
    density: Callable[[Tensor], Tensor]


def weights(
    face: Prediction, clock: Clock, nodes: Sequence[Level], t: Level, s: Level, schedule: Schedule, *, eta: float = 0.0
) -> tuple[float, list[float]]:
    """x_s = on_state x_t + sum_j on_output_j q_j, the estimates q_j of a face joined by a polynomial in a clock.

    A node at which the clock is infinite is left out (its weight is 0). Where the clock is infinite at the first
    node, or at s when all the weight lies there, the first node stands alone: first order, and the limit.

    Args:     face: data, noise, flow or v: what is joined.
              clock: in which.
              nodes: where estimates are known, the most trusted first (an Adams-Bashforth step: t, then the levels
                  before it; a corrector: t, s, then the levels before t).
              t, s: from where to where; floats, alpha_t = 0 and sigma_s = 0 allowed where the face allows them.
              schedule: for clocks that read its t.
              eta: strength of the reverse SDE; data and noise only (T30, T31).
    Returns:  the weight of x_t and one for each node; infinite where the face cannot leave t.
    Raises:   InvalidArgument for a face or an eta without such a step.
    Example:
        >>> from obverse.path import Linear
        >>> t, s = Linear().at(0.5), Linear().at(0.0)
        >>> weights(Flow(), Clock.of("t"), [t], t, s, Linear())
        (1.0, [-0.5])
    """
    step = _step(face, t, s, eta)
    places = clock.at(exact([_u(node) for node in nodes]), schedule)
    finite = places.isfinite()
    if step.low == -math.inf:
        finite &= clock.at(exact(-math.inf), schedule).isfinite()
    kept = [j for j in range(len(nodes)) if bool(finite[j])] if bool(finite[0]) else [0]
    on_output = [0.0] * len(nodes)
    if len(kept) == 1 or not math.isfinite(step.scale):
        on_output[kept[0]] = step.scale
    else:
        for j, share in zip(kept, _shares(step, clock, places[kept], schedule), strict=True):
            on_output[j] = step.scale * share
    if isinstance(face, V):
        on_output = [weight / float(node.r) for weight, node in zip(on_output, nodes, strict=True)]
    return step.on_state, on_output


def fresh(face: Prediction, t: Level, s: Level, eta: float) -> float:
    """The standard deviation of the new noise in a step of the reverse SDE of strength eta (T30, T31)."""
    if eta == 0:
        return 0.0
    if isinstance(face, Data):
        kept = ratio(s, t) ** (eta**2)
        return float(s.sigma * math.sqrt((1 - kept) * (1 + kept)))
    _step(face, t, s, eta)  # refuses what has no such step
    return float(s.alpha * eta * math.sqrt((t.nsr - s.nsr) * (t.nsr + s.nsr)))


def _u(level: Level) -> float:
    """log nsr; infinite at the ends."""
    return float(log(level.sigma) - log(level.alpha))


def _step(face: Prediction, t: Level, s: Level, eta: float) -> _Step:
    """The step of a face; falling or rising."""
    low, high = sorted((_u(t), _u(s)))
    power = 1 + eta**2
    if isinstance(face, Data):
        at_once = s.sigma == 0 or t.sigma == 0
        on_state = float(divide(s.sigma, t.sigma)) * (ratio(s, t) ** (power - 1) if eta else 1.0)
        scale = s.alpha * -math.expm1(power * (_u(s) - _u(t))) if t.sigma > 0 else -math.inf
        high = min(high, low + REACH / power)
        return _Step(on_state, scale, -math.inf if at_once else low, high, lambda u: (power * (low - u)).exp())
    if isinstance(face, Noise):
        on_state = float(divide(s.alpha, t.alpha))
        scale = power * (s.sigma - t.sigma * on_state) if t.alpha > 0 else -math.inf
        return _Step(on_state, scale, max(low, high - REACH), high, lambda u: (u - high).exp())
    if eta:
        raise InvalidArgument(f"A step of the SDE joins estimates of data or noise, got {face.name} (eta=0: the ODE).")
    low, high = max(low, min(high, 0.0) - REACH), min(high, max(low, 0.0) + REACH)
    if isinstance(face, Flow):
        before, after = t.alpha + t.sigma, s.alpha + s.sigma
        scale = float((s.sigma * t.alpha - t.sigma * s.alpha) / before)
        return _Step(float(after / before), scale, low, high, lambda u: (u / 2).cosh() ** -2)
    if isinstance(face, V):
        return _Step(float(s.r / t.r), float(s.r * (s.theta - t.theta)), low, high, lambda u: 1 / u.cosh())
    raise InvalidArgument(f"Estimates are joined in data, noise, flow or v, got {face.spec}.")


def _shares(step: _Step, clock: Clock, places: Tensor, schedule: Schedule) -> list[float]:
    """Mean of each Lagrange polynomial under the density; they sum to 1."""
    if step.low == -math.inf:
        at, mass = exact([-math.inf]), exact([1.0])
    else:
        at, mass = in_panels(step.low, step.high, PANEL)
        mass = mass * step.density(at)
    away = clock.at(at, schedule)[:, None] - places
    shares = []
    for j, place in enumerate(places):
        others = [m for m in range(len(places)) if m != j]
        basis = (away[:, others] / (place - places[others])).prod(1)
        shares.append(float((mass * basis).sum() / mass.sum()))
    return shares
