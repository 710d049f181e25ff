"""Exact models: distributions whose every estimate is known in closed form (T56-T58)."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact
from obverse.model.model import Call, Cond, Model
from obverse.path import Level, Schedule, V, clean

CHUNK = 2**22  # numbers of a distance table held at once: 32 MiB of float64


class Posterior(NamedTuple):
    """What is known of (x, eps) given x_t: E[x], E[eps] as (batch, d) and tr Cov[x] as (batch,)."""

    data: Tensor
    noise: Tensor
    spread: Tensor


class Oracle(Model):
    """A known distribution as a model: nothing is learnt, everything is exact.

    Its face is v, regular at every level of every path. Data of any shape is flattened to vectors inside; the
    arithmetic is float64 on the CPU, whatever and wherever the states are.
    """

    face = V()
    shape: tuple[int, ...]

    @abstractmethod
    def posterior(self, x_t: Tensor, level: Level) -> Posterior:
        """Moments of (x, eps) given x_t.

        Args:     x_t: float64 (batch, d).
                  level: fields () or (batch, 1).
        """

    @abstractmethod
    def log_prob(self, x_t: Tensor, level: Level | None = None) -> Tensor:
        """Log-density of the data, or of the states at a level, in nats; (batch *data) -> (batch,)."""

    @abstractmethod
    def sample(self, count: int, *, seed: int = 0) -> Tensor:
        """Exact draws of the data, float64; (count *data)."""

    def at(self, level: Level, like: Tensor) -> Call:
        columns = _columns(level)

        def call(x_t: Tensor, cond: Cond = None) -> Tensor:  # noqa: ARG001 - an oracle knows no condition
            known = self.posterior(self._vectors(x_t), columns)
            v: Tensor = columns.alpha * known.noise - columns.sigma * known.data
            return v.reshape(x_t.shape).to(x_t)

        return call

    def __repr__(self) -> str:
        return f"{type(self).__name__}(data of shape {self.shape} on {self.schedule.label})"

    def _vectors(self, x_t: Tensor) -> Tensor:
        """States as rows of float64 on the CPU, where oracles live."""
        if x_t.shape[1:].numel() != math.prod(self.shape):
            raise InvalidArgument(f"This oracle is of data of shape {self.shape}, got {tuple(x_t.shape)}.")
        return x_t.flatten(1).cpu().double()

    def spread(self, x_t: Tensor, level: Level) -> Tensor:
        """tr Cov[x | x_t]: the squared error that no denoiser can avoid; (batch,)."""
        return self.posterior(self._vectors(x_t), _columns(level)).spread

    def divergence(self, x_t: Tensor, level: Level) -> Tensor:
        """Divergence of the probability-flow velocity (T12); (batch,). Needs sigma > 0."""
        at = _columns(level)
        slope = at.alpha / at.sigma**2 * self.spread(x_t, level)[:, None]  # div E[x | x_t]
        size = math.prod(x_t.shape[1:])
        total: Tensor = at.alpha_dot * slope + at.sigma_dot * (size - at.alpha * slope) / at.sigma
        return total[:, 0]


class Mixture(Oracle):
    """A mixture of Gaussians with full covariances.

    Args:     means: (components *data).
              covariances: (components, d, d), (d, d) for all, or a number for isotropic ones; positive definite.
              weights: (components,), non-negative; scaled to sum to 1; default equal.
              schedule: the path its noisy versions live on.
    Raises:   InvalidArgument for shapes that do not fit, covariances that are none, weights that are negative.

    Example:
        >>> from obverse.path import Linear
        >>> two = Mixture(torch.tensor([[-1.0], [1.0]]), 1e-6, None, Linear())
        >>> two(torch.tensor([[0.1]]), 0.1).data.round(decimals=3)
        tensor([[1.]])
    """

    def __init__(
        self, means: Tensor, covariances: Tensor | float, weights: Tensor | None, schedule: Schedule | str
    ) -> None:
        self.schedule = Schedule.of(schedule)
        means, covariances = exact(means).cpu(), exact(covariances).cpu()
        if means.ndim < 2:
            raise InvalidArgument(
                f"means has one row for each component: (components *data), got {tuple(means.shape)}."
            )
        self.shape = tuple(means.shape[1:])
        self.means = means.flatten(1)
        count, size = self.means.shape
        covariances = covariances * torch.eye(size, dtype=torch.float64) if covariances.ndim == 0 else covariances
        if covariances.shape not in ((size, size), (count, size, size)):
            raise InvalidArgument(f"covariances is ({count}, {size}, {size}), got {tuple(covariances.shape)}.")
        if not torch.allclose(covariances, covariances.mT):
            raise InvalidArgument("covariances are symmetric; (A + A.T) / 2 makes one so.")
        self.variances, self.axes = torch.linalg.eigh(covariances.expand(count, size, size))
        if not bool((self.variances > 0).all()):
            raise InvalidArgument(f"covariances are positive definite; smallest eigenvalue {self.variances.min():.3g}.")
        weights = torch.ones(count) if weights is None else torch.as_tensor(weights).cpu()
        if weights.shape != (count,) or bool((weights < 0).any()) or not bool(weights.sum() > 0):
            raise InvalidArgument(f"weights is ({count},), non-negative, not all 0; got {weights.tolist()}.")
        self.weights = weights.double() / weights.double().sum()

    def posterior(self, x_t: Tensor, level: Level) -> Posterior:
        alpha, sigma = (exact(a)[..., None] for a in (level.alpha, level.sigma))
        away, variances, log_share = self._components(x_t, alpha, sigma)
        share = log_share.softmax(1)[..., None]
        pull = away / variances  # V^-1 (x_t - alpha m), along the axes
        turned = torch.einsum("kde,bke->bkd", self.axes, self.variances * pull)
        centres = self.means + alpha * turned
        data = (share * centres).sum(1)
        score = -(share * torch.einsum("kde,bke->bkd", self.axes, pull)).sum(1)
        within = (share[..., 0] * (self.variances * sigma**2 / variances).sum(-1)).sum(1)
        between = (share * (centres - data[:, None]) ** 2).sum((1, 2))
        return Posterior(data, -sigma[..., 0] * score, within + between)

    def log_prob(self, x_t: Tensor, level: Level | None = None) -> Tensor:
        at = _columns(clean() if level is None else level)
        alpha, sigma = (exact(a)[..., None] for a in (at.alpha, at.sigma))
        _, _, log_share = self._components(self._vectors(x_t), alpha, sigma)
        return log_share.logsumexp(1)

    def sample(self, count: int, *, seed: int = 0) -> Tensor:
        which = torch.searchsorted(self.weights.cumsum(0), noise.uniform((count,), seed=seed, purpose="component"))
        which = which.clamp(max=len(self.weights) - 1)
        size = self.means.shape[1]
        draws = noise.normal((count, size), seed=seed, purpose="oracle", dtype=torch.float64)
        spread = torch.einsum("bde,be->bd", self.axes[which], self.variances[which].sqrt() * draws)
        return (self.means[which] + spread).reshape(count, *self.shape)

    def _components(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Per component: x_t - alpha m along the axes, the variances there, log(weight density)."""
        variances = alpha**2 * self.variances + sigma**2
        away = torch.einsum("kde,bkd->bke", self.axes, x_t[:, None] - alpha * self.means)
        log_density = -((away**2 / variances) + (2 * math.pi * variances).log()).sum(-1) / 2
        return away, variances, self.weights.log() + log_density


class Gaussian(Mixture):
    """One Gaussian with a full covariance, and its exact probability flow.

    Args:     mean: (*data).
              covariance: (d, d), or a number.
              schedule: the path.
    """

    def __init__(self, mean: Tensor, covariance: Tensor | float, schedule: Schedule | str) -> None:
        super().__init__(torch.as_tensor(mean)[None], covariance, None, schedule)

    def flow(self, x_t: Tensor, start: Level, stop: Level) -> Tensor:
        """Where the probability-flow ODE takes states from one level to another, exactly (T56); (batch *data)."""
        here, there = (exact(a.alpha**2) * self.variances[0] + a.sigma**2 for a in (start, stop))
        along = (self._vectors(x_t) - start.alpha * self.means[0]) @ self.axes[0]
        moved: Tensor = stop.alpha * self.means[0] + (along * (there / here).sqrt()) @ self.axes[0].T
        return moved.reshape(x_t.shape).to(x_t)


class Empirical(Oracle):
    """The data set itself as a distribution: the denoiser a network would become if it memorised everything.

    Args:     data: (samples *data); kept in its dtype.
              schedule: the path.
    Raises:   InvalidArgument for an empty data set.
    """

    def __init__(self, data: Tensor, schedule: Schedule | str) -> None:
        if data.ndim < 2 or not len(data):
            raise InvalidArgument(f"data is (samples *data) with at least one sample, got {tuple(data.shape)}.")
        self.schedule = Schedule.of(schedule)
        self.shape = tuple(data.shape[1:])
        self.data = data.flatten(1).cpu()

    def posterior(self, x_t: Tensor, level: Level) -> Posterior:
        alpha, sigma = exact(level.alpha), exact(level.sigma)
        _, mass, data, square = self._sums(x_t, alpha, sigma)
        data, square = data / mass[:, None], square / mass
        spread = (square - (data**2).sum(1)).clamp(min=0)
        return Posterior(data, torch.where(sigma > 0, (x_t - alpha * data) / sigma, 0.0), spread)

    def log_prob(self, x_t: Tensor, level: Level | None = None) -> Tensor:
        if level is None or not bool((exact(level.sigma) > 0).all()):
            raise InvalidArgument("A data set has a density only at levels with noise: log_prob needs sigma > 0.")
        at = _columns(level)
        alpha, sigma = exact(at.alpha), exact(at.sigma)
        peak, mass, _, _ = self._sums(self._vectors(x_t), alpha, sigma)
        size = self.data.shape[1]
        scale = (math.log(2 * math.pi) + 2 * sigma.log()).expand(len(x_t), 1)[:, 0] * size / 2
        return peak + mass.log() - math.log(len(self.data)) - scale

    def sample(self, count: int, *, seed: int = 0) -> Tensor:
        which = (noise.uniform((count,), seed=seed, purpose="oracle") * len(self.data)).long()
        return self.data[which].double().reshape(count, *self.shape)

    def _sums(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Largest exponent, sum of weights, of weights x and of weights |x|², in one chunked pass (log-sum-exp)."""
        count = len(x_t)
        nearest = x_t.new_full((count,), math.inf)
        mass, square, data = x_t.new_zeros(count), x_t.new_zeros(count), torch.zeros_like(x_t)
        width = (2 * sigma**2).clamp(min=1e-300).expand(count, 1)[:, 0]  # at sigma = 0 the nearest point takes all
        size = max(1, CHUNK // max(count, self.data.shape[1]))
        for first in range(0, len(self.data), size):
            points = self.data[first : first + size].to(x_t.dtype)
            norms = (points**2).sum(1)
            away = (x_t**2).sum(1, keepdim=True) - 2 * alpha * (x_t @ points.T) + alpha**2 * norms
            near = torch.minimum(nearest, away.amin(1))  # compared before divided: inf - inf is nothing
            old, new = (-(nearest - near) / width).exp(), (-(away - near[:, None]) / width[:, None]).exp()
            mass, square = mass * old + new.sum(1), square * old + new @ norms
            data, nearest = data * old[:, None] + new @ points, near
        return -nearest / width, mass, data, square


def _columns(level: Level) -> Level:
    """A level whose per-sample fields multiply (batch, d)."""
    fields = (exact(a).cpu() for a in (level.t, level.alpha, level.sigma, level.alpha_dot, level.sigma_dot))
    return Level(*(a.reshape(-1, 1) if a.ndim else a for a in fields))
