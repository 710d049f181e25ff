"""Listings: the files of a folder or of archives, each seen once, kept in some twenty bytes besides its name.

Archives are never unpacked: members of .tar and .zip are read where they lie. Names in them are only names, so one that
begins with / or climbs with .. leads nowhere; it is damage all the same, since no honest program writes it.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import struct
import tarfile
import weakref
import zipfile
import zlib
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from obverse.data.damage import Ledger, decoding, printable, refuse_bomb
from obverse.ground.errors import DataError

Progress = Callable[[int, int], None]  # called with (files read, files in all)

ARCHIVES = (".tar", ".zip")
HEADER = struct.Struct("<4s2xH18xHH")  # of a zip member's own header: magic, flags, lengths of name and extra
_LABEL_BYTES = 2**20  # a .cls or .json with a label is smaller
_LABEL_KEYS = ("label", "cls", "class")


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
    """

    def __init__(self) -> None:
        self.names = Names()
        self.labels: list[str] = []

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
        first, slash, _ = self.names[number].partition("/")
        return printable(first) if slash else None


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


class _Member(NamedTuple):
    name: str
    offset: int  # of the data (tar) or of the member's own header (zip)
    packed: int
    size: int
    method: int  # -1: at the offset as it is; else as in zip


class Archives(Listing):
    """The files in .tar and .zip archives with one of some suffixes, read in place.

    Members that differ only in what follows the first dot of their name belong together (webdataset): a .cls, or the
    entry label, cls or class of a .json, is the class of the file beside it.
    """

    def __init__(self, paths: Sequence[Path], suffixes: Sequence[str], ledger: Ledger) -> None:
        super().__init__()
        self._paths, self._suffixes, self._ledger = list(paths), tuple(suffixes), ledger
        self._files = list[int]()
        weakref.finalize(self, _close, self._files)
        self._places = array("q")
        for number, path in enumerate(self._paths):
            with decoding(printable(path)):
                self._files.append(os.open(path, os.O_RDONLY))
                found = _of_tar(path) if path.suffix.lower() == ".tar" else _of_zip(path)
                for _, group in itertools.groupby(found, key=lambda member: _key(member.name)):
                    self._take(number, list(group))
        if self.labels and len(self.labels) != len(self):
            raise DataError(f"{printable(self._paths[0])}: {len(self)} files, but only {len(self.labels)} classes.")

    def open(self, number: int) -> io.BytesIO:
        """See `Listing`."""
        name, place = self.names[number], 5 * number
        return io.BytesIO(self._read(self._places[place], _Member(name, *self._places[place + 1 : place + 5])))

    def _take(self, archive: int, group: list[_Member]) -> None:
        where = f"{printable(self._paths[archive])}, {printable(group[0].name)}"
        samples = [member for member in group if member.name.lower().endswith(self._suffixes)]
        told = [member for member in group if member.name.lower().endswith((".cls", ".json"))]
        if not samples:
            return
        if group[0].name.startswith(("/", "\\")) or ".." in PurePosixPath(group[0].name.replace("\\", "/")).parts:
            self._ledger.drop(where, "a name that leads out of the archive")
            return
        if len(samples) > 1:
            self._ledger.drop(where, f"{len(samples)} files of one name: {', '.join(s.name for s in samples)}")
            return
        label = self._label(archive, told)
        if (label is None) == bool(self.labels) and len(self):
            self._ledger.drop(where, "no class beside it" if label is None else "a class beside it, others have none")
            return
        if label is not None:
            self.labels.append(label)
        self.names.append(samples[0].name)
        self._places.extend([archive, *samples[0][1:]])

    def _label(self, archive: int, told: list[_Member]) -> str | None:
        for member in sorted(told, key=lambda m: not m.name.endswith(".cls")):
            if member.size > _LABEL_BYTES:
                continue
            text = self._read(archive, member).decode().strip()
            if member.name.endswith(".cls"):
                return text
            values = json.loads(text)
            for key in _LABEL_KEYS:
                if isinstance(values, dict) and isinstance(values.get(key), str | int):
                    return str(values[key])
        return None

    def _read(self, archive: int, member: _Member) -> bytes:
        file, where = self._files[archive], f"{printable(self._paths[archive])}, {printable(member.name)}"
        offset = member.offset
        if member.method >= 0:
            offset += past_header(os.pread(file, HEADER.size, offset), where)
        refuse_bomb(where, member.size, member.packed)
        data = os.pread(file, member.packed, offset)
        if member.method == zipfile.ZIP_DEFLATED:
            data = zlib.decompressobj(-15).decompress(data, member.size + 1)
        elif member.method > 0:
            raise DataError(f"{where} is packed by method {member.method}; zip with deflate or not at all.")
        if len(data) != member.size:
            raise DataError(f"{where} is truncated: {len(data):,} bytes of {member.size:,}.")
        return data


def _of_tar(path: Path) -> Iterator[_Member]:
    with tarfile.open(path, "r:", errorlevel=2) as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # it would keep all it has seen
            if member.isfile() and not member.issparse():
                yield _Member(member.name, member.offset_data, member.size, member.size, -1)


def _of_zip(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
            if not entry.is_dir():
                sizes = entry.header_offset, entry.compress_size, entry.file_size
                yield _Member(entry.filename, *sizes, entry.compress_type)


def past_header(head: bytes, where: str) -> int:
    """How far the data of a zip's member lie behind the beginning of its own header."""
    magic, flags, name, extra = HEADER.unpack(head)
    if magic != b"PK\3\4" or flags & 1:
        raise DataError(f"{where} is encrypted, or not where the archive says.")
    return HEADER.size + int(name + extra)


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)


def _key(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}"
