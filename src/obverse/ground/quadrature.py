"""Gauss and Legendre's quadrature: integrals of smooth functions, to rounding, from few places."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor


@cache
@torch.inference_mode(False)  # a later question may not be in it
def legendre(count: int) -> tuple[Tensor, Tensor]:
    """Places in (-1, 1) and weights that sum to 2: exact for polynomials below degree 2 count; float64 (count,)."""
    places, weights = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy(places), torch.from_numpy(weights)


def in_panels(low: float, high: float, width: float, count: int = 16) -> tuple[Tensor, Tensor]:
    """Places and weights from low to high, so many on each of panels that are no wider than that.

    Example:
        >>> places, weights = in_panels(0.0, 3.0, width=1.0)
        >>> round(float((weights * places.exp()).sum()), 12) == round(math.exp(3) - 1, 12)
        True
    """
    panels = max(1, math.ceil((high - low) / width))
    places, weights = legendre(count)
    half = (high - low) / panels / 2
    middles = low + half * (1 + 2 * torch.arange(panels, dtype=torch.float64))
    return (middles[:, None] + half * places).flatten(), (half * weights).repeat(panels)
