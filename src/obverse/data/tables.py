"""Tables: CSV files of numbers, one column of which may hold the class; what all readers of tables share."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from obverse.data.damage import Ledger, decoding, printable
from obverse.data.dataset import Dataset, encode
from obverse.data.mixed import is_missing, without_comma
from obverse.data.rows import Rows
from obverse.data.scaling import Scaling
from obverse.ground.errors import DataError, UnknownName

SEPARATORS = ",;\t|"  # no space: words have them
_OF_PANDAS = ("", "Unnamed: 0", "index", "__index_level_0__")  # its names for an index that has none


def read_csv(path: Path, damaged: str, label: str | None) -> Dataset:
    """A CSV file, separated by whichever of , ; tab | is most frequent in its first line.

    The first line names the columns if no cell of it is a number; else the columns are called "0", "1", ...
    """
    ledger, where = Ledger(damaged), printable(path)
    numbers, labels = array("d"), list[str]()
    with decoding(where), path.open(newline="", encoding="utf-8-sig") as file:
        lines = lines_of(file)
        first = next(lines, None)
        if first is None:
            raise DataError(f"{where} is empty: there is not a single line.")
        nameless = any(map(is_number, first[1]))
        if nameless:
            columns, lines = [str(place) for place in range(len(first[1]))], chain([first], lines)
        else:
            columns = [cell.strip() for cell in first[1]]
        at = label_place(where, columns, label)
        for number, cells in lines:
            reason = _take(cells, columns, at, numbers, labels)
            if reason and nameless and number == first[0]:
                reason += " (or is the first line one of names? Then no name of a column is a number)"
            if reason:
                ledger.drop(f"{where} line {number}", reason)
    values = torch.frombuffer(numbers, dtype=torch.float64) if numbers else torch.empty(0)
    width = len(columns) - (at is not None)
    notes = ("the first line is a row: it holds numbers, so the columns are called 0, 1 ...",) if nameless else ()
    return table_of(path, columns, at, values.reshape(-1, width) if width else values, labels, ledger, notes)


def table_of(
    path: Path,
    columns: list[str],
    at: int | None,
    values: Tensor | Rows,
    labels: list[str],
    ledger: Ledger,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """A data set of columns of numbers, one of which may be the class."""
    columns = [name for place, name in enumerate(columns) if place != at]
    if not columns:
        raise DataError(f"{printable(path)} has no column to learn from besides the class.")
    ledger.require_samples(len(values), printable(path))
    numbers, classes = (None, ()) if at is None else encode(labels)
    scaling, entries, notes = Scaling.standard(values), tuple(ledger.entries), (*notes, *counts_rows(columns))
    return Dataset(printable(path.name), values, numbers, classes, scaling, entries, tuple(columns), notes=notes)


def counts_rows(columns: Iterable[str]) -> tuple[str, ...]:
    """What to say about a column that may be the numbers of rows which pandas writes."""
    of_pandas = [name for name in columns if name in _OF_PANDAS]
    return tuple(f"column {name!r} is learnt as the others are; if it counts the rows, drop it" for name in of_pandas)


def lines_of(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line that is not blank."""
    first = file.readline()
    file.seek(0)
    reader, begins = csv.reader(file, delimiter=max(SEPARATORS, key=first.count), strict=True), 1
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
            begins = reader.line_num + 1
    except csv.Error as error:  # what follows would be one cell, or half of one
        raise ValueError(f"{error} in what begins at line {begins} (a quotation mark too many or too few?)") from error


def _take(cells: list[str], columns: list[str], at: int | None, numbers: array[float], labels: list[str]) -> str:
    """Adds one line to the numbers and labels, or says why not."""
    if len(cells) != len(columns):
        return f"{len(cells)} cells, but the first line has {len(columns)}"
    try:
        row = [_number(cell) for place, cell in enumerate(cells) if place != at]
    except ValueError:
        row = [math.nan]
    if not all(map(math.isfinite, row)):
        return next(_complaints(cells, columns, at))
    if at is not None:
        if is_missing(cells[at]):
            return f"no class in column {columns[at]!r}, which holds {cells[at]!r}"
        labels.append(cells[at].strip())
    numbers.extend(row)
    return ""


def _complaints(cells: list[str], columns: list[str], at: int | None) -> Iterator[str]:
    for place, (name, cell) in enumerate(zip(columns, cells, strict=True)):
        if place == at:
            continue
        if not cell.strip():
            yield f"column {name!r} is empty (a missing value; columns='mixed' learns them)"
        elif not is_number(cell):
            yield not_a_number(name, cell)
        elif not math.isfinite(float(cell)):
            yield f"column {name!r} is {cell.strip()}"


def not_a_number(name: str, cell: Any) -> str:
    """Why a cell is refused, and what to do."""
    learn = without_comma(str(cell)) or "learn its words with columns='mixed'"
    return (
        f"column {name!r} holds {cell!r}, which is not a number; {learn}, drop the column, or make it the class with "
        f"label={name!r}"
    )


def is_number(cell: str) -> bool:
    """Whether a cell is read as a number, finite or not."""
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> float:
    """As Python reads it, but for 1_000, which is more likely a code than a number."""
    if "_" in cell:
        raise ValueError(cell)
    return float(cell)


def label_place(where: str, columns: list[str], label: str | None) -> int | None:
    """Where the column of the class is."""
    twice = next((name for place, name in enumerate(columns) if name in columns[:place]), None)
    if twice is not None:
        raise DataError(f"{where} has two columns called {twice!r}; give every column a name of its own.")
    if label is None:
        return None
    if label not in columns:
        raise UnknownName(f"column of {where}", label, columns)
    return columns.index(label)
