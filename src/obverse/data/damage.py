"""Damage: what cannot be learnt from is named, then refused or left out and counted, as the user chooses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obverse.data.rows import chunks
from obverse.ground.errors import DataError, InvalidArgument, ObverseError

MAX_RATIO = 200  # a compressed file may grow this many times; honest arrays seldom pass 20
FREE_SIZE = 64 * 2**20  # bytes that may be unpacked whatever the ratio


@dataclass(frozen=True)
class Damage:
    """One sample that was left out.

    Args:     where: its file, and its row or line if the file holds several.
              reason: what is wrong with it.
    """

    where: str
    reason: str


class Ledger:
    """The user's choice, carried through one loading: refuse what is damaged, or leave it out and write it down."""

    def __init__(self, damaged: str) -> None:
        if damaged not in ("refuse", "skip"):
            raise InvalidArgument(f"damaged is 'refuse' or 'skip', got {damaged!r}.")
        self._skip = damaged == "skip"
        self.entries: list[Damage] = []

    def drop(self, where: str, reason: str) -> None:
        """Takes note of one damaged sample, or raises DataError."""
        if not self._skip:
            raise DataError(f"{where}: {reason}. Mend it, or leave out and count what is damaged with damaged='skip'.")
        self.entries.append(Damage(where, reason))

    def require_samples(self, count: int, where: str) -> None:
        """A data set without samples is refused, with the first reason if all of them were damaged."""
        if count == 0 and self.entries:
            first = self.entries[0]
            raise DataError(
                f"{where}: nothing is left, all {len(self.entries)} samples are damaged; "
                f"the first is {first.where}: {first.reason}."
            )
        if count == 0:
            raise DataError(f"{where} holds no samples; at least one is needed.")


@contextmanager
def decoding(where: str) -> Iterator[None]:
    """Turns whatever a foreign decoder raises on hostile bytes (it may be anything) into a DataError with a name."""
    try:
        yield
    except ObverseError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} cannot be read: save it as UTF-8, which its byte {error.start} is not (in a spreadsheet as CSV "
            "UTF-8; or by iconv -f LATIN1 -t UTF-8, or -f UTF-16, whichever it is)."
        ) from error
    except Exception as error:
        raise DataError(f"{where} cannot be read: {in_words(error)}.") from error


def in_words(error: Exception) -> str:
    """What a foreign decoder says, on one line; the error's kind where it says nothing."""
    text = " ".join(str(error).split()).rstrip(".")
    if "pickle" in text:  # so NumPy calls all that it does not know, and says how to run it
        return "it holds no numbers, but Python objects or something else; nothing is ever unpickled"
    return text or type(error).__name__


def printable(path: str | Path) -> str:
    """A path as text, whatever bytes its name is made of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def refuse_bomb(where: str, size: int, packed: int) -> None:
    """Refuses a file that claims to unpack to far more than it could honestly hold, before a byte of it is unpacked."""
    if size > FREE_SIZE and size > MAX_RATIO * packed:
        raise DataError(
            f"{where} says that {packed:,} bytes unpack to {size:,}, more than {MAX_RATIO} times as many: it is "
            "truncated or a bomb (if it is neither, save it uncompressed)."
        )


def finite_rows(values: Any, ledger: Ledger, where: str, columns: Sequence[str] = ()) -> NDArray[np.bool_]:
    """Which rows hold numbers only; each of the others is dropped by name."""
    good, start = np.ones(len(values), bool), 0
    for chunk in chunks(values):
        flat = np.asarray(chunk).reshape(len(chunk), -1)
        good[start : start + len(chunk)] = np.isfinite(flat).all(1)
        for row in np.flatnonzero(~good[start : start + len(chunk)]).tolist():
            place = int(np.flatnonzero(~np.isfinite(flat[row]))[0])
            column = f" in column {columns[place]!r}" if columns else f" at place {place}"
            ledger.drop(f"{where} row {start + row}", f"{'NaN' if np.isnan(flat[row, place]) else 'infinity'}{column}")
        start += len(chunk)
    return good
