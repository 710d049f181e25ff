"""Files of arrays: .npy, .npz, .safetensors and IDX.

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

from obverse.data.archives import HEADER, past_header
from obverse.data.arrays import PICKLED, Array, data_set, from_array
from obverse.data.damage import decoding, in_words, printable, refuse_bomb
from obverse.data.dataset import Dataset
from obverse.data.rows import MAPPED
from obverse.ground.errors import DataError, UnknownName

_VALUE_KEYS, _LABEL_KEYS = ("x", "data", "images", "arr_0"), ("y", "label", "labels")
_IDX = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# fmt: off
_SAFE = {"BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
         "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8"}
# fmt: on


def read_npy(path: Path, damaged: str) -> Dataset:
    """A .npy file; the header is checked against the size of the file before anything is read."""
    with decoding(printable(path)):
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise _reason(printable(path), error) from error
    return data_set(array, None, printable(path.name), damaged, mapped=array.nbytes > MAPPED)


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
    data = data_set(values, labels, printable(path.name), damaged, mapped=mapped)
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
    return data_set(values, labels, printable(path.name), damaged, mapped=values.nbytes > MAPPED)


def read_idx(path: Path, name: str, damaged: str, classes: tuple[str, ...] = ()) -> Dataset:
    """An IDX file, packed or not; labels are taken from the file beside it whose name says labels-idx1."""
    labels = None
    beside = path.name.replace("images-idx3", "labels-idx1").removesuffix(".gz")
    for other in (path.with_name(beside), path.with_name(beside + ".gz")):
        if labels is None and "images-idx3" in path.name and other.is_file():
            labels = _idx(other)
    data = from_array(_idx(path), labels, name=name, damaged=damaged)
    return replace(data, classes=classes) if len(classes) == len(data.classes) else data


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
        begin = entry.header_offset + past_header(file.read(HEADER.size), where)
        file.seek(begin)
        shape, fortran, dtype = _npy_header(file)
        offset = file.tell()
        if dtype.hasobject:
            raise DataError(f"{where} {PICKLED}.")
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
        return DataError(f"{where} {PICKLED}.")
    if any(word in text for word in ("mmap length", "EOF", "empty", "No data left")):
        return DataError(f"{where} is truncated: it is shorter than its header says ({text}).")
    return DataError(f"{where} is not a NumPy file: {in_words(error)}.")


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
