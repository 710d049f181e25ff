"""Archives: the files in .tar and .zip, listed and read where they lie.

They are never unpacked. Names in them are only names, so one that begins with / or climbs with .. leads nowhere; it is
damage all the same, since no honest program writes it.
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
from array import array
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from obverse.data.damage import Ledger, decoding, printable, refuse_bomb
from obverse.data.listing import Listing
from obverse.ground.errors import DataError

ARCHIVES = (".tar", ".zip")
HEADER = struct.Struct("<4s2xH18xHH")  # of a zip member's own header: magic, flags, lengths of name and extra
_LABEL_BYTES = 2**20  # a .cls or .json with a label is smaller
_LABEL_KEYS = ("label", "cls", "class")


class _Member(NamedTuple):
    name: str
    offset: int  # of the data (tar) or of the member's own header (zip)
    packed: int
    size: int
    method: int  # -1: at the offset as it is; else as in zip
    checksum: int  # CRC-32 of the data (zip)


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
                found = itertools.filterfalse(_hidden, found)
                for _, group in itertools.groupby(found, key=lambda member: _key(member.name)):
                    self._take(number, list(group))
        if self.labels and len(self.labels) != len(self):
            raise DataError(f"{printable(self._paths[0])}: {len(self)} files, but only {len(self.labels)} classes.")

    def open(self, number: int) -> io.BytesIO:
        """See `Listing`."""
        name, place = self.names[number], 6 * number
        return io.BytesIO(self._read(self._places[place], _Member(name, *self._places[place + 1 : place + 6])))

    @cached_property
    def _around(self) -> str:
        """The folder in which all of them lie, as zip -r pets.zip pets leaves it: no class; "" for none."""
        folder, slash, _ = self.names[0].partition("/")
        return folder + slash if all(name.startswith(folder + slash) for name in self.names) else ""

    def _inside(self, number: int) -> str:
        return str(self.names[number].removeprefix(self._around))

    def _take(self, archive: int, group: list[_Member]) -> None:
        where = f"{printable(self._paths[archive])}, {printable(group[0].name)}"
        samples = [member for member in group if member.name.lower().endswith(self._suffixes)]
        told = [member for member in group if member.name.lower().endswith((".cls", ".json"))]
        if not samples:
            if len(told) == len(group) and self._label(archive, told) is not None:
                self._ledger.drop(
                    where, "a class with no file beside it; pack those of one name together, in their order"
                )
            return
        if group[0].name.startswith("/") or ".." in PurePosixPath(group[0].name).parts:
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
        for member in sorted(told, key=lambda m: not m.name.lower().endswith(".cls")):
            if member.size > _LABEL_BYTES:
                continue
            text = self._read(archive, member).decode().strip()
            if member.name.lower().endswith(".cls"):
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
        if member.method >= 0 and zlib.crc32(data) != member.checksum:
            raise DataError(f"{where} is damaged: its CRC-32 is not the one in the archive.")
        return data


def _of_tar(path: Path) -> Iterator[_Member]:
    with tarfile.open(path, "r:", errorlevel=2) as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # it would keep all it has seen
            if member.isfile() and not member.issparse():
                name = member.name.removeprefix("./")  # of tar -c .
                yield _Member(name, member.offset_data, member.size, member.size, -1, 0)


def _of_zip(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
            if not entry.is_dir():
                sizes, name = (entry.compress_size, entry.file_size), entry.filename.replace("\\", "/")  # of Windows
                yield _Member(name, entry.header_offset, *sizes, entry.compress_type, entry.CRC)


def past_header(head: bytes, where: str) -> int:
    """How far the data of a zip's member lie behind the beginning of its own header."""
    magic, flags, name, extra = HEADER.unpack(head)
    if magic != b"PK\3\4" or flags & 1:
        raise DataError(f"{where} is encrypted, or not where the archive says.")
    return HEADER.size + int(name + extra)


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)


def _hidden(member: _Member) -> bool:
    """Whether a folder would pass it over, such as what macOS puts beside every file."""
    return any(part.startswith(".") and part != ".." for part in member.name.split("/"))


def _key(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}"
