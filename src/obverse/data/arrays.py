"""Arrays: .npy, .npz, .safetensors and IDX files, and the one rule that says what an array holds.

| dtype | shape                                                        | read as                           |
|-------|--------------------------------------------------------------|-----------------------------------|
| uint8 | (N, H, W); (N, H, W, C) or (N, C, H, W) with C in 1, 3, 4    | images                            |
| float | (N, H, W, C) with C in 1, 3, 4                               | images                            |
| any   | (N,) or (N, d)                                               | vectors, each column standardised |
| any   | (N, C, ...) otherwise, such as signals (N, C, L)             | arrays, each channel standardised |

Arrays of more than 64 MB that lie in a file as they are stay there: they are mapped, and read row by row.
"""

from __future__ import annotations

import gzip
import json
import math
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from obverse.data.damage import Ledger, decoding, finite_rows, printable, refuse_bomb
from obverse.data.dataset import Dataset, encode
from obverse.data.rows import MAPPED, Mapped, Part, Rows, chunks, release
from obverse.data.scaling import Scaling
from obverse.ground.errors import DataError, UnknownName

Array = NDArray[Any]

_CHANNELS = (1, 3, 4)
_RANGES = ((0, 1), (-1, 1), (0, 255))  # what float images are written in
_VALUE_KEYS, _LABEL_KEYS = ("x", "data", "images", "arr_0"), ("y", "label", "labels")
_IDX = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_LOCAL = struct.Struct("<4s2xH18xHH")  # of a zip member's own header: magic, flags, lengths of name and extra
# fmt: off
_SAFE = {"BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
         "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8"}
# fmt: on
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
    with decoding(name):
        array, classes = _plain(values), None if labels is None else _plain(labels)
    return _data_set(array, classes, name, damaged, top)


def _data_set(
    array: Array, labels: Array | None, name: str, damaged: str, top: float | None = None, mapped: bool = False
) -> Dataset:
    """The rule, applied; an array that is not mapped is copied."""
    ledger = Ledger(damaged)
    with decoding(name):
        array, kind = _read_as(array, name)
    rows = Mapped(array, bytes_stay=kind == "images")
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


def read_npy(path: Path, damaged: str) -> Dataset:
    """A .npy file; the header is checked against the size of the file before anything is read."""
    with decoding(printable(path)):
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise _reason(printable(path), error) from error
    return _data_set(array, None, printable(path.name), damaged, mapped=array.nbytes > MAPPED)


def read_npz(path: Path, damaged: str, label: str | None) -> Dataset:
    """A .npz file: values under x, data, images or arr_0 (or the only key), labels under y, label or labels."""
    where = printable(path)
    with decoding(where), zipfile.ZipFile(path) as archive:
        sizes = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    values_key, label_key = _keys(where, list(sizes), label)
    for key in (values_key, label_key):
        if key is not None:
            refuse_bomb(f"{where}, array {key!r}", sizes[key].file_size, sizes[key].compress_size)
    large, stored = (getattr(sizes[values_key], name) for name in ("file_size", "compress_type"))
    mapped = large > MAPPED and stored == zipfile.ZIP_STORED
    values = _in_place(path, sizes[values_key]) if mapped else _member(path, values_key)
    labels = None if label_key is None else _member(path, label_key)
    data = _data_set(values, labels, printable(path.name), damaged, mapped=mapped)
    if large > MAPPED and not mapped:
        note = "compressed, so all of it was unpacked into memory; np.savez leaves it in the file"
        data = replace(data, notes=(*data.notes, note))
    return data


def read_safetensors(path: Path, damaged: str, label: str | None) -> Dataset:
    """A .safetensors file, with keys as a .npz; its arrays lie in it as they are."""
    from safetensors import safe_open

    where = printable(path)
    with decoding(where), safe_open(path, framework="numpy") as file:  # checks sizes, places and overlaps
        keys = list(file.keys())
    values_key, label_key = _keys(where, keys, label)
    with decoding(where), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = json.loads(file.read(length))
    if head[values_key]["dtype"] not in _SAFE:
        raise DataError(f"{where}, array {values_key!r} holds {head[values_key]['dtype']}; save it as F32 or F16.")
    values = _safe(path, head[values_key], 8 + length)
    labels = None if label_key is None else _safe(path, head[label_key], 8 + length)
    return _data_set(values, labels, printable(path.name), damaged, mapped=values.nbytes > MAPPED)


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
    """The table at the top of this file, channel-first; a view."""
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


def _in_place(path: Path, entry: zipfile.ZipInfo) -> Array:
    """An array of an uncompressed .npz, mapped where it lies."""
    where = f"{printable(path)}, array {entry.filename.removesuffix('.npy')!r}"
    with decoding(where), path.open("rb") as file:
        file.seek(entry.header_offset)
        head = file.read(_LOCAL.size)
        magic, flags, name, extra = _LOCAL.unpack(head)
        if magic != b"PK\3\4" or flags & 1:
            raise DataError(f"{where} is encrypted, or not where the file says.")
        file.seek(name + extra, 1)
        begin = file.tell()
        shape, fortran, dtype = _npy_header(file)
        offset = file.tell()
        if dtype.hasobject:
            raise DataError(f"{where} {_PICKLED}.")
        if offset - begin + math.prod(shape) * dtype.itemsize != entry.file_size:
            raise DataError(f"{where} is truncated: its size is not what its header says.")
        return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def _npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, dtype = read[np.lib.format.read_magic(file)](file)
    return shape, fortran, dtype


def _safe(path: Path, entry: dict[str, Any], begin: int) -> Array:
    dtype, shape = np.dtype(_SAFE[entry["dtype"]]), tuple(entry["shape"])
    return np.memmap(path, dtype, "r", begin + entry["data_offsets"][0], shape) if math.prod(shape) else np.empty(shape)


def _reason(where: str, error: Exception) -> DataError:
    text = str(error)
    if "Object arrays" in text or "Python objects" in text:
        return DataError(f"{where} {_PICKLED}.")
    if any(word in text for word in ("mmap length", "EOF", "empty", "No data left")):
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
