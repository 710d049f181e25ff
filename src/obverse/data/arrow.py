"""Tables of Apache Arrow: Parquet files are unpacked column by column, Arrow files are mapped."""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from obverse.data.damage import Ledger, decoding, finite_rows, printable
from obverse.data.dataset import Dataset
from obverse.data.mixed import is_missing
from obverse.data.rows import MAPPED, Part, Rows
from obverse.data.tables import label_place, not_a_number, table_of
from obverse.ground import extras
from obverse.ground.errors import DataError

_SMALL = ("boolean", "int8", "uint8", "int16", "uint16", "float16", "float32")  # which float32 holds


def read_parquet(path: Path, damaged: str, label: str | None) -> Dataset:
    """A Parquet file; needs pyarrow."""
    parquet, arrow = extras.load("pyarrow.parquet", extra="data"), extras.load("pyarrow", extra="data")
    ledger, where = Ledger(damaged), printable(path)
    with decoding(where), parquet.ParquetFile(path) as file:
        names, kinds = file.schema_arrow.names, file.schema_arrow.types
        at = label_place(where, names, label)
        labels = [] if at is None else _labels(file.read([names[at]], use_threads=False).column(0))
        values = _unpacked(where, file, [name for place, name in enumerate(names) if place != at], _widest(kinds, at))
    arrow.default_memory_pool().release_unused()  # what columns have been unpacked into
    return table_of_arrow(path, names, at, values, labels, ledger)


def _unpacked(where: str, file: Any, names: list[str], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Columns of a Parquet file, side by side."""
    values = np.empty((file.metadata.num_rows, len(names)), dtype)
    for place, name in enumerate(names):
        row = 0
        for group in range(file.num_row_groups):  # one column of one group at a time, which bounds what is unpacked
            for piece in file.read_row_group(group, [name], use_threads=False).column(0).chunks:
                values[row : row + len(piece), place] = _numbers(where, name, piece)
                row += len(piece)
    return values


def read_arrow(path: Path, damaged: str, label: str | None) -> Dataset:
    """An Arrow file (.arrow, .feather); its columns are mapped if it is large and not compressed. Needs pyarrow."""
    ipc, arrow = extras.load("pyarrow.ipc", extra="data"), extras.load("pyarrow", extra="data")
    ledger, where = Ledger(damaged), printable(path)
    with decoding(where), path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        source = arrow.BufferReader(arrow.py_buffer(mapped))
        try:
            table = ipc.open_file(source).read_all()
        except arrow.ArrowInvalid:  # datasets and others write the format without a table of contents
            source.seek(0)
            table = ipc.open_stream(source).read_all()
        at, labels, rows = apart(where, table, label)
        rows.mapped = mapped
        values: Any = rows if path.stat().st_size > MAPPED else rows[:].numpy()
    return table_of_arrow(path, table.column_names, at, values, labels, ledger)


class Columns(Rows):
    """Rows of an Arrow table, whose columns stay where they are.

    Args:     where: what the table is called in an error.
              table: of pyarrow.
    """

    def __init__(self, where: str, table: Any) -> None:
        self.shape = (table.num_rows, table.num_columns)
        self._dtype = _widest(table.schema.types, None)
        pieces = [piece for piece in table.to_batches() if len(piece)]
        self._starts = np.cumsum([0, *map(len, pieces)])
        self._pieces = [
            [_numbers(where, name, piece.column(place)) for piece in pieces]
            for place, name in enumerate(table.column_names if pieces else ())
        ]
        self._columns = [_joined(column, self._starts) for column in self._pieces]

    def take(self, index: Tensor) -> Tensor:
        """See `Rows`."""
        wanted = index.numpy()
        values = np.empty((len(wanted), self.shape[1]), self._dtype)
        piece = self._starts.searchsorted(wanted, "right") - 1
        for place, (column, shifts) in enumerate(self._columns):
            values[:, place] = column[shifts[piece] + wanted]
        return torch.from_numpy(values)


def apart(where: str, table: Any, label: str | None) -> tuple[int | None, list[Any], Columns]:
    """Where the column of the class is in a table of pyarrow, what it holds, and the other columns."""
    at = label_place(where, table.column_names, label)
    labels = [] if at is None else _labels(table.column(at))
    return at, labels, Columns(where, table if at is None else table.remove_column(at))


def table_of_arrow(
    path: Path, names: list[str], at: int | None, values: Any, labels: list[Any], ledger: Ledger
) -> Dataset:
    """Rows with a missing or infinite number, or without a class, are damaged."""
    where = printable(path)
    keep = finite_rows(values, ledger, where, [name for place, name in enumerate(names) if place != at])
    for row, value in enumerate(labels):
        if keep[row] and is_missing(value):
            keep[row] = False
            ledger.drop(f"{where} row {row}", f"no class in column {names[at or 0]!r}, which holds {value!r}")
    words = [str(value) for value, kept in zip(labels, keep, strict=bool(labels)) if kept]
    if isinstance(values, np.ndarray):
        rows: Tensor | Rows = torch.from_numpy(values if keep.all() else values[keep])
    else:
        rows = values if keep.all() else Part(values, torch.from_numpy(np.flatnonzero(keep)))
    return table_of(path, names, at, rows, words, ledger)


def _widest(kinds: list[Any], at: int | None) -> np.dtype[Any]:
    """float32 if that holds every number of these columns of Arrow, else float64."""
    types = extras.load("pyarrow.types", extra="data")
    small = [getattr(types, f"is_{name}") for name in _SMALL]
    fits = all(any(test(kind) for test in small) for place, kind in enumerate(kinds) if place != at)
    return np.dtype(np.float32 if fits else np.float64)


def _joined(pieces: list[NDArray[Any]], starts: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Pieces of a column as one array, not copied if they are alike; what to add to a row's number for each piece.

    The array reaches from the first piece in memory to the last, whatever lies between them: that is never asked for.
    """
    begins = np.array([piece.ctypes.data for piece in pieces])
    first = pieces[begins.argmin()]
    places, odd = np.divmod(begins - begins.min(), first.itemsize)
    if odd.any() or any(piece.dtype != first.dtype for piece in pieces):
        return np.concatenate(pieces), np.zeros_like(starts)
    reach = int((places + np.diff(starts)).max())
    return np.lib.stride_tricks.as_strided(first, (reach,), writeable=False), places - starts[:-1]


def _labels(column: Any) -> list[Any]:
    """The classes of rows; those that are equal are one object, for there are few of them and many rows."""
    known: dict[Any, Any] = {}
    return [known.setdefault(value, value) for piece in column.chunks for value in piece.to_pylist()]


def _numbers(where: str, name: str, column: Any) -> NDArray[Any]:
    """One piece of a column of Arrow as numbers, where it lies if it can; a missing value is NaN."""
    types = extras.load("pyarrow.types", extra="data")
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if not any(test(kind) for test in (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean)):
        first = next((value for value in column.to_pylist() if value is not None), None)
        raise DataError(f"{where}: {not_a_number(name, first)}.")
    if types.is_boolean(kind):
        column = column.cast("uint8")
    if types.is_decimal(kind) or (column.null_count and not types.is_floating(kind)):
        column = column.cast("float64", safe=False)
    if column.null_count:
        column = column.fill_null(math.nan)
    return np.from_dlpack(column)  # to_numpy would import pandas, 44 MB
