"""The family `metric`: every comparison of two sets of samples, by name, on any features."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from obverse.ground.errors import require
from obverse.ground.families import Family
from obverse.metrics import distances, manifold, transport
from obverse.metrics.features import Features, Raw, features_of


@dataclass(frozen=True)
class Metric(Family, family="metric"):
    """A comparison of two sets of samples.

    Args:     features: what is compared: the data themselves, or what a network makes of them; a name, or in Python
              any function of a batch.
    Example:
        >>> import torch
        >>> Metric.of("sliced-w2:projections=64")(torch.zeros(2, 1), torch.ones(2, 1))
        1.0
        >>> Metric.of("frechet:features=fashion").title
        'F-FD'
    """

    better: ClassVar[str] = "lower"  # or "higher": which way a good model lies
    ends: ClassVar[tuple[float, float]] = (0.0, math.inf)  # what it cannot go beyond
    features: Features = field(default_factory=Raw, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", features_of(self.features))

    @abstractmethod
    def between(self, x: Tensor, y: Tensor) -> float:
        """The number for x against the reference y, as they are; (n *data), (m *data)."""

    def __call__(self, x: Tensor, y: Tensor) -> float:
        """The number for features of x against features of the reference y; (n *data), (m *data)."""
        return self.between(self.features(x), self.features(y))

    @property
    def title(self) -> str:
        """What its number is called: the spec, in which the features have a say."""
        return self.features.title(replace(self, features=Raw()).spec)

    @property
    def least(self) -> int:
        """The fewest rows a side that it can be computed on."""
        return 2

    @property
    def most(self) -> int | None:
        """The most rows a side that `against` gives it; None for all there are."""
        return None


class Frechet(Metric, name="frechet"):
    """Squared Fréchet distance between Gaussian fits: means and covariances, nothing beyond."""

    def between(self, x: Tensor, y: Tensor) -> float:
        return distances.frechet(x, y)


class MMD(Metric, name="mmd"):
    """Unbiased squared maximum mean discrepancy under a Gaussian kernel as wide as the data."""

    ends: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    def between(self, x: Tensor, y: Tensor) -> float:
        return distances.mmd(x, y)


class KID(Metric, name="kid"):
    """Unbiased squared maximum mean discrepancy under a cubic kernel; made for features."""

    ends: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    def between(self, x: Tensor, y: Tensor) -> float:
        return distances.kid(x, y)


@dataclass(frozen=True)
class SlicedW2(Metric, name="sliced-w2"):
    """Wasserstein-2 distance along random lines, root mean square over them."""

    projections: int = 256
    seed: int = 0

    def between(self, x: Tensor, y: Tensor) -> float:
        return transport.sliced_w2(x, y, projections=self.projections, seed=self.seed)


@dataclass(frozen=True)
class W2(Metric, name="w2"):
    """Exact Wasserstein-2 distance; `rows` a side at most, because its cost grows as their cube."""

    rows: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.rows >= 2, f"w2 needs rows >= 2, got {self.rows} (1000 is the default).")

    def between(self, x: Tensor, y: Tensor) -> float:
        return transport.w2(x, y)

    @property
    def most(self) -> int:
        return self.rows


class Energy(Metric, name="energy"):
    """Energy distance: how much farther apart strangers are than family; nothing to tune."""

    def between(self, x: Tensor, y: Tensor) -> float:
        return distances.energy_distance(x, y)


@dataclass(frozen=True)
class _Balls(Metric):
    """What draws a ball around each row, out to its k-th nearest neighbour."""

    better: ClassVar[str] = "higher"
    ends: ClassVar[tuple[float, float]] = (0.0, 1.0)
    k: int = 3

    @property
    def least(self) -> int:
        return self.k + 1


class Precision(_Balls, name="precision"):
    """Share of samples that lie among the data: quality."""

    def between(self, x: Tensor, y: Tensor) -> float:
        return manifold.precision(x, y, k=self.k)


class Recall(_Balls, name="recall"):
    """Share of data that lie among the samples: variety."""

    def between(self, x: Tensor, y: Tensor) -> float:
        return manifold.recall(x, y, k=self.k)


@dataclass(frozen=True)
class Density(_Balls, name="density"):
    """How many neighbourhoods of data a sample lies in, 1 for real data: quality that outliers cannot fool."""

    ends: ClassVar[tuple[float, float]] = (0.0, math.inf)
    k: int = 5

    def between(self, x: Tensor, y: Tensor) -> float:
        return manifold.density(x, y, k=self.k)


@dataclass(frozen=True)
class Coverage(_Balls, name="coverage"):
    """Share of the neighbourhoods of data that hold a sample: variety."""

    k: int = 5

    def between(self, x: Tensor, y: Tensor) -> float:
        return manifold.coverage(x, y, k=self.k)
