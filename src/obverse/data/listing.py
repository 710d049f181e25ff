"""Listings: the files of a folder or of archives, each seen once, kept in some twenty bytes besides its name."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from obverse.data.damage import Ledger, decoding, printable
from obverse.ground.errors import DataError

Progress = Callable[[int, int], None]  # called with (files read, files in all)


class Names(Sequence[str]):
    """Many names in one piece of memory.

    Example:
        >>> names = Names(["a.png", "cat/ö.png"])
        >>> len(names), names[1]
        (2, 'cat/ö.png')
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._text, self._ends = bytearray(), array("Q", [0])
        for name in names:
            self.append(name)

    def append(self, name: str) -> None:
        """One more."""
        self._text += os.fsencode(name)
        self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: Any) -> Any:
        if place >= len(self):
            raise IndexError(place)
        return os.fsdecode(bytes(self._text[self._ends[place] : self._ends[place + 1]]))


class Listing(ABC):
    """Files by number.

    Attributes: names: relative to the folder or archive.
              labels: what stands beside each file as its class; empty if nothing does.
              others: the suffixes of files that are passed over, and how many have each; of hidden ones nothing.
    """

    def __init__(self) -> None:
        self.names = Names()
        self.labels: list[str] = []
        self.others = Counter[str]()

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def open(self, number: int) -> str | io.BytesIO:
        """What a decoder can open."""

    def classes(self, numbers: Sequence[int], where: str) -> list[str]:
        """Of some files the class: what stands beside each, or the folder at the top that it lies in; [] for none.

        Raises:   DataError where some files lie in folders and others do not.
        """
        if self.labels:
            return [self.labels[number] for number in numbers]
        tops = [self._top(number) for number in numbers]
        found = [top for top in tops if top is not None]
        if found and None in tops:
            stray = printable(self.names[numbers[tops.index(None)]])
            raise DataError(f"{where}: {stray} lies beside class folders; move it into one, or all into one folder.")
        return found

    def _top(self, number: int) -> str | None:
        first, slash, _ = self._inside(number).partition("/")
        return printable(first) if slash else None

    def _inside(self, number: int) -> str:
        return str(self.names[number])


class Folder(Listing):
    """The files below a folder with one of some suffixes, in the order of their names.

    Hidden files are passed over; links that lead away and what is no file are damage. Every folder is read once, and no
    file is asked about.
    """

    def __init__(self, root: Path, suffixes: Sequence[str], ledger: Ledger) -> None:
        super().__init__()
        self.root, self._suffixes, self._ledger = root, tuple(suffixes), ledger
        with decoding(printable(root)):
            self._walk("", root.resolve())

    def open(self, number: int) -> str:
        """See `Listing`."""
        return os.path.join(self.root, self.names[number])

    def _walk(self, below: str, real: Path) -> None:
        others: dict[str, os.DirEntry[str]] = {}
        plain: list[str] = []
        with os.scandir(self.root / below) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not entry.is_file(follow_symlinks=False):
                    others[entry.name] = entry
                elif entry.name.lower().endswith(self._suffixes):
                    plain.append(entry.name)
                else:
                    self.others[os.path.splitext(entry.name)[1].lower() or entry.name] += 1
        for name in sorted([*plain, *others]):
            if name not in others:
                self.names.append(below + name)
            elif others[name].is_dir(follow_symlinks=False):
                self._walk(f"{below}{name}/", real)
            elif reason := self._strange(others[name], real):
                self._ledger.drop(printable(self.root / below / name), reason)
            elif name.lower().endswith(self._suffixes):
                self.names.append(below + name)

    def _strange(self, entry: os.DirEntry[str], real: Path) -> str:
        """Why a link or a special file is not read; "" if it is."""
        if entry.is_symlink() and entry.is_dir():
            return "a link to a folder, which is not followed"
        if not entry.name.lower().endswith(self._suffixes):
            return ""
        if not entry.is_file():
            return "a link to nothing" if entry.is_symlink() else "not a regular file"
        return "" if Path(entry.path).resolve().is_relative_to(real) else "a link that leads out of the folder"
