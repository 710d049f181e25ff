"""What the tests of paths share: a schedule of two methods, and how levels and slopes are compared."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from obverse.path import Level, Schedule

INSIDE = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)


class TwoMethods(Schedule):
    """What somebody writes who knows only alpha and sigma."""

    name = "two-methods"

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t**2

    def sigma(self, t: Tensor) -> Tensor:
        return t**2


def same(one: Level, two: Level, tolerance: float = 1e-12) -> bool:
    fields = ("t", "alpha", "sigma", "alpha_dot", "sigma_dot")
    return all(torch.allclose(getattr(one, f), getattr(two, f), rtol=tolerance, atol=tolerance) for f in fields)


def slope(f: Callable[[Tensor], Tensor], t: Tensor, h: float = 1e-5) -> Tensor:
    return (f(t + h) - f(t - h)) / (2 * h)
