"""Sets of samples: checked, as matrices, and compared row by row in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, NonFinite
from obverse.ground.shapes import bad_rows

ENTRIES = 2**24  # distances held at once: 128 MiB of float64


def pair(
    x: Tensor, y: Tensor, *, names: tuple[str, str] = ("x", "y"), least: int = 2, centred: bool = True
) -> tuple[Tensor, Tensor]:
    """Two sets as float64 matrices, checked, on the second one's device, centred at its mean.

    Args:     x, y: (n *data), (m *data).
              names: what the caller calls them, for the messages.
              least: the fewest rows a set may have.
              centred: at the mean of y, so that an offset costs no digits; False for what knows the origin.
    Raises:   InvalidArgument for too few rows, other data shapes, or whole numbers; NonFinite, naming the first row.
    """
    for name, values in zip(names, (x, y), strict=True):
        if not isinstance(values, Tensor):
            raise InvalidArgument(f"{name} is a floating-point tensor, got {type(values).__name__} (torch.as_tensor).")
        if not values.is_floating_point():
            raise InvalidArgument(f"{name} is a floating-point tensor, got {values.dtype} (convert: {name}.float()).")
        if values.ndim == 0 or len(values) < least or values.numel() == 0:
            raise InvalidArgument(
                f"{name} needs at least {least} samples, one a row, of at least one number; "
                f"got the shape {tuple(values.shape)}."
            )
        if bad := bad_rows(values):
            raise NonFinite(f"{name} holds a NaN or an infinity, first in row {bad[0]} of {len(values)}.")
    if x.shape[1:] != y.shape[1:]:
        raise InvalidArgument(
            f"{names[0]} and {names[1]} hold the same kind of data: got {tuple(x.shape[1:])} and {tuple(y.shape[1:])} "
            "for one sample (resize or reshape one of them)."
        )
    a = x.detach().to(y.device, torch.float64).reshape(len(x), -1)
    b = y.detach().double().reshape(len(y), -1)
    return (a - b.mean(0), b - b.mean(0)) if centred else (a, b)


def steps(rows: int, columns: int) -> Iterator[slice]:
    """Slices of the rows of a matrix, each of at most ENTRIES numbers or one row."""
    step = max(1, ENTRIES // columns)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def blocks(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Euclidean distances of rows of x (from a first one on) to all rows of y, a block at a time."""
    for rows in steps(len(x), len(y)):
        yield rows.start, torch.cdist(x[rows], y)


def total(f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """The sum of f(distance) over all pairs of rows."""
    return sum(float(f(distance).sum()) for _, distance in blocks(x, y))
