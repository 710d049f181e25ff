"""Where sampling starts from, whatever goes on from there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.numerics import exact
from obverse.path import Level


def fresh(
    level: Level,
    shape: Sequence[int],
    *,
    seed: int,
    samples: Sequence[int] | None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """sigma eps, the first state of a run that begins at a level; arguments as of `sample`."""
    eps = noise.normal(shape, seed=seed, purpose="start", samples=samples, dtype=dtype, device=device)
    return eps * float(exact(level.sigma))
