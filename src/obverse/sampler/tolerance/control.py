"""How long a step is: each sample for itself, and the same bits whatever its neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.numerics import precise

LANES = 64  # vectorised functions treat the tail of a tensor otherwise than its body; so there is no tail


@dataclass(frozen=True)
class Controller:
    """Proportional-integral control of steps: next = step x safety x e^(-(1 - 3/4 m) / k) x last e^(m / k).

    Args:     order: k, by which power of the step the error of a step grows.
              memory: m, how much of the error before counts; runs of few steps are best with little.
              safety, least, most: of the factor.
    Source:   Gustafsson (1991); Hairer, Norsett & Wanner (1993), section II.4, for the numbers.
    """

    order: float
    memory: float = 0.1
    safety: float = 0.9
    least: float = 0.2
    most: float = 5.0

    def factor(self, ratio: Tensor, last: Tensor) -> Tensor:
        """What a step is multiplied by.

        Args:     ratio: its error over the tolerance; above 1 it was refused; (batch,).
                  last: the ratio of the step before, 1 where there was none.
        """
        ratio, last = ratio.clamp(min=1e-10), last.clamp(min=1e-3)
        now, then = (1 - 0.75 * self.memory) / self.order, self.memory / self.order
        good = wide(lambda e, before: e**-now * before**then, ratio, last)
        bad = wide(lambda e: e ** (-1 / self.order), ratio)
        refused = (self.safety * bad).clamp(self.least, self.safety)
        return torch.where(ratio > 1, refused, (self.safety * good).clamp(self.least, self.most))


def wide(f: Callable[..., Tensor], *columns: Tensor) -> Tensor:
    """A function of numbers, one for each sample, whose bits do not depend on where they stand."""
    count = len(columns[0])
    return f(*(padded(column) for column in columns))[:count]


def padded(column: Tensor) -> Tensor:
    """The same numbers, the last repeated until there is no tail."""
    return torch.cat([column, column[-1:].expand(-len(column) % LANES, *column.shape[1:])])


def size(values: Tensor) -> Tensor:
    """Root mean square of each row, float64 on the CPU, summed in one fixed order; (batch *data) -> (batch,)."""
    rows = values.to(precise(values.device)).flatten(1).double() ** 2
    count = rows.shape[1]
    rows = torch.nn.functional.pad(rows, (0, 2 ** math.ceil(math.log2(count)) - count))
    while rows.shape[1] > 1:
        half = rows.shape[1] // 2
        rows = rows[:, :half] + rows[:, half:]
    return (rows[:, 0] / count).sqrt().cpu()
