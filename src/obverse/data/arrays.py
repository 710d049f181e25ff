"""Arrays, and the one rule that says what they hold.

| dtype | shape                                                        | read as                           |
|-------|--------------------------------------------------------------|-----------------------------------|
| uint8 | (N, H, W); (N, H, W, C) or (N, C, H, W) with C in 1, 3, 4    | images                            |
| other | (N, H, W, C) with C in 1, 3, 4                               | images                            |
| any   | (N,) or (N, d)                                               | vectors, each column standardised |
| any   | (N, C, ...) otherwise, such as signals (N, C, L)             | arrays, each channel standardised |
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from obverse.data.damage import Ledger, decoding, finite_rows
from obverse.data.dataset import Dataset, encode
from obverse.data.rows import Mapped, Part, Rows, chunks, release
from obverse.data.scaling import Scaling
from obverse.ground.errors import DataError

Array = NDArray[Any]

_CHANNELS = (1, 3, 4)
_RANGES = ((0, 1), (-1, 1), (0, 255))  # what images of other numbers than bytes are written in
PICKLED = "holds Python objects, which are never unpickled; save one array of numbers (ragged rows: pad or crop them)"


def from_array(
    values: ArrayLike | Tensor,
    labels: ArrayLike | Tensor | None = None,
    *,
    name: str = "array",
    damaged: str = "refuse",
    top: float | None = None,
) -> Dataset:
    """A data set from numbers in memory, by the same rule as from a file (see the table above).

    Args:     values: finite numbers; (N), (N, d), (N, H, W, C), (N, C, L) ...
              labels: classes, whole numbers or words; (N).
              name: what to call it.
              damaged: "refuse" rows with NaN or infinity, or "skip" and count them.
              top: the value of white in images of bytes (default 255).
    Raises:   DataError for what cannot be learnt from.
    Example:
        >>> from_array([[0.0, 5.0], [2.0, 5.0]], labels=["a", "b"]).rows(torch.tensor([1]))
        Batch(x=tensor([[1., 0.]]), label=tensor([1]), index=tensor([1]), step=0, rows=tensor([0]))
    """
    with decoding(name):
        array, classes = _plain(values), None if labels is None else _plain(labels)
    return data_set(array, classes, name, damaged, top)


def data_set(
    array: Array, labels: Array | None, name: str, damaged: str, top: float | None = None, mapped: bool = False
) -> Dataset:
    """The rule, applied; an array that is not mapped is copied."""
    ledger = Ledger(damaged)
    with decoding(name):
        array, kind = _read_as(array, name)
    rows = Mapped(array, bytes_stay=kind == "images" and array.dtype == np.uint8)
    keep = finite_rows(rows, ledger, name) if array.dtype.kind == "f" else np.ones(len(array), bool)
    ledger.require_samples(int(keep.sum()), name)
    numbers, classes = (None, ()) if labels is None else _classes(labels, len(array), keep, name)
    values: Tensor | Rows = rows if mapped else rows[:]
    if not keep.all():
        kept = torch.from_numpy(np.flatnonzero(keep))
        values = Part(values, kept) if mapped else values[kept]
    scaling = _range_of(values, top) if kind == "images" else Scaling.standard(values)
    release(rows)
    return Dataset(name, values, numbers, classes, scaling, tuple(ledger.entries), kind=kind)


def _plain(values: ArrayLike | Tensor) -> Array:
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    array: Array = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return array


def _read_as(array: Array, where: str) -> tuple[Array, str]:
    """The table at the top of this file, channel-first; a view."""
    if array.dtype.kind == "O":
        raise DataError(f"{where} {PICKLED}.")
    if array.dtype.kind not in "biuf":
        raise DataError(f"{where} holds {array.dtype}, not real numbers (complex: stack real and imaginary parts).")
    if array.ndim == 0 or not math.prod(array.shape):
        raise DataError(f"{where} holds no samples: its shape is {array.shape}, (N, ...) is needed.")
    eight = array.dtype == np.uint8
    if eight and array.ndim == 3:
        return array[:, None], "images"
    if array.ndim == 4 and array.shape[-1] in _CHANNELS:
        return np.moveaxis(array, -1, 1), "images"
    if eight and array.ndim == 4 and array.shape[1] in _CHANNELS:
        return array, "images"
    return (array[:, None], "vectors") if array.ndim == 1 else (array, "vectors" if array.ndim == 2 else "arrays")


def _range_of(images: Tensor | Rows, top: float | None) -> Scaling:
    ends = [(chunk.min(), chunk.max()) for chunk in chunks(images)] if images[:1].is_floating_point() else []
    if not ends:
        return Scaling.of_range(0, 255 if top is None else top)
    low, high = min(float(low) for low, _ in ends), max(float(high) for _, high in ends)
    return Scaling.of_range(*next((r for r in _RANGES if r[0] <= low and high <= r[1]), (low, high)))


def _classes(labels: Array, count: int, keep: NDArray[np.bool_], where: str) -> tuple[Tensor, tuple[str, ...]]:
    """Labels as classes: whole numbers or words, one for each sample."""
    if labels.dtype.kind == "f" and (labels == np.floor(labels)).all() and np.isfinite(labels).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "biuU":
        raise DataError(f"{where}: labels are whole numbers or words, got {labels.dtype}.")
    if labels.size != count or max(labels.shape, default=0) != count:
        raise DataError(f"{where}: {count} samples need as many labels, got shape {labels.shape}.")
    levels, place = np.unique(labels.reshape(-1)[keep], return_inverse=True)
    order, names = encode(map(str, levels.tolist()))
    return order[torch.from_numpy(place)], names
