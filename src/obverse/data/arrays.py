"""Arrays: .npy, .npz and IDX files, and the one rule that says what an array holds.

| dtype | shape                                                        | read as                           |
|-------|--------------------------------------------------------------|-----------------------------------|
| uint8 | (N, H, W); (N, H, W, C) or (N, C, H, W) with C in 1, 3, 4    | images                            |
| float | (N, H, W, C) with C in 1, 3, 4                               | images                            |
| any   | (N,) or (N, d)                                               | vectors, each column standardised |
| any   | (N, C, ...) otherwise, such as signals (N, C, L)             | arrays, each channel standardised |
"""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from obverse.data.damage import Ledger, decoding, finite_rows, printable, refuse_bomb
from obverse.data.dataset import Dataset, encode
from obverse.data.scaling import Scaling
from obverse.ground.errors import DataError, UnknownName

Array = NDArray[Any]

_CHANNELS = (1, 3, 4)
_RANGES = ((0, 1), (-1, 1), (0, 255))  # what float images are written in
_VALUE_KEYS, _LABEL_KEYS = ("x", "data", "images", "arr_0"), ("y", "label", "labels")
_IDX = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PICKLED = "holds Python objects, which are never unpickled; save one array of numbers (ragged rows: pad or crop them)"


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
    ledger = Ledger(damaged)
    with decoding(name):
        array, kind = _read_as(_plain(values), name)
    keep = finite_rows(array, ledger, name) if array.dtype.kind == "f" else np.ones(len(array), bool)
    ledger.require_samples(int(keep.sum()), name)
    numbers, classes = (None, ()) if labels is None else encode(_words(_plain(labels), len(array), keep, name))
    tensor = torch.from_numpy(np.array(array if keep.all() else array[keep], order="C"))
    scaling = _range_of(tensor, top) if kind == "images" else Scaling.standard(tensor)
    return Dataset(name, tensor, numbers, classes, scaling, tuple(ledger.entries), kind=kind)


def read_npy(path: Path, damaged: str) -> Dataset:
    """A .npy file; the header is checked against the size of the file before anything is read."""
    with decoding(printable(path)):
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise _reason(printable(path), error) from error
    return from_array(array, name=printable(path.name), damaged=damaged)


def read_npz(path: Path, damaged: str, label: str | None) -> Dataset:
    """A .npz file: values under x, data, images or arr_0 (or the only key), labels under y, label or labels."""
    where = printable(path)
    with decoding(where), zipfile.ZipFile(path) as archive:
        sizes = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    values_key, label_key = _keys(where, list(sizes), label)
    arrays = []
    for key in (values_key, label_key):
        if key is not None:
            refuse_bomb(f"{where}, array {key!r}", sizes[key].file_size, sizes[key].compress_size)
            arrays.append(_member(path, key))
    return from_array(*arrays, name=printable(path.name), damaged=damaged)


def read_idx(path: Path, name: str, damaged: str, classes: tuple[str, ...] = ()) -> Dataset:
    """An IDX file, packed or not; labels are taken from the file beside it whose name says labels-idx1."""
    labels = None
    beside = path.name.replace("images-idx3", "labels-idx1").removesuffix(".gz")
    for other in (path.with_name(beside), path.with_name(beside + ".gz")):
        if labels is None and "images-idx3" in path.name and other.is_file():
            labels = _idx(other)
    data = from_array(_idx(path), labels, name=name, damaged=damaged)
    return replace(data, classes=classes) if len(classes) == len(data.classes) else data


def _plain(values: ArrayLike | Tensor) -> Array:
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    array: Array = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return array


def _read_as(array: Array, where: str) -> tuple[Array, str]:
    """The table at the top of this file, channel-first, in uint8, float32 or float64."""
    if array.dtype.kind == "O":
        raise DataError(f"{where} {_PICKLED}.")
    if array.dtype.kind not in "biuf":
        raise DataError(f"{where} holds {array.dtype}, not real numbers (complex: stack real and imaginary parts).")
    if array.ndim == 0 or not math.prod(array.shape):
        raise DataError(f"{where} holds no samples: its shape is {array.shape}, (N, ...) is needed.")
    eight, floating = array.dtype == np.uint8, array.dtype.kind == "f"
    if eight and array.ndim == 3:
        return array[:, None], "images"
    if array.ndim == 4 and array.shape[-1] in _CHANNELS and (eight or floating):
        return np.moveaxis(array if eight else _floats(array), -1, 1), "images"
    if eight and array.ndim == 4 and array.shape[1] in _CHANNELS:
        return array, "images"
    array = _floats(array)
    return (array[:, None], "vectors") if array.ndim == 1 else (array, "vectors" if array.ndim == 2 else "arrays")


def _floats(array: Array) -> Array:
    """float32 if that holds every number of the dtype, else float64; in the machine's byte order."""
    exact = np.can_cast(array.dtype, np.float32)
    return array.astype(np.float32 if exact else np.float64, copy=False)


def _range_of(images: Tensor, top: float | None) -> Scaling:
    if images.dtype == torch.uint8:
        return Scaling.of_range(0, 255 if top is None else top)
    low, high = images.min().item(), images.max().item()
    return Scaling.of_range(*next((r for r in _RANGES if r[0] <= low and high <= r[1]), (low, high)))


def _words(labels: Array, count: int, keep: NDArray[np.bool_], where: str) -> list[str]:
    """Labels as class names: whole numbers or words, one for each sample."""
    if labels.dtype.kind == "f" and (labels == np.floor(labels)).all() and np.isfinite(labels).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "biuU":
        raise DataError(f"{where}: labels are whole numbers or words, got {labels.dtype}.")
    if labels.size != count or max(labels.shape, default=0) != count:
        raise DataError(f"{where}: {count} samples need as many labels, got shape {labels.shape}.")
    return [str(label) for label in labels.reshape(-1)[keep].tolist()]


def _keys(where: str, keys: list[str], label: str | None) -> tuple[str, str | None]:
    if label is not None and label not in keys:
        raise UnknownName(f"array in {where}", label, keys)
    label = label or next((key for key in _LABEL_KEYS if key in keys), None)
    rest = [key for key in keys if key != label]
    named = next((key for key in _VALUE_KEYS if key in rest), rest[0] if len(rest) == 1 else None)
    if named is None:
        raise DataError(f"{where} holds the arrays {', '.join(keys) or 'none'}: call the one to learn from 'x'.")
    return named, label


def _member(path: Path, key: str) -> Array:
    where = f"{printable(path)}, array {key!r}"
    with decoding(where), np.load(path, allow_pickle=False) as archive:
        try:
            return np.asarray(archive[key])
        except ValueError as error:
            raise _reason(where, error) from error


def _reason(where: str, error: ValueError) -> DataError:
    text = str(error)
    if "Object arrays" in text or "Python objects" in text:
        return DataError(f"{where} {_PICKLED}.")
    if "mmap length" in text or "EOF" in text or "empty" in text:
        return DataError(f"{where} is truncated: it is shorter than its header says ({text}).")
    return DataError(f"{where} is not a NumPy file: {text}.")


def _idx(path: Path) -> Array:
    where = printable(path)
    with decoding(where), (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        head = file.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX:
            raise DataError(f"{where} is not an IDX file: it starts with {head!r}.")
        shape = struct.unpack(f">{head[3]}I", file.read(4 * head[3]))
        dtype = np.dtype(_IDX[head[2]])
        size = math.prod(shape) * dtype.itemsize
        refuse_bomb(where, size, path.stat().st_size)
        payload = file.read(size + 1)
        if len(payload) != size:
            short = "truncated" if len(payload) < size else "longer than its header says"
            raise DataError(f"{where} is {short}: {size:,} bytes for shape {shape}.")
        return np.frombuffer(payload, dtype).reshape(shape)
