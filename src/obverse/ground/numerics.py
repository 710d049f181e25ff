"""Elementary functions of plain floats and tensors alike, with their limits taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

Number: TypeAlias = Any  # a float or a Tensor: one arithmetic, which a union type would forbid to mix
NARROW = {"mps"}  # devices without float64


def exact(x: Number) -> Tensor:
    """The number as a float64 tensor, where it is `precise`: torch would make a plain float a float32."""
    if isinstance(x, Tensor) and x.device.type in NARROW:
        x = x.cpu()
    return torch.as_tensor(x, dtype=torch.float64)


def precise(device: torch.device | str | None) -> torch.device:
    """Where what is to be exact is computed for a device: there, or on the CPU where it has no float64 (Apple's)."""
    place = torch.device("cpu" if device is None else device)
    return torch.device("cpu") if place.type in NARROW else place


def fastest(dtype: torch.dtype = torch.float32) -> torch.device:
    """Where networks of a dtype compute fastest here: on a GPU of any kind that has it, or else on the CPU."""
    # torch for CUDA names a GPU where there is none, and torch 2.6 raises
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return torch.device("cpu") if found is None else precise(found) if dtype == torch.float64 else found


def log(x: Number) -> Number:
    """Natural logarithm; -inf at 0."""
    if isinstance(x, Tensor):
        return x.log()
    return math.log(x) if x > 0 else -math.inf


def atan2(y: Number, x: Number) -> Number:
    """Angle of the point (x, y)."""
    if isinstance(x, Tensor) or isinstance(y, Tensor):
        return torch.atan2(exact(y), exact(x))
    return math.atan2(y, x)


def divide(a: Number, b: Number) -> Number:
    """a / b, infinite where b is 0."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return torch.where(exact(b) == 0, torch.copysign(exact(math.inf), exact(a)), exact(a) / b)
    return a / b if b else math.copysign(math.inf, a)


def magnitude(x: Number) -> Number:
    """|x|."""
    return x.abs() if isinstance(x, Tensor) else abs(x)


def finite(x: Number) -> bool:
    """Whether there is no NaN and no infinity."""
    return bool(x.isfinite().all()) if isinstance(x, Tensor) else math.isfinite(x)


def zero_somewhere(x: Number) -> bool:
    """Whether any entry is exactly 0."""
    return bool((x == 0).any()) if isinstance(x, Tensor) else x == 0


def bisect(f: Callable[[Tensor], Tensor], target: Tensor, low: float, high: float, rounds: int = 80) -> Tensor:
    """Where a falling function takes the target values.

    Args:     f: falling, of a float64 tensor.
              target: values between f(high) and f(low).
              low, high: the bracket.
              rounds: halvings; 80 exhaust float64 on any bracket used here.
    """
    a, b = torch.full_like(target, low), torch.full_like(target, high)
    for _ in range(rounds):
        middle = (a + b) / 2
        above = f(middle) > target
        a, b = torch.where(above, middle, a), torch.where(above, b, middle)
    return (a + b) / 2
