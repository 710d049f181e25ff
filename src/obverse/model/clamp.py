"""Estimates of the data kept within what data can be (thresholding): what samplers do that is not linear."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from obverse.ground.errors import require
from obverse.ground.shapes import per_row
from obverse.model.model import Around, Call, Cond, Model
from obverse.path import Data, Level, Prediction, change


class Thresholded(Around):
    """A model whose data estimate is changed, number by number or sample by sample, before anything else sees it."""

    model: Model

    @abstractmethod
    def threshold(self, data: Tensor) -> Tensor:
        """The data estimate within bounds; (batch *data)."""

    @property
    def face(self) -> Prediction:  # type: ignore[override]
        """Data: that is what was changed."""
        return Data()

    def at(self, level: Level, like: Tensor) -> Call:
        return self._within(level, self.model.at(level, like))

    def along(self, levels: Level, like: Tensor) -> list[Call]:
        calls = self.model.along(levels, like)
        return [self._within(levels[k], call) for k, call in enumerate(calls)]

    def _within(self, level: Level, call: Call) -> Call:
        def within(x_t: Tensor, cond: Cond) -> Tensor:
            return self.threshold(change(call(x_t, cond), x_t, level, self.model.face, Data()))

        return within


@dataclass(frozen=True)
class Clamped(Thresholded):
    """A model whose data estimate is clamped to [low, high] (static thresholding).

    Source: Ho et al. (2020), reference code; Saharia et al. (2022), section 2.3.
    """

    model: Model
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        require(self.low < self.high, f"Clamped needs low < high, got {self.low}, {self.high} (images: -1, 1).")

    def threshold(self, data: Tensor) -> Tensor:
        return data.clamp(self.low, self.high)


@dataclass(frozen=True)
class Dynamic(Thresholded):
    """A model whose data estimate is clamped to a bound of each sample's own, then scaled back (dynamic thresholding).

    s = max(bound, quantile of |x| over the sample); x -> clamp(x, -s, s) bound / s. Keeps strong guidance from
    saturating images; for data in [-bound, bound] only: anything wider is silently squeezed.
    Source: Saharia et al. (2022), section 2.3.
    """

    model: Model
    quantile: float = 0.995  # Saharia et al., appendix
    bound: float = 1.0

    def __post_init__(self) -> None:
        require(0 < self.quantile <= 1, f"Dynamic needs 0 < quantile <= 1, got {self.quantile} (images: 0.995).")
        require(self.bound > 0, f"Dynamic needs bound > 0, got {self.bound} (images in [-1, 1]: 1).")

    def threshold(self, data: Tensor) -> Tensor:
        sizes = data.abs().flatten(1)
        place = min(sizes.shape[1], max(1, round(self.quantile * sizes.shape[1])))  # torch.quantile stops at 16M
        limit = per_row(sizes.kthvalue(place, dim=1).values.clamp(min=self.bound), data)
        return data.clamp(-limit, limit) * (self.bound / limit)
