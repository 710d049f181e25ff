"""Intervals without repeated rows: how much a number varies between halves of the sets it was measured on.

Half of n rows drawn without replacement differ from all n as much as n fresh rows differ from the truth; so the spread
over halves is the spread wanted. A bootstrap with replacement repeats rows, and a repeated row is its own nearest
neighbour: neighbourhoods shrink to points, and intervals of what counts them come out twice too wide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from obverse.ground.errors import require
from obverse.ground.noise import permutation

MIDDLE = (0.025, 0.975)  # of the values over halves: 95 %
SPLITS = 20  # of real data, for a floor: the mean of 20 varies about a quarter as much as one


def splits(rows: int, seed: int, count: int = SPLITS) -> Iterator[Tensor]:
    """Orders of real rows: the first ones of each take the place of samples beside the next ones."""
    return (permutation(rows, seed=seed, purpose="metric-floor", step=step) for step in range(count))


def interval(
    measure: Callable[[Tensor, Tensor], float | Tensor],
    sizes: tuple[int, int],
    value: float | Tensor,
    *,
    count: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """The middle 95 % of values over half of the rows of two sets, moved to have their mean at value.

    Args:     measure: what is measured, of the rows to use; two index tensors -> a number or a tensor.
              sizes: rows of the sets.
              value: what all rows give.
              count: how many halves, at least 2.
              seed: of which rows.
    Returns:  low and high, shaped like value.
    Source:   McCarthy (1969), for halves; Politis, Romano & Wolf (1999), chapter 2, for drawing without replacement.
    """
    require(count >= 2, f"bootstrap counts resamplings: expected >= 2, got {count} (100 is the default).")
    found = []
    for step in range(count):
        rows = [
            permutation(n, seed=seed, purpose=f"metric-half-{side}", step=step)[: n // 2]
            for side, n in enumerate(sizes)
        ]
        found.append(torch.as_tensor(measure(*rows), dtype=torch.float64))
    values = torch.stack(found)
    low, high = (values - values.mean(0)).quantile(torch.tensor(MIDDLE, dtype=torch.float64), dim=0)
    return value + low, value + high
