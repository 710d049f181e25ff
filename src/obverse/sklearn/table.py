"""What is known of a table: its columns' scales, those that never vary, and the kind of frame it came in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from obverse.data import Dataset, Scaling
from obverse.ground import extras

SURE = 4  # roundings of all columns together below which what one adds to the others is nothing
COPY = 1e-12  # 1 - |correlation| below which one column is another one, scaled


@dataclass(frozen=True)
class Table:
    """Rows to the units of the network and back.

    Args:     varying: the columns that have a density.
              scaling: theirs, to mean 0 and deviation 1.
              first: the first row, which holds the value of the others.
    """

    varying: NDArray[Any]
    scaling: Scaling
    first: NDArray[Any]

    @classmethod
    def of(cls, rows: NDArray[Any], names: Sequence[Any]) -> Self:
        """What a table says of itself.

        Raises:   ValueError where no column varies, or one follows from others: there is no density then.
        """
        columns = torch.as_tensor(rows.astype(np.float64))  # a copy: the rows may be read-only
        whole = Scaling.standard(columns)
        varying = np.setdiff1d(np.arange(rows.shape[1]), whole.constant)
        if not len(varying):
            raise ValueError(f"X has no density: none of its {rows.shape[1]} columns varies over {len(rows)} rows.")
        scaling = Scaling(*(tuple(values[i] for i in varying) for values in (whole.shift, whole.scale)))
        made = cls(varying, scaling, rows[0])
        raw, called = columns[:, varying], [names[int(i)] for i in varying]
        shift, scale = scaling.against(raw)
        unit = (raw - shift) / scale
        _refuse_copies(unit, called)
        known = float(np.finfo(rows.dtype).eps) * raw.abs().amax(0) / scale
        _refuse_sums(unit, known + len(rows) * float(np.finfo(np.float64).eps), called)
        return made

    def dataset(self, rows: NDArray[Any]) -> Dataset:
        """The varying columns, ready for training."""
        return Dataset("X", self.raw(rows), scaling=self.scaling)

    def raw(self, rows: NDArray[Any]) -> Tensor:
        """The varying columns, unscaled; float64."""
        return torch.as_tensor(rows[:, self.varying]).double()

    def fits(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Which rows have the right values where columns never vary."""
        rest = np.setdiff1d(np.arange(len(self.first)), self.varying)
        same: NDArray[Any] = (rows[:, rest] == self.first[rest]).all(1)
        return same

    def rows(self, x: Tensor) -> NDArray[Any]:
        """Samples as whole rows, in the type of the table."""
        made = np.repeat(self.first[None], len(x), 0)
        made[:, self.varying] = self.scaling.undo(x).numpy()
        return made


def _refuse_copies(unit: Tensor, names: Sequence[Any]) -> None:
    """Refuse a column that is another one, scaled."""
    alike = torch.corrcoef(unit.T).reshape(unit.shape[1], -1).abs().triu(1) > 1 - COPY
    if len(unit) > 2 and bool(alike.any()):  # two rows always lie on a line
        one, other = (names[int(i)] for i in alike.nonzero()[0])
        raise ValueError(f"X has no density: column {other!r} is column {one!r}, scaled. Leave one of them out.")


def _refuse_sums(unit: Tensor, rounding: Tensor, names: Sequence[Any]) -> None:
    """Refuse a column that is a sum of multiples of those before it, but for rounding.

    Of unit = Q R, the diagonal of R is what each column has beyond those before it.

    Args:     rounding: how far numbers of each column may be off, those of their factorisation too; (columns).
    """
    if len(unit) <= unit.shape[1]:  # so few rows always lie on a plane
        return
    _, r = torch.linalg.qr(unit, mode="r")
    for i in range(1, len(r)):
        parts = torch.linalg.solve_triangular(r[:i, :i], r[:i, i, None], upper=True)[:, 0].abs()
        if float(r[i, i].abs()) / math.sqrt(len(unit)) <= SURE * float(rounding[i] + parts @ rounding[:i]):
            others = ", ".join(repr(names[int(k)]) for k in (parts > math.sqrt(COPY)).nonzero()[:, 0])
            raise ValueError(
                f"X has no density: column {names[i]!r} follows from columns {others}: it is a sum of their multiples. "
                "Leave one of them out."
            )


def word_of(data: Any) -> tuple[Any, Any] | None:
    """The first cell of a table that is a word or a date, and the name of its column; None where there is none."""
    if frame_of(data) is None:
        table = np.asarray(data, object)
        columns = {f"x{i}": table[:, i] for i in range(table.shape[1])} if table.ndim == 2 else {}
    else:
        columns = {name: data[name] for name in data.columns}
    found = ((cell, name) for name, cells in columns.items() for cell in cells if is_word(cell))
    return next(found, None)


def is_word(cell: Any) -> bool:
    """Whether a cell is text that is no number, or a date."""
    try:
        if isinstance(cell, str):
            float(cell)
    except ValueError:
        return True
    return isinstance(cell, date)


def frame_of(data: Any) -> str | None:
    """The package of a data frame, such as "pandas"; None for anything else."""
    package = type(data).__module__.partition(".")[0]
    return package if type(data).__name__ == "DataFrame" and package in ("pandas", "polars") else None


def framed(rows: NDArray[Any], frame: str | None, names: Sequence[Any]) -> Any:
    """Rows in the kind of frame that the data came in."""
    if frame is None:
        return rows
    make = extras.load(frame, "data").DataFrame
    return make({name: rows[:, i] for i, name in enumerate(names)})
