"""Tables: CSV and Parquet files of numbers, one column of which may hold the class."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from numpy.typing import NDArray

from obverse.data.damage import Ledger, decoding, finite_rows, printable
from obverse.data.dataset import Dataset, encode
from obverse.data.scaling import Scaling
from obverse.ground import extras
from obverse.ground.errors import DataError, UnknownName


def read_csv(path: Path, damaged: str, label: str | None) -> Dataset:
    """A CSV file, separated by whichever of , ; tab is most frequent in its first line.

    The first line names the columns if no cell of it is a number; else the columns are called "0", "1", ...
    """
    ledger, where = Ledger(damaged), printable(path)
    numbers, labels = array("d"), list[str]()
    with decoding(where), path.open(newline="", encoding="utf-8-sig") as file:
        lines = _lines(file)
        first = next(lines, None)
        if first is None:
            raise DataError(f"{where} is empty: there is not a single line.")
        if any(map(_is_number, first[1])):
            columns, lines = [str(place) for place in range(len(first[1]))], chain([first], lines)
        else:
            columns = [cell.strip() for cell in first[1]]
        at = _label_place(where, columns, label)
        for number, cells in lines:
            reason = _take(cells, columns, at, numbers, labels)
            if reason:
                ledger.drop(f"{where} line {number}", reason)
    return _table(path, columns, at, np.array(numbers), labels, ledger)


def read_parquet(path: Path, damaged: str, label: str | None) -> Dataset:
    """A Parquet file; needs pyarrow."""
    parquet = extras.load("pyarrow.parquet", extra="data")
    ledger, where = Ledger(damaged), printable(path)
    with decoding(where):
        table = parquet.read_table(path, partitioning=None)
        at = _label_place(where, table.column_names, label)
        pairs = zip(table.column_names, table.columns, strict=True)
        values = [_numbers(where, name, column) for place, (name, column) in enumerate(pairs) if place != at]
        labels = [] if at is None else table.column(at).to_pylist()
    array = np.stack(values, axis=1) if values else np.empty((table.num_rows, 0))
    keep = finite_rows(array, ledger, where, [name for place, name in enumerate(table.column_names) if place != at])
    for row, value in enumerate(labels):
        if value is None and keep[row]:
            keep[row] = False
            ledger.drop(f"{where} row {row}", f"no class in column {label!r}")
    names = [str(value) for value, kept in zip(labels, keep, strict=bool(labels)) if kept]
    return _table(path, table.column_names, at, array[keep], names, ledger)


def _table(
    path: Path, columns: list[str], at: int | None, values: NDArray[Any], labels: list[str], ledger: Ledger
) -> Dataset:
    columns = [name for place, name in enumerate(columns) if place != at]
    if not columns:
        raise DataError(f"{printable(path)} has no column to learn from besides the class.")
    ledger.require_samples(values.size, printable(path))
    tensor = torch.from_numpy(values.reshape(-1, len(columns)))
    numbers, classes = (None, ()) if at is None else encode(labels)
    scaling = Scaling.standard(tensor)
    return Dataset(printable(path.name), tensor, numbers, classes, scaling, tuple(ledger.entries), tuple(columns))


def _numbers(where: str, name: str, column: Any) -> NDArray[np.float64]:
    """One column of a Parquet file as float64; a missing value is NaN."""
    types = extras.load("pyarrow.types", extra="data")
    kind = column.type
    if not any(test(kind) for test in (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean)):
        first = next((value for value in column.to_pylist() if value is not None), None)
        raise DataError(f"{where}: {_not_a_number(name, repr(first))}.")
    if types.is_boolean(kind):
        column = column.cast("uint8")
    numbers: NDArray[np.float64] = column.cast("float64", safe=False).to_numpy()
    return numbers


def _lines(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line that is not blank."""
    first = file.readline()
    file.seek(0)
    reader = csv.reader(file, delimiter=max(",;\t", key=first.count))
    return ((reader.line_num, cells) for cells in reader if cells)


def _take(cells: list[str], columns: list[str], at: int | None, numbers: array[float], labels: list[str]) -> str:
    """Adds one line to the numbers and labels, or says why not."""
    if len(cells) != len(columns):
        return f"{len(cells)} cells, but the first line has {len(columns)}"
    try:
        row = [float(cell) for place, cell in enumerate(cells) if place != at]
    except ValueError:
        row = [math.nan]
    if not all(map(math.isfinite, row)):
        return next(_complaints(cells, columns, at))
    if at is not None:
        if not cells[at].strip():
            return f"no class in column {columns[at]!r}"
        labels.append(cells[at].strip())
    numbers.extend(row)
    return ""


def _complaints(cells: list[str], columns: list[str], at: int | None) -> Iterator[str]:
    for place, (name, cell) in enumerate(zip(columns, cells, strict=True)):
        if place == at:
            continue
        if not cell.strip():
            yield f"column {name!r} is empty (a missing value)"
        elif not _is_number(cell):
            yield _not_a_number(name, repr(cell))
        elif not math.isfinite(float(cell)):
            yield f"column {name!r} is {cell.strip()}"


def _not_a_number(name: str, value: str) -> str:
    return (
        f"column {name!r} holds {value}, which is not a number; drop the column, encode it as numbers, or make it the "
        f"class with label={name!r}"
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _label_place(where: str, columns: list[str], label: str | None) -> int | None:
    if label is None:
        return None
    if label not in columns:
        raise UnknownName(f"column of {where}", label, columns)
    return columns.index(label)
