"""Estimates of the data kept within what data can be."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.model.model import Around, Call, Cond, Model
from obverse.path import Data, Level, Prediction, change


@dataclass(frozen=True)
class Clamped(Around):
    """A model whose data estimate is clamped to [low, high] (static thresholding).

    Source: Ho et al. (2020), reference code; Saharia et al. (2022), section 2.3.
    """

    model: Model
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InvalidArgument(f"Clamped needs low < high, got {self.low}, {self.high} (images: -1, 1).")

    @property
    def face(self) -> Prediction:  # type: ignore[override]
        """Data: that is what was clamped."""
        return Data()

    def at(self, level: Level, like: Tensor) -> Call:
        call = self.model.at(level, like)

        def clamped(x_t: Tensor, cond: Cond) -> Tensor:
            return change(call(x_t, cond), x_t, level, self.model.face, Data()).clamp(self.low, self.high)

        return clamped
