"""The one place where batches, levels and data meet: nobody else reshapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    return per_row(values, like)


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """One value for each sample, whatever its dtype, shaped to stand beside data; (batch,) -> (batch 1 ... 1)."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def mean_of_rows(values: Tensor) -> Tensor:
    """The mean over everything but the batch; (batch *data) -> (batch)."""
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def bad_rows(values: Tensor) -> list[int]:
    """The rows with a number that is not finite; of (batch *data)."""
    bad: list[int] = (~values.isfinite()).reshape(len(values), -1).any(1).cpu().nonzero().flatten().tolist()
    return bad


def mapped(f: Callable[..., Tensor], cond: Any, *others: Any) -> Any:
    """A condition with something done to each of its tensors; or several of one structure, part by part.

    A condition is a tensor, a dict or a tuple of conditions, or None, which stays None: everywhere, and nothing else.

    Args:     f: called with a tensor of each.
              cond, others: conditions of one structure.
    Raises:   InvalidArgument for what is no condition, or for structures that are not the same.
    Example:
        >>> mapped(torch.neg, {"label": torch.tensor([1, 2]), "text": None})
        {'label': tensor([-1, -2]), 'text': None}
    """
    for other in others:
        if _parts(other) != _parts(cond):
            one, two = _parts(cond), _parts(other)
            raise InvalidArgument(f"Two conditions of one structure: {one} and {two} are not the same.")
    if cond is None:
        return None
    if isinstance(cond, Tensor):
        return f(cond, *others)
    if isinstance(cond, Mapping):
        return {key: mapped(f, value, *(other[key] for other in others)) for key, value in cond.items()}
    if isinstance(cond, tuple):
        return tuple(mapped(f, *parts) for parts in zip(cond, *others, strict=True))
    raise InvalidArgument(
        f"cond is a tensor, a dict or a tuple of tensors, or None; got {type(cond).__name__} (torch.as_tensor)."
    )


def _parts(cond: Any) -> Any:
    """The outermost structure of a condition."""
    if isinstance(cond, Mapping):
        return sorted(map(str, cond))
    kind = "a tensor" if isinstance(cond, Tensor) else str(None) if cond is None else type(cond).__name__
    return f"{len(cond)} parts" if isinstance(cond, tuple) else kind


def rows(cond: Any, index: Any) -> Any:
    """The asked rows of a condition; an index is on its device, or on the CPU."""
    return mapped(lambda part: part[index], cond)


def moved(cond: Any, device: torch.device) -> Any:
    """The same condition on another device."""
    return mapped(lambda part: part.to(device), cond)


def check_rows(cond: Any, count: int, what: str = "cond has one row for each sample") -> None:
    """Refuse a condition that has not one row for each sample."""

    def check(part: Tensor) -> Tensor:
        if part.shape[:1] != (count,):
            raise InvalidArgument(f"{what}: expected {count}, got {tuple(part.shape)}.")
        return part

    mapped(check, cond)


def check_floating(x: object, what: str = "A state", fix: str = "x.float()") -> None:
    """Refuse whole numbers: noise that is added, or what a network says of them, would be cut to whole numbers too."""
    if not (isinstance(x, Tensor) and x.is_floating_point() and x.ndim):
        got = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise InvalidArgument(f"{what} is a floating tensor (batch *data), got {got} ({fix}).")


def stack(first: Any, second: Any) -> Any:
    """Two conditions of one structure, one below the other."""

    def below(a: Tensor, b: Tensor) -> Tensor:
        if a.shape[1:] != b.shape[1:]:
            raise InvalidArgument(
                f"Two conditions, one below the other, have rows of one shape: {tuple(a.shape[1:])} and "
                f"{tuple(b.shape[1:])} are not the same (texts: pad both to one length)."
            )
        return torch.cat([a, b])

    return mapped(below, first, second)
