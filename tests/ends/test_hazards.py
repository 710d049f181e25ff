"""Named hazards of data, each with the outcome that docs/data.md promises; the table there is made from the one here.

python tests/ends/test_hazards.py        prints the table of the page
"""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import sys
import tarfile
import warnings
import wave
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from obverse.data import load
from obverse.ground.errors import DataError, ObverseError, UnknownName
from obverse.recipes import Recipe, fit
from obverse.train import Training

RNG = np.random.default_rng(0)
PAGE = Path(__file__).parents[2] / "docs" / "data.md"
BEGIN, END = "<!-- hazards -->\n", "<!-- end of hazards -->\n"


@dataclass(frozen=True)
class Refused:
    """An error with these words, whatever `damaged` says."""

    words: str
    error: type[ObverseError] = DataError

    def __str__(self) -> str:
        return f"refused: {self.words!r}"


@dataclass(frozen=True)
class Damaged:
    """An error with these words; with damaged="skip" so many samples are left."""

    words: str
    left: int

    def __str__(self) -> str:
        return f'damaged: {self.words!r}; left out with `damaged="skip"`'


@dataclass(frozen=True)
class Fine:
    """Samples of this shape, so many; the summary says these words."""

    shape: tuple[int, ...]
    count: int
    words: str = ""

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape))
        return f"read: {self.count} of {size}" + (f"; says {self.words!r}" if self.words else "")


Outcome = Refused | Damaged | Fine
Made = Path | tuple[Path, dict[str, Any]]
HAZARDS: dict[str, tuple[Callable[[Path], Made], Outcome]] = {}


def hazard(name: str, outcome: Outcome) -> Callable[[Callable[[Path], Made]], Callable[[Path], Made]]:
    """Enters a maker of a bad file under its name."""

    def enter(make: Callable[[Path], Made]) -> Callable[[Path], Made]:
        assert name not in HAZARDS, name
        HAZARDS[name] = make, outcome
        return make

    return enter


def file(name: str, content: str | bytes, **options: Any) -> Callable[[Path], Made]:
    """A file of its own."""

    def make(folder: Path) -> Made:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder / name, options

    return make


def npy(array: Any, **options: Any) -> Callable[[Path], Made]:
    """An array in a file, pickled if it must be."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    return file("a.npy", content.getvalue(), **options)


def npz(label: str | None = None, **arrays: Any) -> Callable[[Path], Made]:
    """Arrays in one file."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    return file("a.npz", content.getvalue(), **({} if label is None else {"label": label}))


def png(mode: str = "RGB", size: tuple[int, int] = (6, 4), form: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image."""
    content = io.BytesIO()
    Image.new(mode, size, options.pop("color", 7)).save(content, form, **options)
    return content.getvalue()


def images(*contents: bytes, names: tuple[str, ...] = (), **options: Any) -> Callable[[Path], Made]:
    """A folder of images."""
    names = names or tuple(f"{number}.png" for number in range(len(contents)))

    def make(folder: Path) -> Made:
        for name, content in zip(names, contents, strict=True):
            file(name, content)(folder)
        return folder, options

    return make


def archive(kind: str, *members: tuple[str, bytes], cut: int = 0, **options: Any) -> Callable[[Path], Made]:
    """A .tar or .zip."""
    content = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(content, "w") as packed:
            for name, data in members:
                packed.writestr(name, data)
    else:
        with tarfile.open(fileobj=content, mode="w:gz" if kind == "tar.gz" else "w") as tar:
            for name, data in members:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    data = content.getvalue()
    return file(f"a.{kind}", data[: len(data) - cut] if cut else data, **options)


def sound(count: int, rate: int = 8000, channels: int = 1) -> bytes:
    """A WAV file."""
    content = io.BytesIO()
    with wave.open(content, "wb") as packed:
        packed.setnchannels(channels)
        packed.setsampwidth(2)
        packed.setframerate(rate)
        packed.writeframes(bytes(range(1, 3)) * channels * count)
    return content.getvalue()


def cloud(count: int, value: float = 1.0) -> bytes:
    """A .npy of points."""
    content = io.BytesIO()
    np.save(content, np.full((count, 3), value))
    return content.getvalue()


def deep(value: int) -> bytes:
    """A PNG of 16 bits."""
    content = io.BytesIO()
    Image.fromarray(np.full((4, 6), value, np.uint16)).save(content, "PNG")
    return content.getvalue()


def animated(form: str) -> bytes:
    """Two frames."""
    content, frames = io.BytesIO(), [Image.new("RGB", (6, 4), color) for color in ("red", "blue")]
    frames[0].save(content, form, save_all=True, append_images=frames[1:])
    return content.getvalue()


def turned(orientation: int) -> bytes:
    """A JPEG that is to be turned before it is shown."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return png(form="JPEG", exif=exif)


def chunk(kind: bytes, data: bytes) -> bytes:
    """One piece of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


GOOD, GREY = png(), png("L")
HUGE = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", 60_000, 60_000, 8, 2, 0, 0, 0)) + chunk(b"IEND", b"")
X = RNG.normal(size=(5, 3))
HOLED = np.where(np.arange(15).reshape(5, 3) == 7, np.nan, X)
ENDLESS = np.where(np.arange(15).reshape(5, 3) == 7, np.inf, X)

# name, file, outcome; grouped as on the page
# fmt: off
for _name, _make, _outcome in [
    # how many, of what size
    ("an array of no samples", npy(np.zeros((0, 3))), Refused("holds no samples")),
    ("an array of no columns", npy(np.zeros((3, 0))), Refused("holds no samples")),
    ("a single number", npy(np.float64(3)), Refused("holds no samples")),
    ("one sample", npy(X[:1]), Fine((3,), 1, "constant")),
    ("a flat array", npy(X[:, 0]), Fine((1,), 5)),
    ("one image", images(GOOD), Fine((3, 4, 6), 1)),
    ("one class", images(GOOD, GOOD, names=("cat/a.png", "cat/b.png")), Fine((3, 4, 6), 2, "1 class")),
    ("images of odd sides", images(png(size=(7, 5))), Fine((3, 5, 7), 1)),
    ("images of one pixel", images(png(size=(1, 1))), Fine((3, 1, 1), 1)),
    ("images of several sizes", images(GOOD, png(size=(5, 4))), Refused("image_size=32 makes all of them")),
    ("images of several sizes, image_size given", images(GOOD, png(size=(9, 5)), image_size=4), Fine((3, 4, 4), 2)),
    ("image_size 0", images(GOOD, image_size=0), Refused("image_size is pixels >= 1", ObverseError)),
    # numbers
    ("NaN", npy(HOLED), Damaged("row 2: NaN at place 1", 4)),
    ("infinity", npy(ENDLESS), Damaged("row 2: infinity at place 1", 4)),
    ("NaN everywhere", npy(np.full((3, 2), np.nan)), Refused("NaN")),
    ("NaN in images", npy(np.where(np.arange(48).reshape(1, 4, 4, 3) == 9, np.nan, 0.5)), Refused("NaN")),
    ("a column that never varies", npy(np.c_[X, np.full(5, 0.1)]), Fine((4,), 5, "constant")),
    ("all numbers the same", npy(np.ones((5, 2))), Fine((2,), 5, "constant")),
    ("numbers near the largest double", npy(X * 1e307), Fine((3,), 5)),
    ("numbers near the smallest double", npy(X * 1e-300), Fine((3,), 5)),
    ("whole numbers beyond 2^53", npy(np.array([[2**62], [2**62 + 1024]])), Fine((1,), 2)),
    ("unsigned numbers beyond 2^63", npy(np.array([[2**64 - 1], [0]], np.uint64)), Fine((1,), 2)),
    ("true and false", npy(X > 0), Fine((3,), 5)),
    ("half precision", npy(X.astype("f2")), Fine((3,), 5)),
    ("big-endian numbers", npy(X.astype(">f4")), Fine((3,), 5)),
    ("columns first in memory (Fortran)", npy(np.asfortranarray(X)), Fine((3,), 5)),
    ("quadruple precision", npy(X.astype(np.longdouble)), Fine((3,), 5)),
    ("complex numbers", npy(X + 1j), Refused("stack real and imaginary parts")),
    ("words", npy(np.array([["a"], ["b"]])), Refused("not real numbers")),
    ("dates", npy(np.array(["2020-01-01"], "datetime64[D]")), Refused("not real numbers")),
    ("records", npy(np.zeros(3, [("a", "f4"), ("b", "i4")])), Refused("not real numbers")),
    ("Python objects", npy(np.array([{}, []], object)), Refused("never unpickled")),
    ("ragged rows", npy(np.array([[1], [1, 2]], object)), Refused("never unpickled")),
    ("signals, channel first", npy(RNG.normal(size=(5, 2, 9))), Fine((2, 9), 5)),
    ("float images in [0, 1]", npy(RNG.random((5, 4, 6, 3))), Fine((3, 4, 6), 5)),
    ("float images beyond [0, 255]", npy(RNG.normal(size=(5, 4, 6, 3)) * 1e3), Fine((3, 4, 6), 5)),
    ("uint8 images, channel last", npy(np.zeros((5, 4, 6, 3), np.uint8)), Fine((3, 4, 6), 5)),
    ("uint8 images with two channels", npy(np.zeros((5, 4, 6, 2), np.uint8)), Fine((4, 6, 2), 5)),
    # files of arrays
    ("an empty .npy", file("a.npy", b""), Refused("truncated")),
    ("a torn .npy", file("a.npy", npy(X) and b"\x93NUMPY\x01\x00v\x00"), Refused("a.npy")),
    ("text called .npy", file("a.npy", "1,2\n3,4\n"), Refused("nothing is ever unpickled")),
    ("an image called .npy", file("a.npy", GOOD), Refused("not a NumPy file")),
    ("an empty .npz", file("a.npz", b""), Refused("a.npz")),
    ("a .npz without arrays", npz(), Refused("none")),
    ("a .npz with several arrays", npz(one=X, two=X), Refused("call the one to learn from 'x'")),
    ("a .npz with labels of another length", npz(x=X, y=np.arange(4)), Refused("5 samples need as many labels")),
    ("labels that are no whole numbers", npz(x=X, y=X[:, 0]), Refused("labels are whole numbers or words")),
    ("labels below zero", npz(x=X, y=np.array([-1, 1, -1, 1, 5])), Fine((3,), 5, "3 classes")),
    ("labels with gaps", npz(x=X, y=np.array([7, 900, 7, 7, 12])), Fine((3,), 5, "3 classes")),
    ("labels of words", npz(x=X, y=np.array(list("abcab"))), Fine((3,), 5, "3 classes")),
    ("labels as floats that are whole", npz(x=X, y=np.array([1.0, 2, 1, 2, 1])), Fine((3,), 5, "2 classes")),
    ("labels with NaN", npz(x=X, y=HOLED[:, 1]), Refused("labels are whole numbers or words")),
    ("labels one-hot", npz(x=X, y=np.eye(5)), Refused("5 samples need as many labels")),
    ("labels as a column", npz(x=X, y=np.arange(5)[:, None]), Fine((3,), 5, "5 classes")),
    ("a class for every sample", npz(x=X, y=np.arange(5)), Fine((3,), 5, "5 classes")),
    ("a label key that is not there", npz(label="kinds", x=X, kind=np.arange(5)), Refused("did you mean", UnknownName)),
    ("a pickle called .npz", file("a.npz", b"\x80\x04K\x01."), Refused("a.npz")),
    ("a .safetensors with a huge header", file("a.safetensors", b"\xff" * 16), Refused("a.safetensors")),
    ("a torn .safetensors", file("a.safetensors", struct.pack("<Q", 60) + b'{"x":{"dtype":"F32","shape":[9],"da'),
     Refused("a.safetensors")),
    ("an IDX file cut short", file("a.idx", struct.pack(">4B2I", 0, 0, 8, 2, 3, 4) + bytes(11)), Refused("truncated")),
    ("an IDX file with too much", file("a.idx", struct.pack(">4B1I", 0, 0, 8, 1, 3) + bytes(9)), Refused("longer")),
    ("an IDX file that claims 8 TB", file("a.idx", struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**6, 2**6)),
     Refused("a bomb")),
    ("a gzip with a wrong checksum", file("a.idx.gz", gzip.compress(struct.pack(">4B1I", 0, 0, 8, 1, 3) + b"abc")[:-8]
                                          + bytes(8)), Refused("a.idx.gz")),
    # tables
    ("an empty CSV", file("a.csv", ""), Refused("is empty")),
    ("a CSV of blank lines", file("a.csv", "\n\n"), Refused("is empty")),
    ("a CSV of names only", file("a.csv", "a,b\n"), Refused("no samples")),
    ("a CSV without names", file("a.csv", "1,2\n3,4\n"), Fine((2,), 2)),
    ("a row that is too short", file("a.csv", "a,b\n1,2\n3\n4,5\n"), Damaged("1 cells, but the first line has 2", 2)),
    ("a row that is too long", file("a.csv", "a,b\n1,2\n3,4,5\n4,5\n"), Damaged("3 cells, but the first", 2)),
    ("a missing value", file("a.csv", "a,b\n1,2\n3,\n4,5\n"),
     Damaged("column 'b' is empty (a missing value; columns='mixed'", 2)),
    ("NaN in a CSV", file("a.csv", "a,b\n1,2\nNaN,3\n4,5\n"), Damaged("column 'a' is NaN", 2)),
    ("NA in a CSV", file("a.csv", "a,b\n1,2\nNA,3\n4,5\n"), Damaged("column 'a' holds 'NA'", 2)),
    ("a column of words", file("a.csv", "a,city\n1,Rome\n2,Oslo\n"), Refused("column 'city' holds 'Rome'")),
    ("two columns of one name", file("a.csv", "a,a\n1,2\n3,4\n"), Refused("two columns called 'a'")),
    ("a column without a name", file("a.csv", "a,\n1,2\n3,4\n"), Fine((2,), 2)),
    ("a byte-order mark", file("a.csv", b"\xef\xbb\xbfa,b\n1,2\n3,5\n"), Fine((2,), 2)),
    ("UTF-16", file("a.csv", "a,b\n1,2\n".encode("utf-16")), Refused("cannot be read: save it as UTF-8")),
    ("Latin-1 letters", file("a.csv", b"stra\xdfe,b\n1,2\n"), Refused("cannot be read: save it as UTF-8")),
    ("zero bytes in a CSV", file("a.csv", b"a,b\n1,2\n\x00,3\n"), Damaged("column 'a' holds '\\x00'", 1)),
    ("lines that end as on Windows", file("a.csv", "a,b\r\n1,2\r\n3,4\r\n"), Fine((2,), 2)),
    ("lines that end as on the first Macs", file("a.csv", "a,b\r1,2\r3,4\r"), Fine((2,), 2)),
    ("semicolons", file("a.csv", "a;b\n1;2\n3;4\n"), Fine((2,), 2)),
    ("tabs", file("a.tsv", "a\tb\n1\t2\n3\t4\n"), Fine((2,), 2)),
    ("vertical bars", file("a.csv", "a|b\n1|2\n3|4\n"), Fine((2,), 2)),
    ("spaces for commas, columns mixed",
     file("a.csv", "a b\n" + "".join(f"{i} {i}\n" for i in range(9)), columns="mixed"),
     Refused("as many words as rows")),
    ("a word of its own for every row, columns mixed",
     file("a.csv", "id,b\n" + "".join(f"p{i},{i}\n" for i in range(9)), columns="mixed"),
     Refused("as many words as rows")),
    ("decimal commas, columns mixed", file("a.csv", "a;b\n1,5;2\n3;4\n", columns="mixed"),
     Refused("column 'a' holds '1,5': write 1.5")),
    ("decimal commas", file("a.csv", "a;b\n1,5;2\n3;4\n"), Damaged("column 'a' holds '1,5'", 1)),
    ("thousands with commas in quotes", file("a.csv", 'a,b\n"1,000",2\n3,4\n'), Damaged("column 'a' holds '1,000'", 1)),
    ("a line break in quotes", file("a.csv", 'a,"b\nc"\n1,2\n3,4\n'), Fine((2,), 2)),
    ("a quote that never ends", file("a.csv", 'a,b\n1,"2\n3,4\n'), Refused("what begins at line 2")),
    ("spaces around numbers", file("a.csv", "a, b\n 1 , 2\n3 ,4\n"), Fine((2,), 2)),
    ("no line break at the end", file("a.csv", "a,b\n1,2\n3,4"), Fine((2,), 2)),
    ("numbers with underscores", file("a.csv", "a,b\n1_0,2\n3,4\n"), Damaged("column 'a' holds '1_0'", 1)),
    ("a class that is missing", file("a.csv", "a,k\n1,x\n2,\n", label="k"), Damaged("no class in column 'k'", 1)),
    ("a label that is no column", file("a.csv", "a,kind\n1,x\n", label="kinds"), Refused("did you mean", UnknownName)),
    ("a table of the class alone", file("a.csv", "k\nx\ny\n", label="k"), Refused("no column to learn from")),
    ("text called .parquet", file("a.parquet", "a,b\n1,2\n"), Refused("a.parquet")),
    ("an empty .arrow", file("a.arrow", b""), Refused("a.arrow")),
    # images
    ("an empty folder", images(), Refused("holds no samples")),
    ("a folder of text files", images(b"hello", names=("a.txt",)), Refused("holds no samples")),
    ("an empty image file", images(GOOD, b""), Damaged("1.png: not an image that can be read", 1)),
    ("a torn PNG", images(GOOD, png(size=(64, 64), color=(9, 200, 7))[:-40]), Damaged("1.png", 1)),
    ("a torn JPEG", images(GOOD, png(form="JPEG")[:-30], names=("0.png", "1.jpg")), Damaged("1.jpg", 1)),
    ("text called .png", images(GOOD, b"hello"), Damaged("1.png: not an image", 1)),
    ("a JPEG called .png", images(png(form="JPEG")), Fine((3, 4, 6), 1)),
    ("an SVG called .png", images(GOOD, b"<svg xmlns='http://www.w3.org/2000/svg'/>"), Damaged("not an image", 1)),
    ("PostScript called .png", images(GOOD, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n"),
     Damaged("not an image", 1)),
    ("an image that claims 3.6 billion pixels", images(GOOD, HUGE), Damaged("3600000000 pixels", 1)),
    ("a capital suffix", images(GOOD, names=("A.PNG",)), Fine((3, 4, 6), 1)),
    ("a hidden file", images(GOOD, b"", names=("a.png", "._a.png")), Fine((3, 4, 6), 1)),
    ("a name in another script", images(GOOD, names=("猫/ネコ.png",)), Fine((3, 4, 6), 1)),
    ("CMYK", images(png("CMYK", form="JPEG", color=(9, 9, 9, 9)), names=("a.jpg",)), Fine((3, 4, 6), 1)),
    ("a palette", images(png("P")), Fine((3, 4, 6), 1)),
    ("black and white of one bit", images(png("1")), Fine((1, 4, 6), 1)),
    ("16 bits", images(deep(900)), Fine((1, 4, 6), 1, "16 bits deep")),
    ("transparency", images(png("RGBA", color=(1, 2, 3, 9))), Fine((3, 4, 6), 1, "laid on white")),
    ("opaque alpha", images(png("RGBA", color=(1, 2, 3, 255))), Fine((3, 4, 6), 1)),
    ("an animated GIF", images(animated("GIF"), names=("a.gif",)), Fine((3, 4, 6), 1, "only the first frame")),
    ("an animated PNG", images(animated("PNG")), Fine((3, 4, 6), 1, "only the first frame")),
    ("several pages of TIFF", images(animated("TIFF"), names=("a.tif",)), Fine((3, 4, 6), 1, "only the first frame")),
    ("float pixels", images(png("F", form="TIFF", color=0.5), GOOD, names=("a.tif", "b.png")),
     Damaged("no known white", 1)),
    ("turned by EXIF", images(turned(6), names=("a.jpg",)), Fine((3, 6, 4), 1)),
    ("grey and coloured together", images(GREY, GOOD), Fine((3, 4, 6), 2)),
    ("an image beside class folders", images(GOOD, GOOD, names=("cat/a.png", "b.png")), Refused("beside class")),
    # archives
    ("a zip of class folders", archive("zip", ("a/1.png", GOOD), ("b/1.png", GOOD)), Fine((3, 4, 6), 2, "2 classes")),
    ("a tar of images and classes", archive("tar", ("1.png", GOOD), ("1.cls", b"3"), ("2.png", GOOD), ("2.cls", b"5")),
     Fine((3, 4, 6), 2, "2 classes")),
    ("a tar of images and JSON", archive("tar", ("1.png", GOOD), ("1.json", json.dumps({"label": 2}).encode())),
     Fine((3, 4, 6), 1, "1 class")),
    ("a tar in which a class is missing", archive("tar", ("1.png", GOOD), ("1.cls", b"3"), ("2.png", GOOD)),
     Damaged("no class beside it", 1)),
    ("two images of one name in a tar", archive("tar", ("0.png", GOOD), ("1.jpg", GOOD), ("1.png", GOOD)),
     Damaged("2 files of one name", 1)),
    ("a zip in a zip", archive("zip", ("inner.zip", b"PK\3\4")), Refused("holds no samples")),
    ("an absolute path in a zip", archive("zip", ("/etc/a.png", GOOD), ("b.png", GOOD)),
     Damaged("leads out of the archive", 1)),
    ("a path with .. in a tar", archive("tar", ("../a.png", GOOD), ("b.png", GOOD)),
     Damaged("leads out of the archive", 1)),
    ("a torn tar", archive("tar", ("1.png", GOOD), cut=10_000), Refused("a.tar")),
    ("a torn zip", archive("zip", ("1.png", GOOD), cut=10), Refused("a.zip")),
    ("an empty tar", archive("tar"), Refused("holds no samples")),
    ("an empty zip", archive("zip"), Refused("holds no samples")),
    ("a damaged image in a tar", archive("tar", ("1.png", GOOD), ("2.png", GOOD[:40])), Damaged("2.png", 1)),
    ("a packed tar", archive("tar.gz", ("1.png", GOOD)), Refused("is not a kind of file")),
    ("a .json that is none in a tar", archive("tar", ("1.png", GOOD), ("1.json", b"{")), Refused("a.tar")),
    # mixed tables
    ("missing values, columns mixed", file("a.csv", "a,b\n1,x\nNA,y\n3,\n", columns="mixed"), Fine((5,), 3, "missing")),
    ("a category of one word, columns mixed", file("a.csv", "a,b\n1,x\n2,x\n", columns="mixed"),
     Fine((2,), 2, "constant")),
    ("free text, columns mixed", file("a.csv", "a\n" + "".join(f"word {i}\n" for i in range(99)), columns="mixed"),
     Refused("99 different words")),
    ("a column of nothing, columns mixed", file("a.csv", "a,b\n1,\n2,NA\n", columns="mixed"),
     Refused("nothing is there")),
    ("infinity, columns mixed", file("a.csv", "a\n1\ninf\n", columns="mixed"), Refused("column 'a' holds inf")),
    ("a short row, columns mixed", file("a.csv", "a,b\n1,x\n2\n3,y\n", columns="mixed"), Damaged("1 cells, but", 2)),
    ("columns mixed of an array", npy(X, columns="mixed"), Refused("columns is numbers", ObverseError)),
    # sounds, series, clouds
    ("a sound", images(sound(9), names=("a.wav",)), Fine((1, 9), 1, "8,000 samples a second")),
    ("sounds of several lengths", images(sound(9), sound(5), names=("a.wav", "b.wav")), Refused("length=")),
    ("sounds of several lengths, length given", images(sound(9), sound(5), names=("a.wav", "b.wav"), length=7),
     Fine((1, 7), 2)),
    ("sounds of several rates", images(sound(9), sound(9, rate=44_100), names=("a.wav", "b.wav")), Refused("resample")),
    ("mono and stereo", images(sound(9), sound(9, channels=2), names=("a.wav", "b.wav")),
     Refused("2 channels, others 1")),
    ("a sound of no length", images(sound(9), sound(0), names=("a.wav", "b.wav")), Damaged("b.wav", 1)),
    ("a torn sound", images(sound(99), sound(99)[:60], names=("a.wav", "b.wav")), Damaged("b.wav", 1)),
    ("an MP3 called .wav", images(sound(9), b"ID3\x04" + bytes(40), names=("a.wav", "b.wav")), Damaged("b.wav", 1)),
    ("clouds of several sizes", images(cloud(9), cloud(5), names=("a.npy", "b.npy")), Refused("points=1024")),
    ("clouds of several sizes, points given", images(cloud(9), cloud(5), names=("a.npy", "b.npy"), points=7),
     Fine((3, 7), 2)),
    ("a cloud of no points", images(cloud(9), cloud(0), names=("a.npy", "b.npy")), Damaged("b.npy: it is empty", 1)),
    ("a cloud with NaN", images(cloud(9), cloud(9, np.nan), names=("a.npy", "b.npy")), Damaged("NaN or infinity", 1)),
    ("length of a table", file("a.csv", "a,b\n1,2\n", length=3), Refused("length is >= 1", ObverseError)),
    # names and places
    ("a path that does not exist", lambda folder: folder / "nowhere.npy", Refused("nowhere.npy", UnknownName)),
    ("a suffix that nobody knows", file("a.xyz", b"1"), Refused("is not a kind of file that is read here")),
    ("a pickle", file("a.pkl", b"\x80\x04K\x01."), Refused("is not a kind of file that is read here")),
    ("a torch checkpoint", file("a.pt", b"PK\3\4"), Refused("is not a kind of file that is read here")),
]:
    hazard(_name, _outcome)(_make)
# fmt: on


@hazard("links that go round", Damaged("a link to a folder, which is not followed", 1))
def _loop(folder: Path) -> Path:
    images(GOOD)(folder)
    (folder / "round").symlink_to(folder, target_is_directory=True)
    return folder


@hazard("a link that leads out", Damaged("a link that leads out of the folder", 1))
def _out(folder: Path) -> Path:
    (folder / "in").mkdir()
    images(GOOD)(folder / "in")
    (folder / "b.png").write_bytes(GOOD)
    (folder / "in" / "b.png").symlink_to(folder / "b.png")
    return folder / "in"


@hazard("a link to nothing", Damaged("a link to nothing", 1))
def _nothing(folder: Path) -> Path:
    images(GOOD)(folder)
    (folder / "z.png").symlink_to("nowhere.png")
    return folder


@hazard("a pipe called .png", Damaged("not a regular file", 1))
def _pipe(folder: Path) -> Path:
    images(GOOD)(folder)
    os.mkfifo(folder / "z.png")
    return folder


@hazard("a folder called .png", Fine((3, 4, 6), 1))
def _folder(folder: Path) -> Path:
    images(GOOD, names=("a.png/b.png",))(folder)
    return folder


@hazard("a name that is no text", Fine((3, 4, 6), 1))
def _bytes(folder: Path) -> Path:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes(GOOD)
    return folder


@hazard("a folder nobody may read", Refused("ermission denied"))
def _closed(folder: Path) -> Path:
    images(GOOD, names=("in/a.png",))(folder)
    (folder / "in").chmod(0)
    return folder / "in"


@hazard("a tar of links", Refused("holds no samples"))
def _links(folder: Path) -> Path:
    with tarfile.open(folder / "a.tar", "w") as tar:
        member = tarfile.TarInfo("a.png")
        member.type = tarfile.LNKTYPE
        tar.addfile(member)
    return folder / "a.tar"


@hazard("an encrypted zip", Damaged("encrypted", 1))
def _encrypted(folder: Path) -> Path:
    archive("zip", ("1.png", GOOD), ("2.png", GOOD))(folder)
    data = bytearray((folder / "a.zip").read_bytes())
    at = data.rindex(b"PK\3\4")
    data[at + 6] |= 1
    (folder / "a.zip").write_bytes(data)
    return folder / "a.zip"


@hazard("a zip bomb", Damaged("a bomb", 1))
def _bomb(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("1.png", GOOD)
        packed.writestr("2.png", bytes(80 * 2**20))
    return folder / "a.zip"


def read(made: Made, damaged: str) -> Any:
    """What becomes of a hazard; nothing may be warned of on the way."""
    path, options = made if isinstance(made, tuple) else (made, {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load(path, damaged=damaged, **options)


@pytest.mark.parametrize("name", HAZARDS)
def test_every_hazard_has_its_documented_outcome(name: str, tmp_path: Path) -> None:
    make, outcome = HAZARDS[name]
    if name == "a folder nobody may read" and os.geteuid() == 0:
        pytest.skip("the superuser may read everything")
    made = make(tmp_path)
    if isinstance(outcome, Fine):
        data = read(made, "refuse")
        assert (data.shape, len(data)) == (outcome.shape, outcome.count) and not data.damage
        assert outcome.words in data.summary()
        assert data.rows(torch.arange(len(data))).x.isfinite().all()
        return
    error = DataError if isinstance(outcome, Damaged) else outcome.error
    with pytest.raises(error) as refusal:
        read(made, "refuse")
    assert outcome.words in str(refusal.value)
    if isinstance(outcome, Damaged) and outcome.left:
        data = read(made, "skip")
        assert len(data) == outcome.left and data.damage and "left out" in data.summary()
    elif isinstance(outcome, Refused):
        with pytest.raises(error):
            read(made, "skip")


@pytest.mark.parametrize(
    ("what", "make"),
    [
        ("one sample", npy(X[:1])),
        ("one class", npz(x=X, y=np.zeros(5, int))),
        ("a class for every sample", npz(x=X, y=np.arange(5))),
        ("images of odd sides", npy(np.zeros((5, 7, 5, 1), np.uint8))),
        ("images of one pixel", npy(np.zeros((5, 1, 1, 3), np.uint8))),
        ("signals of odd length", npy(RNG.normal(size=(5, 2, 9)))),
        ("all numbers the same", npy(np.ones((5, 2)))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_strange_sets_train_with_batches_larger_than_they_are(
    what: str,  # noqa: ARG001
    make: Callable[[Path], Made],
    tmp_path: Path,
) -> None:
    path, _ = make(tmp_path)  # type: ignore[misc]
    recipe = Recipe(data=str(path), net="auto", training=Training(steps=2, batch=16))
    with pytest.warns(UserWarning, match="more than once"):
        steps = list(fit(recipe, tmp_path / "run").steps)
    assert len(steps) == 2 and all(np.isfinite(step.loss) for step in steps)


def test_there_are_at_least_a_hundred_and_twenty_hazards() -> None:
    assert len(HAZARDS) >= 120


def table() -> str:
    """The page's table."""
    lines = [
        "| hazard | outcome |",
        "|---|---|",
        *(f"| {name} | {outcome} |" for name, (_, outcome) in HAZARDS.items()),
    ]
    return "\n".join(lines) + "\n"


def test_the_page_names_every_hazard_with_its_outcome() -> None:
    assert PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip() == table().strip()


if __name__ == "__main__":
    sys.stdout.write(table())
