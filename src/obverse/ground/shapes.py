"""The one place where batches, levels and data meet: nobody else reshapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact


def against(values: Tensor | float, like: Tensor) -> Tensor:
    """Numbers, one for all samples or one for each, ready to multiply data.

    Args:     values: () or (batch,), or already of the data's rank.
              like: the data; (batch *data).
    Returns:  the same numbers in the data's dtype and device; () or (batch 1 ... 1).
    Example:
        >>> against(torch.arange(2.0), torch.zeros(2, 3, 4)).shape
        torch.Size([2, 1, 1])
    """
    values = exact(values).to(like.device, like.dtype)
    if values.ndim in (0, like.ndim):
        return values
    if values.shape != like.shape[:1]:
        raise InvalidArgument(
            f"Levels are one for all samples or one for each: expected () or ({like.shape[0]},) for data of shape "
            f"{tuple(like.shape)}, got {tuple(values.shape)}."
        )
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def mean_of_rows(values: Tensor) -> Tensor:
    """The mean over everything but the batch; (batch *data) -> (batch)."""
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def rows(cond: Any, index: Any) -> Any:
    """The asked rows of a condition: a tensor, a mapping or a tuple of tensors, or None."""
    if cond is None:
        return None
    if isinstance(cond, Tensor):
        return cond[index]
    if isinstance(cond, Mapping):
        return {key: rows(value, index) for key, value in cond.items()}
    if isinstance(cond, tuple):
        return tuple(rows(value, index) for value in cond)
    raise InvalidArgument(f"cond is a tensor, a dict or a tuple of tensors, or None; got {type(cond).__name__}.")


def moved(cond: Any, device: torch.device) -> Any:
    """The same condition on another device."""
    if isinstance(cond, Mapping):
        return {key: moved(value, device) for key, value in cond.items()}
    if isinstance(cond, tuple):
        return tuple(moved(value, device) for value in cond)
    return cond.to(device) if isinstance(cond, Tensor) else cond


def check_rows(cond: Any, count: int, what: str = "cond has one row for each sample") -> None:
    """Refuse a condition that has not one row for each sample."""
    parts = cond.values() if isinstance(cond, Mapping) else cond if isinstance(cond, tuple) else (cond,)
    for part in parts:
        if isinstance(part, Tensor) and part.shape[:1] != (count,):
            raise InvalidArgument(f"{what}: expected {count}, got {tuple(part.shape)}.")


def stack(first: Any, second: Any) -> Any:
    """Two conditions of one structure, one below the other."""
    if isinstance(first, Mapping):
        if first.keys() != second.keys():
            raise InvalidArgument(f"Two conditions of one structure: {[*first]} and {[*second]} are not the same.")
        return {key: stack(value, second[key]) for key, value in first.items()}
    if isinstance(first, tuple):
        return tuple(stack(a, b) for a, b in zip(first, second, strict=True))
    return None if first is None else torch.cat([first, second])
