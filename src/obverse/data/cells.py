"""Mixed tables from files and from memory; `data.mixed` says how they become numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from obverse.data.damage import Ledger, decoding, printable
from obverse.data.dataset import Dataset, encode
from obverse.data.mixed import Schema, is_missing
from obverse.data.scaling import Scaling
from obverse.data.tables import counts_rows, is_number, label_place, lines_of
from obverse.ground import extras
from obverse.ground.errors import DataError

_NAMED = 5  # columns of words that a summary names


def read_mixed(path: Path, damaged: str, label: str | None, ordinal: bool) -> Dataset:
    """A table of numbers, categories and missing values; see `data.mixed`."""
    ledger, where = Ledger(damaged), printable(path)
    of_text = path.suffix.lower() in (".csv", ".tsv")
    names, places, cells = _cells_of_csv(path, ledger) if of_text else _cells_of_arrow(path)
    at, words = label_place(where, names, label), None
    columns = dict(zip(names, cells, strict=True))
    if at is not None:
        told, keep = columns.pop(names[at]), list[int]()
        for row, cell in enumerate(told):
            if is_missing(cell):
                ledger.drop(f"{where} {places[row]}", f"no class in column {names[at]!r}, which holds {cell!r}")
            else:
                keep.append(row)
        columns = {name: [values[row] for row in keep] for name, values in columns.items()}
        words = [str(told[row]).strip() for row in keep]
    data = from_columns(columns, words, name=printable(path.name), where=where, ordinal=ordinal, ledger=ledger)
    odd = next((name for name in names if is_number(name)), None)
    note = f"the first line names the columns, {odd!r} too; if it is a row, put a line of names above it"
    return data if odd is None else replace(data, notes=(*data.notes, note))


def from_columns(
    columns: Mapping[str, Sequence[Any]],
    labels: Sequence[Any] | None = None,
    *,
    name: str = "table",
    where: str = "",
    ordinal: bool = False,
    ledger: Ledger | None = None,
) -> Dataset:
    """A data set from a table in memory with numbers, categories and missing values, such as a DataFrame.

    Args:     columns: by name; `{name: frame[name] for name in frame}` of a DataFrame.
              labels: classes; (N).
              name, where: what to call it, and in messages.
              ordinal: ranks in place of a column of 0 and 1 for every word.
    Returns:  a data set whose `schema` brings samples back: `data.schema.decode(data.scaling.undo(x).numpy())`.
    Raises:   DataError for text, naming the column.
    Example:
        >>> data = from_columns({"sex": ["f", "m", "m"], "age": [3.5, None, 5]})
        >>> data.columns, data.shape
        (('sex=f', 'sex=m', 'age', 'age is missing'), (4,))
    """
    ledger = ledger or Ledger("refuse")
    if not columns:
        raise DataError(f"{where or name} has no column to learn from besides the class.")
    ledger.require_samples(len(next(iter(columns.values()))), where or name)
    schema = Schema.of(columns, where or name, ordinal)
    values = torch.from_numpy(schema.encode(columns))
    numbers, classes = (None, ()) if labels is None else encode(map(str, labels))
    holes = sum(field.missing or "" in field.levels for field in schema.fields)
    notes = [f"{holes} columns with missing values, which are learnt too"] if holes else []
    words = [f"{field.name!r} ({len(field.levels)})" for field in schema.fields if field.levels]
    notes += [f"learnt as words: {', '.join(words[:_NAMED])}{' ...' * (len(words) > _NAMED)}"] if words else []
    notes += counts_rows(columns)
    entries, scaling = tuple(ledger.entries), Scaling.standard(values)
    return Dataset(name, values, numbers, classes, scaling, entries, schema.names, notes=tuple(notes), schema=schema)


def _cells_of_csv(path: Path, ledger: Ledger) -> tuple[list[str], list[str], list[list[Any]]]:
    """The names of columns, the places of rows in words, the columns."""
    where = printable(path)
    with decoding(where), path.open(newline="", encoding="utf-8-sig") as file:
        lines = list(lines_of(file))
    if not lines:
        raise DataError(f"{where} is empty: there is not a single line.")
    names = [cell.strip() for cell in lines[0][1]]
    places, rows = list[str](), list[list[str]]()
    for number, cells in lines[1:]:
        if len(cells) == len(names):
            places.append(f"line {number}")
            rows.append(cells)
        else:
            ledger.drop(f"{where} line {number}", f"{len(cells)} cells, but the first line has {len(names)}")
    ledger.require_samples(len(rows), where)
    return names, places, [list(column) for column in zip(*rows, strict=True)]


def _cells_of_arrow(path: Path) -> tuple[list[str], list[str], list[list[Any]]]:
    """See `_cells_of_csv`."""
    parquet, feather = extras.load("pyarrow.parquet", extra="data"), extras.load("pyarrow.feather", extra="data")
    with decoding(printable(path)):
        if path.suffix.lower() == ".parquet":
            with parquet.ParquetFile(path) as file:
                table = file.read()
        else:
            table = feather.read_table(path)
        places = [f"row {row}" for row in range(table.num_rows)]
        return table.column_names, places, [column.to_pylist() for column in table.columns]
