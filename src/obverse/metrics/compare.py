"""A distance alone says little: each is measured beside the same distance between real data and real data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.families import Family
from obverse.ground.noise import permutation, uniform
from obverse.ground.numerics import divide
from obverse.metrics.distances import energy_distance, frechet, mmd, pair, sliced_w2

SPLITS = 20  # of the real data, for the floor: the mean of 20 varies about a quarter as much as one
LEAST = 8  # rows a side: fewer say nothing, and resampled often come out all equal


class Metric(Family, family="metric"):
    """A distance between two sets of samples, 0 (on average) where their distributions agree.

    Example:
        >>> Metric.of("sliced-w2:projections=64")(torch.zeros(2, 1), torch.ones(2, 1))
        1.0
    """

    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor) -> float:
        """The distance of x from the reference y; (n *data), (m *data)."""


class Frechet(Metric, name="frechet"):
    """Squared Fréchet distance between Gaussian fits: means and covariances, nothing beyond."""

    def __call__(self, x: Tensor, y: Tensor) -> float:
        return frechet(x, y)


class MMD(Metric, name="mmd"):
    """Unbiased squared maximum mean discrepancy under a Gaussian kernel as wide as the data."""

    def __call__(self, x: Tensor, y: Tensor) -> float:
        return mmd(x, y)


@dataclass(frozen=True)
class SlicedW2(Metric, name="sliced-w2"):
    """Wasserstein-2 distance along random lines, root mean square over them."""

    projections: int = 256
    seed: int = 0

    def __call__(self, x: Tensor, y: Tensor) -> float:
        return sliced_w2(x, y, projections=self.projections, seed=self.seed)


class Energy(Metric, name="energy"):
    """Energy distance: how much farther apart strangers are than family; nothing to tune."""

    def __call__(self, x: Tensor, y: Tensor) -> float:
        return energy_distance(x, y)


@dataclass(frozen=True)
class Measured:
    """A metric of samples against real data, beside the same of real against real.

    Args:     name: the metric's spec.
              value: samples against held-out data.
              low, high: the 95 % bootstrap interval of value.
              floor: the mean magnitude of real against real at the same sizes; what a perfect model would get.
              sizes: rows on either side, of value and of floor alike.
    Example:
        >>> print(Measured("energy", 0.3, 0.25, 0.36, floor=0.2, sizes=(50, 50)))
        energy 0.3 [0.25, 0.36], real against real 0.2, ratio 1.5 (50 against 50)
    """

    name: str
    value: float
    low: float
    high: float
    floor: float
    sizes: tuple[int, int]

    @property
    def ratio(self) -> float:
        """value / floor: about 1 for a perfect model (mmd, whose mean is then 0: about -2 to 3)."""
        return float(divide(self.value, self.floor))

    def __str__(self) -> str:
        n, m = self.sizes
        return (
            f"{self.name} {self.value:.4g} [{self.low:.4g}, {self.high:.4g}], "
            f"real against real {self.floor:.4g}, ratio {self.ratio:.3g} ({n} against {m})"
        )


def against(
    samples: Tensor,
    held_out: Tensor,
    train: Tensor | None = None,
    *,
    metrics: Sequence[str | Metric] = ("frechet", "mmd", "sliced-w2", "energy"),
    bootstrap: int = 100,
    seed: int = 0,
) -> list[Measured]:
    """Metrics of samples against held-out data, each with an interval and its real-against-real floor.

    Finite sets never agree, and most metrics fall with n; so n rows of samples are compared with n of held_out, and
    the floor is the same comparison inside real data: n against n other rows of held_out and train together, mean
    magnitude over 20 splits. n = min(samples, held_out, half of all real rows); which rows is a function of seed.

    Args:     samples: of the model; (n *data).
              held_out: real data it was not trained on; (m *data).
              train: more real data, for the floor alone; without it half of held_out sets n.
              metrics: names, specs or members of the family `metric`.
              bootstrap: resamplings of both sides for the interval, at least 2.
              seed: of every choice of rows.
    Returns:  one Measured for each metric, in order.
    Raises:   InvalidArgument for sets that cannot be compared or leave n < 8; NonFinite for a NaN or an infinity.
    Example:
        >>> from obverse.ground.noise import normal
        >>> x = normal((300, 2), seed=0, purpose="example")
        >>> good, = against(x[:100], x[100:200], x[200:], metrics=["energy"])
        >>> bad, = against(x[:100] + 1, x[100:200], x[200:], metrics=["energy"])
        >>> good.ratio < 2 < 10 < bad.ratio
        True

    Source:   Efron & Tibshirani (1993), chapter 13, for the bootstrap.
    """
    samples, held_out, real, n = _checked(samples, held_out, train)
    if bootstrap < 2:
        raise InvalidArgument(f"bootstrap counts resamplings: expected >= 2, got {bootstrap} (100 is the default).")
    x = samples[permutation(len(samples), seed=seed, purpose="metric-samples")[:n]]
    y = held_out[permutation(len(held_out), seed=seed, purpose="metric-held-out")[:n]]
    measured = []
    for metric in map(Metric.of, metrics):
        value = metric(x, y)
        low, high = _interval(metric, x, y, value, bootstrap, seed)
        measured.append(Measured(metric.spec, value, low, high, _floor(metric, real, n, seed), (n, n)))
    return measured


def _checked(samples: Tensor, held_out: Tensor, train: Tensor | None) -> tuple[Tensor, Tensor, Tensor, int]:
    """The sets as matrices, all real rows together, and the n at which both comparisons can be made."""
    x, y = pair(samples, held_out, names=("samples", "held_out"))
    real = y if train is None else torch.cat([y, pair(train, held_out, names=("train", "held_out"), least=1)[0]])
    n = min(len(x), len(y), len(real) // 2)
    if n < LEAST:
        raise InvalidArgument(
            f"A comparison needs {LEAST} rows a side; {len(x)} samples, {len(y)} of held_out and half of all "
            f"{len(real)} real rows leave {n} (draw more samples, or give train too)."
        )
    return x, y, real, n


def _interval(metric: Metric, x: Tensor, y: Tensor, value: float, count: int, seed: int) -> tuple[float, float]:
    """The middle 95 % of bootstrap values, moved to have their mean at value.

    Resampling repeats rows, and repeated rows by themselves raise these metrics; the spread is what it tells.
    """
    n = len(x)
    values = torch.empty(count, dtype=torch.float64)
    for step in range(count):
        left, right = (uniform((2, n), seed=seed, purpose="metric-bootstrap", step=step) * n).long()
        values[step] = metric(x[left], y[right])
    low, high = (values - values.mean()).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return value + low, value + high


def _floor(metric: Metric, real: Tensor, n: int, seed: int) -> float:
    """The mean magnitude of n real rows against n others."""
    total = 0.0
    for step in range(SPLITS):
        order = permutation(len(real), seed=seed, purpose="metric-floor", step=step)
        total += abs(metric(real[order[:n]], real[order[n : 2 * n]]))
    return total / SPLITS
