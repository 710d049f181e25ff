"""Classifier-free guidance, the same in every face (T54)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.shapes import check_rows, moved, rows, stack
from obverse.model import Around, Call, Cond, Model, check_model
from obverse.nets import drop
from obverse.path import Level, join

_UNKNOWN = (
    "The network does not know the hidden condition (label -1, NaN rows) that guidance compares with: give the one it "
    "was trained with, Guided(model, scale, null=torch.tensor([1000])) where label 1000 means none."
)


@dataclass(frozen=True)
class Guided(Around):
    """A conditional model pushed away from what it believes unconditionally: o_null + scale (o_cond - o_null).

    The weights sum to 1, so every face gives the same guided estimate. One call of twice the batch.

    Args:     model: trained with its condition dropped now and then.
              scale: 1 = no guidance, above 1 = more typical of the condition, 0 = unconditional.
              null: the condition that means none, one row; default: hidden rows (label -1, NaN), as the networks here
                  are trained.
    Raises:   InvalidArgument for a scale that is no finite number, a null of other than one row, what is no model.
    Source:   Ho & Salimans (2022), equation 6 with w = scale - 1.
    """

    model: Model
    scale: float
    null: Cond = None

    def __post_init__(self) -> None:
        check_model(self.model)
        one = isinstance(self.scale, Real) or (isinstance(self.scale, Tensor) and self.scale.ndim == 0)
        if not one or not math.isfinite(self.scale):
            raise InvalidArgument(f"guidance scale is a finite number (1 = none, 2-4 usual), got {self.scale!r}.")
        check_rows(self.null, 1, "null has one row, for all samples")

    @property
    def passes(self) -> int:
        """Twice the model's."""
        return 2 * self.model.passes

    def at(self, level: Level, like: Tensor) -> Call:
        twice = level if torch.as_tensor(level.t).ndim == 0 else join(level, level)
        return self._guided(self.model.at(twice, torch.cat([like, like])), moved(self.null, like.device))

    def along(self, levels: Level, like: Tensor) -> list[Call]:
        null = moved(self.null, like.device)
        return [self._guided(call, null) for call in self.model.along(levels, torch.cat([like, like]))]

    def _guided(self, call: Call, given: Cond) -> Call:
        def guided(x_t: Tensor, cond: Cond) -> Tensor:
            if cond is None:
                raise InvalidArgument("Guidance needs a condition to be guided towards: pass cond=...")
            everyone = torch.ones(len(x_t), dtype=torch.bool, device=x_t.device)
            null = drop(cond, everyone) if given is None else rows(given, everyone.long() * 0)
            try:
                with_cond, without = call(torch.cat([x_t, x_t]), stack(cond, null)).chunk(2)
            except IndexError as error:
                if given is None:
                    call(torch.cat([x_t, x_t]), stack(cond, cond))  # fails again where the condition itself is wrong
                    raise InvalidArgument(_UNKNOWN) from error
                raise
            return without + self.scale * (with_cond - without)

        return guided
