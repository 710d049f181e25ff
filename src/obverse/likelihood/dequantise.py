"""Discrete data made continuous, so that their likelihood means something (T64)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import require


def dequantised(x: Tensor, width: float = 1.0, *, seed: int = 0, samples: Sequence[int] | None = None) -> Tensor:
    """Each value moved evenly within its own interval, x + width (u - 1/2), u uniform in (0, 1).

    The mean log-density of points so moved, plus d log(width), is at most the log-probability of the discrete x: what
    `LogDensity.bits(width)` reports is an upper bound of the bits that coding x takes.

    Args:     x: discrete values at the middles of their intervals; (batch *data).
              width: between neighbouring values; 1 for whole numbers, 2/255 for bytes scaled to [-1, 1].
              seed, samples: whose draws; samples default 0, 1, 2 ...
    Returns:  float64; (batch *data).
    Raises:   InvalidArgument for a width that is not above 0, what is no tensor.
    Example:
        >>> import torch
        >>> x = dequantised(torch.tensor([[3.0, 4.0]]))
        >>> bool(((x - torch.tensor([[3.0, 4.0]])).abs() < 0.5).all())
        True

    Source:   Theis et al. (2016), section 3.1.
    """
    require(isinstance(x, Tensor), f"x is a tensor, (batch *data), got {type(x).__name__} (torch.as_tensor).")
    require(width > 0, f"width is the distance of neighbouring values, above 0; got {width} (whole numbers: 1).")
    u = noise.uniform(x.shape, seed=seed, purpose="dequantise", samples=samples).to(x.device)
    return x.double() + width * (u - 0.5)
