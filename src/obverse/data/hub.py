"""Folders that `datasets` (Hugging Face) wrote with save_to_disk: images, or a table of numbers."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from obverse.data.arrow import apart, table_of_arrow
from obverse.data.damage import Ledger, decoding, printable
from obverse.data.dataset import Dataset
from obverse.data.images import read_images
from obverse.data.listing import Listing, Progress
from obverse.ground import extras
from obverse.ground.errors import UnknownName


def is_saved(path: Path) -> bool:
    """Whether a folder looks like one of those."""
    return (path / "dataset_dict.json").is_file() or all(
        (path / name).is_file() for name in ("dataset_info.json", "state.json")
    )


def read_saved(
    path: Path,
    damaged: str,
    image_size: int | None,
    label: str | None,
    progress: Progress | None,
) -> Dataset:
    """The train part of what was saved, or all if it has no parts; its class is the first column of classes."""
    module = extras.load("datasets", extra="datasets")
    where = printable(path)
    with decoding(where):
        rows = module.load_from_disk(str(path))
        if isinstance(rows, dict):
            if "train" not in rows:
                raise UnknownName(f"part of {where}", "train", rows)
            rows = rows["train"]
        kinds = rows.features
    if label is not None and label not in kinds:
        raise UnknownName(f"column of {where}", label, kinds)
    picture = next((name for name, kind in kinds.items() if isinstance(kind, module.Image)), None)
    label = label or next((name for name, kind in kinds.items() if isinstance(kind, module.ClassLabel)), None)
    names = getattr(kinds[label], "names", None) if label is not None else None
    ledger = Ledger(damaged)
    if picture is None:
        with decoding(where):
            table = rows.flatten_indices().data.table if rows._indices is not None else rows.data.table
            at, labels, values = apart(where, table, label)
        data = table_of_arrow(path, table.column_names, at, values, _told(labels, names), ledger)
    else:
        listing = _Pictures(rows.cast_column(picture, module.Image(decode=False)), picture)
        for row, word in enumerate([""] * len(rows) if label is None else _told(rows[label], names)):
            if word is None:
                ledger.drop(f"{where} row {row}", f"no class in column {label!r}")
                continue
            listing.add(row)
            if label is not None:
                listing.labels.append(str(word))
        data = read_images(path, listing, ledger, image_size, progress)
    return replace(data, classes=tuple(names[int(number)] for number in data.classes)) if names else data


def _told(labels: list[Any], names: list[str] | None) -> list[Any]:
    """Classes; None for -1 where they have names, which is how `datasets` writes that there is none."""
    return [None if names and label == -1 else label for label in labels]


class _Pictures(Listing):
    """The images of a column, in the rows that are added."""

    def __init__(self, rows: Any, column: str) -> None:
        super().__init__()
        self._rows, self._column, self._added = rows, column, list[int]()

    def add(self, row: int) -> None:
        """One more."""
        self.names.append(f"row {row}")
        self._added.append(row)

    def open(self, number: int) -> str | io.BytesIO:
        """See `Listing`."""
        cell = self._rows[self._added[number]][self._column]
        return cell["path"] if cell["bytes"] is None else io.BytesIO(cell["bytes"])
