"""Mixed tables: numbers, categories and missing values as columns of numbers, and exactly back.

| column                | becomes                                               | comes back                    |
|-----------------------|-------------------------------------------------------|-------------------------------|
| numbers               | itself                                                | itself                        |
| whole numbers         | itself                                                | the nearest whole number      |
| words, true and false | a column of 0 and 1 each, or their rank ("ordinal")   | the largest, or nearest       |
| numbers, some missing | the mean in their place, and a column that is 1 there | nothing where that is > 1/2   |
| words, some missing   | nothing is a word too                                 | nothing                       |
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from obverse.ground.errors import DataError

MAX_LEVELS = 64  # more different words are text
FEW = 8  # rows of which each may have a word of its own
_MISSING = frozenset(("", "na", "n/a", "#n/a", "nan", "+nan", "-nan", "null", "none", "<na>"))
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_NOTHING = ("nan", "<NA>", "NaT")  # of NumPy and pandas, as they say themselves: not all of them compare
Cell = str | float | int | bool | None


@dataclass(frozen=True)
class Field:
    """One column as its owner knows it.

    Args:     name: its name.
              kind: "number", "whole", "one-hot" or "ordinal".
              levels: a category's words, "" for nothing.
              missing: whether a number may be missing.
    """

    name: str
    kind: str
    levels: tuple[str, ...] = ()
    missing: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What its columns of numbers are called."""
        if self.kind == "one-hot":
            return tuple(f"{self.name}={level}" for level in self.levels)
        return (self.name, f"{self.name} is missing") if self.missing else (self.name,)


@dataclass(frozen=True)
class Schema:
    """How a mixed table becomes numbers; kept with a model, so that its samples can come back as a table.

    Args:     fields: the columns in order.
    Example:
        >>> cells = {"sex": ["f", "m", None], "age": [3, None, 5]}
        >>> schema = Schema.of(cells)
        >>> schema.names
        ('sex=', 'sex=f', 'sex=m', 'age', 'age is missing')
        >>> schema.decode(schema.encode(cells)) == cells
        True
    """

    fields: tuple[Field, ...]

    @classmethod
    def of(cls, cells: Mapping[str, Sequence[Cell]], where: str = "table", ordinal: bool = False) -> Self:
        """The schema of a table.

        Args:     cells: for every column its values; NaN, None and words such as NA are missing.
                  ordinal: give categories their rank in the order of their words in place of a column each.
        Raises:   DataError naming the column that is text, or of which nothing is there.
        """
        return cls(tuple(_field(where, name, values, ordinal) for name, values in cells.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns of numbers are called."""
        return tuple(name for field in self.fields for name in field.names)

    def encode(self, cells: Mapping[str, Sequence[Cell]], means: Sequence[float] | None = None) -> NDArray[np.float64]:
        """A table as numbers; (N, columns).

        Args:     means: of every column of numbers, for what is missing: `scaling.shift` of the data that a model has
                    learnt; default those of these cells.
        Raises:   DataError for a word that the schema does not know.
        """
        starts = np.cumsum([0, *(len(field.names) for field in self.fields)])
        known = [None] * len(self.fields) if means is None else [means[start] for start in starts[:-1]]
        parts = [_encode(field, cells[field.name], mean) for field, mean in zip(self.fields, known, strict=True)]
        return np.concatenate(parts, axis=1)

    def decode(self, numbers: NDArray[Any]) -> dict[str, list[Cell]]:
        """Numbers as the nearest table: for every column its values, None where missing."""
        ends = np.cumsum([len(field.names) for field in self.fields])[:-1]
        parts = np.split(np.asarray(numbers, np.float64), ends, axis=1)
        return {field.name: _decode(field, part) for field, part in zip(self.fields, parts, strict=True)}

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values, for a JSON file."""
        return [{**asdict(field), "levels": list(field.levels)} for field in self.fields]

    @classmethod
    def from_json(cls, fields: Sequence[Mapping[str, Any]]) -> Self:
        """The schema that wrote this."""
        return cls(tuple(Field(**{**field, "levels": tuple(field["levels"])}) for field in fields))


def _field(where: str, name: str, values: Sequence[Cell], ordinal: bool) -> Field:
    there = [value for value in values if not is_missing(value)]
    if not there:
        raise DataError(f"{where}: nothing is there in column {name!r}; drop the column.")
    missing = len(there) < len(values)
    numbers = [_as_number(value) for value in there]
    if None not in numbers:
        endless = next((number for number in numbers if number is not None and math.isinf(number)), None)
        if endless is not None:
            raise DataError(f"{where}: column {name!r} holds {endless}; leave those rows out, or write NA.")
        whole = all(number is not None and number.is_integer() for number in numbers)
        return Field(name, "whole" if whole else "number", missing=missing)
    levels = sorted({_word(value) for value in there})
    comma = next(filter(without_comma, levels), None)
    if comma is not None and all(_as_number(level) is not None or without_comma(level) for level in levels):
        raise DataError(
            f"{where}: column {name!r} holds {comma!r}: {without_comma(comma)}; if it is a word, write it with another "
            "sign."
        )
    if len(levels) == len(there) > FEW:
        raise DataError(
            f"{where}: column {name!r} holds {len(levels)} different words such as {levels[0]!r}, as many words as "
            "rows: drop the column if it is text, which is not learnt from; if it is several columns, separate them by "
            ", ; tab or |."
        )
    if len(levels) > MAX_LEVELS:
        raise DataError(
            f"{where}: column {name!r} holds {len(levels)} different words such as {levels[0]!r}; more than "
            f"{MAX_LEVELS} are text, which is not learnt from: drop the column, or put its words into fewer groups."
        )
    return Field(name, "ordinal" if ordinal else "one-hot", ("", *levels) if missing else tuple(levels))


def _encode(field: Field, values: Sequence[Cell], mean: float | None) -> NDArray[np.float64]:
    if field.levels:
        place = {level: number for number, level in enumerate(field.levels)}
        words = ["" if is_missing(value) else _word(value) for value in values]
        strange = next((word for word in words if word not in place), None)
        if strange is not None:
            raise DataError(f"column {field.name!r} holds {strange!r}; known: {', '.join(field.levels)}.")
        ranks = np.array([place[word] for word in words])
        return np.eye(len(field.levels))[ranks] if field.kind == "one-hot" else ranks[:, None].astype(np.float64)
    numbers = np.array([math.nan if is_missing(value) else _as_number(value) for value in values], np.float64)
    if not field.missing:
        return numbers[:, None]
    absent = np.isnan(numbers)
    if mean is None:
        mean = numbers[~absent].mean() if not absent.all() else 0.0
    numbers[absent] = mean
    return np.stack([numbers, absent.astype(np.float64)], 1)


def _decode(field: Field, part: NDArray[np.float64]) -> list[Cell]:
    if field.levels:
        ranks = part.argmax(1) if field.kind == "one-hot" else part[:, 0].round().clip(0, len(field.levels) - 1)
        return [field.levels[int(rank)] or None for rank in ranks]
    numbers = part[:, 0].round().astype(object) if field.kind == "whole" else part[:, 0].astype(object)
    found: list[Cell] = [int(number) if field.kind == "whole" else float(number) for number in numbers]
    return [None if field.missing and row[1] > 0.5 else value for value, row in zip(found, part, strict=True)]


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing: None, NaN, what pandas puts in its place, or a word that means it."""
    if isinstance(value, str):
        return value.strip().casefold() in _MISSING
    return value is None or (math.isnan(value) if isinstance(value, float) else str(value) in _NOTHING)


def _as_number(value: Any) -> float | None:
    """A number, or None for a word; true and false are words."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, str) and "_" in value):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def without_comma(word: str) -> str:
    """What to do about a word such as 1,5 or 1,234.50; "" for one that is no number written with commas."""
    point, word = word.strip().replace(",", "."), word.strip()
    found = [point] if "," in word and _as_number(point) is not None else []
    found += [word.replace(",", "")] if _THOUSANDS.fullmatch(word) else []
    return f"write {' or '.join(found)} if that is a number" if found else ""


def _word(value: Any) -> str:
    return str(value).strip()
