"""The log-density of a model: change of variables along the probability flow (T62)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.data import Scaling
from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, NonFinite, SingularConversion, require
from obverse.ground.numerics import exact
from obverse.ground.shapes import against, check_rows, rows
from obverse.likelihood.divergence import directions, traces
from obverse.likelihood.walk import Walk
from obverse.model import Cond, Model
from obverse.path import Edm, Level, coefficients
from obverse.sampler.tolerance.control import padded
from obverse.sampler.tolerance.field import Circle
from obverse.sampler.truth import beginning

WIDEST = 8192  # numbers in a point whose exact trace is taken: so many passes back at each call
NEAR = 1e-3  # radians: the first angle for predictions that say nothing of the flow at clean data


class LogDensity(NamedTuple):
    """What was found.

    Args:     nats: log-density, natural logarithm; NaN for who did not finish; float64 (batch,).
              latent: the standard normal noise that each point comes from; float64 (batch *data).
              error: what the steps may have made `nats` wrong by, in nats: their errors added up; (batch,).
              standard_error: what the probes may have made it wrong by; 0 for the exact trace; (batch,).
              calls: network evaluations of each, guidance's second one counted; the passes back are not; (batch,).
              finished: who got to the noise within max_calls; (batch,).
    """

    nats: Tensor
    latent: Tensor
    error: Tensor
    standard_error: Tensor
    calls: Tensor
    finished: Tensor

    def bits(self, width: float = 1.0) -> Tensor:
        """Bits per dimension, -log2 p(x) / d - log2(width) (T64); (batch,).

        Args:     width: between neighbouring values of data that are discrete, in the units of x: 2/255 for bytes
                      scaled to [-1, 1]. The points should then be `dequantised`. 1 for data that are continuous.
        """
        require(width > 0, f"width is the distance of neighbouring values, above 0; got {width} (bytes: 1).")
        return -(self.nats / self.latent[0].numel() + math.log(width)) / math.log(2)


def log_density(
    model: Model,
    x: Tensor,
    *,
    cond: Cond = None,
    tolerance: float = 1e-3,
    probes: int | None = None,
    scaling: Scaling | None = None,
    level: Level | float | None = None,
    seed: int = 0,
    samples: Sequence[int] | None = None,
    max_calls: int = 2000,
) -> LogDensity:
    """The log-density that a model gives to points: log p(x) = log N(eps) + ∫ div v along the flow from x to eps (T62).

    It is the density of what the probability flow makes of normal noise, exact up to `tolerance`: that of the samples
    of any deterministic solver, on any schedule and in any face. Where a schedule keeps noise at t = 0, or the
    prediction says nothing of the flow there (data; step off: 0.001 radians), it is the density of x_t / alpha there.

    Args:     model: any model through which torch can differentiate; it runs in its own precision, the rest in float64.
              x: points; (batch *data).
              cond: handed to the model; one row for each point.
              tolerance: what a step may be wrong by, in nats. The end is wrong by about as much: 0.2 to 3 times from
                  1e-3 down, measured on exact mixtures.
              probes: None: the exact trace, d passes back at each call. Or how many random sign vectors estimate it, at
                  least 2: for data of many dimensions. They are the point's own, one set for the whole way.
              scaling: x is in raw units and this takes it to the model's; the density is then per raw unit.
              level: None: x is data. Else x are states x_t at this level (or t), and so is the density.
              seed, samples: whose probes; samples default 0, 1, 2 ...
              max_calls: of each point.
    Returns:  a LogDensity, in nats.
    Raises:   InvalidArgument for arguments outside their range; NonFinite naming the level and the point.

    Example:
        >>> from obverse.model import Gaussian
        >>> model = Gaussian(torch.zeros(2), 0.25, "cosine")
        >>> x = torch.tensor([[0.5, -0.5]])
        >>> found = log_density(model, x, tolerance=1e-6)
        >>> round(float(found.nats), 4), round(float(model.log_prob(x)), 4)
        (-1.4516, -1.4516)

    Source:   Chen et al. (2018); Grathwohl et al. (2019); Song et al. (2021), appendix D.2.
    """
    _check(x, tolerance, probes, samples, max_calls)
    check_rows(cond, len(x))
    points, units = _scaled(x.detach().double(), scaling)
    way = _Way.of(model, cond, level)
    scale = float(exact(way.first.alpha) if level is None else 1.0) / float(way.circle.rho(way.first))
    chosen = directions(points) if probes is None else _signs(points, probes, seed, samples)
    columns = 1 if probes is None else probes

    def slopes(z: Tensor, phi: Tensor, who: Tensor, idle: bool) -> Tensor:
        v, products = way.slopes(z, phi, who, chosen[:0] if idle else chosen)
        if idle:
            products = products.new_zeros(len(z), columns)
        return torch.cat([v, products.sum(1, keepdim=True) if probes is None else products], 1)

    walk = Walk(slopes, way.stop, tolerance, max_calls)
    end = walk.run((points * scale).flatten(1), way.start)
    size = points[0].numel()
    width = float(exact(way.last.sigma) / way.circle.rho(way.last))  # of the noise that samplers start from
    latent = end.z / width
    normal = -(latent**2).sum(1) / 2 - size * (math.log(2 * math.pi) / 2 + math.log(width))
    nats = normal + end.grown.mean(1) + size * math.log(scale) - units
    nats = torch.where(end.finished.to(nats.device), nats, math.nan)
    spread = end.grown.std(1) / math.sqrt(probes) if probes else torch.zeros_like(nats)
    return LogDensity(nats, latent.reshape(x.shape), end.error, spread, end.calls * model.passes, end.finished)


@dataclass(frozen=True)
class _Way:
    """From where to where, and the slopes on the way."""

    model: Model
    cond: Cond
    circle: Circle
    first: Level
    last: Level

    @classmethod
    def of(cls, model: Model, cond: Cond, level: Level | float | None) -> _Way:
        """The way from a level, or from data, to the noise that samplers start from."""
        circle, schedule = Circle(model.schedule, 1.0), model.schedule
        if level is None:
            first = schedule.at(0.0)
            try:
                coefficients(model.face, Edm(1.0), first)
            except SingularConversion:
                first = circle.level(torch.tensor(max(NEAR, circle.least), dtype=torch.float64))
        else:
            first = level if isinstance(level, Level) else schedule.at(level)
        last = schedule.at(beginning(model))
        require(
            float(circle.phi(first)) < float(circle.phi(last)),
            f"level lies before the noise that samplers start from, {last}; got {first} (level=None: data).",
        )
        return cls(model, cond, circle, first, last)

    @property
    def start(self) -> float:
        """The first angle."""
        return float(self.circle.phi(self.first))

    @property
    def stop(self) -> float:
        """The last angle."""
        return float(self.circle.phi(self.last))

    def slopes(self, flat: Tensor, phi: Tensor, who: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
        """v, flat, and the products of its Jacobian with the probes; (batch, d) and (batch, probes)."""
        z = flat.reshape(-1, *probes.shape[2:])
        wide = self.circle.level(padded(phi))
        level, rho = wide[: len(phi)], self.circle.rho(wide)
        cut = [exact(c).expand(len(wide)) for c in coefficients(self.model.face, Edm(1.0), wide)]

        def v(z: Tensor, here: Tensor) -> Tensor:
            x_t = against(rho[here], z) * z
            out = self.model.at(level[here], x_t)(x_t, rows(self.cond, who[here].to(z.device)))
            return -(against(cut[0][here], z) * out + against(cut[1][here], z) * x_t)

        mine = probes if probes.shape[1] == 1 else probes[:, who.to(z.device)]
        slope, products = traces(v, z, mine)
        bad = (~slope.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
        if bad:
            raise NonFinite(f"The model's output is not finite at {level[bad[0]]}, first for point {int(who[bad[0]])}.")
        return slope.flatten(1), products


def _signs(x: Tensor, probes: int, seed: int, samples: Sequence[int] | None) -> Tensor:
    """Random signs for each point; (probes, batch *data)."""
    names = list(range(len(x))) if samples is None else list(samples)
    draws = [noise.uniform(x.shape, seed=seed, purpose="probe", step=k, samples=names) for k in range(probes)]
    return (torch.stack(draws) < 0.5).to(x) * 2 - 1


def _scaled(x: Tensor, scaling: Scaling | None) -> tuple[Tensor, float]:
    """Points in the model's units, and the log of the volume of one of its units in raw ones."""
    if scaling is None:
        return x, 0.0
    if scaling.constant:
        raise InvalidArgument(
            f"What never varies has no density: columns {list(scaling.constant)} are constant (leave them out)."
        )
    shift, scale = (
        torch.tensor(values, dtype=torch.float64, device=x.device) for values in (scaling.shift, scaling.scale)
    )
    if len(shift) not in (1, x.shape[1]):
        raise InvalidArgument(f"This scaling is for {len(shift)} columns or channels, got x {tuple(x.shape)}.")
    shape = (-1, *(1,) * (x.ndim - 2))
    each = x[0].numel() / len(shift)
    return (x - shift.reshape(shape)) / scale.reshape(shape), float(scale.log().sum()) * each


def _check(x: Tensor, tolerance: float, probes: int | None, samples: Sequence[int] | None, max_calls: int) -> None:
    if x.ndim < 2 or not x.numel() or not x.is_floating_point():
        raise InvalidArgument(f"x is (batch *data), floating-point, not empty; got {x.dtype} {tuple(x.shape)}.")
    require(bool(x.isfinite().all()), "x is finite, got NaN or infinity: such points have no density.")
    size = x[0].numel()
    require(
        probes is not None or size <= WIDEST,
        f"The exact trace is for up to {WIDEST} dimensions, got {size} (probes=8).",
    )
    require(0 < tolerance <= 1, f"tolerance is in (0, 1] nats, got {tolerance} (try 1e-3).")
    require(probes is None or probes >= 2, f"probes is None (exact) or >= 2, got {probes}: one has no standard error.")
    require(samples is None or len(samples) == len(x), f"samples names every row once: expected {len(x)} of them.")
    require(max_calls >= 7, f"max_calls >= 7, one step of the solver, got {max_calls} (try 2000).")
