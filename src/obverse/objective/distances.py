"""Distances: how the error of a sample becomes its loss, before it is weighted."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.errors import require
from obverse.ground.families import Family


class Distance(Family, family="distance"):
    """A function of the mean squared error of a sample, in the face that is predicted: the same for small errors.

    All but `square` make large errors count less than their square, so that outliers pull less; the optimum is then no
    longer the conditional mean, and no longer the same in every face.
    """

    @abstractmethod
    def __call__(self, square: Tensor) -> Tensor:
        """The distance of each sample, from its mean squared error; (batch,)."""


class Square(Distance, name="square"):
    """The mean squared error itself: the one distance whose optimum is the conditional mean."""

    def __call__(self, square: Tensor) -> Tensor:
        return square


@dataclass(frozen=True)
class Huber(Distance, name="huber"):
    """The square up to a root mean square of delta, then a straight line.

    Source: Huber (1964).
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        require(self.delta > 0, f"huber: delta > 0, got {self.delta} (1 leaves errors of unit variance as they are).")

    def __call__(self, square: Tensor) -> Tensor:
        kept = torch.where(square > self.delta**2, square, self.delta**2)  # the root's slope at 0 is never asked for
        return torch.where(square > self.delta**2, 2 * self.delta * kept.sqrt() - self.delta**2, square)


@dataclass(frozen=True)
class PseudoHuber(Distance, name="pseudo-huber"):
    """`huber` without its corner: 2 c (sqrt(square + c²) - c).

    Source: Charbonnier et al. (1997); Song & Dhariwal (2023), equation 8, whose c is 0.00054 in these units.
    """

    c: float = 0.1

    def __post_init__(self) -> None:
        require(self.c > 0, f"pseudo-huber: c > 0, got {self.c} (errors well below c count by their square).")

    def __call__(self, square: Tensor) -> Tensor:
        return 2 * self.c * square / ((square + self.c**2).sqrt() + self.c)
