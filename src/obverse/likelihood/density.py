"""The log-density of a model: change of variables along the probability flow (T62)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.data import Scaling
from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, require
from obverse.ground.numerics import precise
from obverse.ground.shapes import check_rows, moved
from obverse.likelihood.divergence import directions
from obverse.likelihood.walk import Arrived, Walk
from obverse.likelihood.way import Way
from obverse.model import Cond, Model, check_model, check_place
from obverse.path import Level

WIDEST = 8192  # numbers in a point whose exact trace is taken: so many passes back at each call


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
    check_model(model)
    check_place()
    _check(x, tolerance, probes, samples, max_calls)
    check_rows(cond, len(x))
    with torch.inference_mode(False):  # the trace needs derivatives, whatever the caller does without
        points, units = _scaled(x.detach().clone().to(precise(x.device), torch.float64), scaling)
        way = Way.of(model, moved(cond, points.device), level)
        chosen = directions(points) if probes is None else _signs(points, probes, seed, samples)
        walk = Walk(way.rates(chosen, summed=probes is None), way.stop, tolerance, max_calls)
        end = walk.run((points * way.scale).flatten(1), way.start)
        spread = end.grown.std(1) / math.sqrt(probes) if probes else torch.zeros_like(end.z[:, 0])
        latent = end.z / way.width
        nats = _nats(latent, end, way) - units
    return LogDensity(nats, latent.reshape(x.shape), end.error, spread, end.calls * model.passes, end.finished)


def _nats(latent: Tensor, end: Arrived, way: Way) -> Tensor:
    """log N(latent) and what the volume has changed by on the way; NaN for who has not arrived; (batch,)."""
    size = latent.shape[1]
    normal = -(latent**2).sum(1) / 2 - size * math.log(2 * math.pi) / 2
    nats = normal + end.grown.mean(1) + size * (math.log(way.scale) - math.log(way.width))
    return torch.where(end.finished.to(nats.device), nats, math.nan)


def _signs(x: Tensor, probes: int, seed: int, samples: Sequence[int] | None) -> Tensor:
    """Random signs for each point; (probes, batch *data)."""
    draws = [noise.uniform(x.shape, seed=seed, purpose="probe", step=k, samples=samples) for k in range(probes)]
    return (torch.stack(draws) < 0.5).to(x) * 2 - 1


def _scaled(x: Tensor, scaling: Scaling | None) -> tuple[Tensor, float]:
    """Points in the model's units, and the log of the volume of one of its units in raw ones."""
    if scaling is None:
        return x, 0.0
    if scaling.constant:
        raise InvalidArgument(
            f"What never varies has no density: columns {list(scaling.constant)} are constant (leave them out)."
        )
    shift, scale = scaling.against(x)
    return (x - shift) / scale, float(scale.log().sum()) * (x[0].numel() / scale.numel())


def _check(x: Tensor, tolerance: float, probes: int | None, samples: Sequence[int] | None, max_calls: int) -> None:
    require(isinstance(x, Tensor), f"x is a tensor, (batch *data), got {type(x).__name__} (torch.as_tensor).")
    if x.ndim < 2 or not x.numel() or not x.is_floating_point():
        raise InvalidArgument(f"x is (batch *data), floating-point, not empty; got {x.dtype} {tuple(x.shape)}.")
    require(bool(x.isfinite().all()), "x is finite, got NaN or infinity: such points have no density.")
    size = x[0].numel()
    require(
        probes is not None or size <= WIDEST,
        f"The exact trace is for up to {WIDEST} dimensions, got {size} (probes=8).",
    )
    require(0 < tolerance <= 1, f"tolerance is in (0, 1] nats, got {tolerance} (try 1e-3).")
    require(
        probes is None or (isinstance(probes, Integral) and probes >= 2),
        f"probes is None (exact) or a whole number >= 2, got {probes}: one has no standard error.",
    )
    require(samples is None or len(samples) == len(x), f"samples names every row once: expected {len(x)} of them.")
    require(max_calls >= 7, f"max_calls >= 7, one step of the solver, got {max_calls} (try 2000).")
