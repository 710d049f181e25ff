"""Images: a folder or archives of files, with one subfolder a class if it has subfolders, as uint8.

Every file becomes upright (EXIF), 8 bits deep, grey or RGB. All grey stays one channel; else all are RGB.
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from obverse.data.damage import Ledger, in_words, printable
from obverse.data.dataset import Dataset, encode
from obverse.data.listing import Listing, Progress
from obverse.data.rows import Made, Rows
from obverse.data.scaling import Scaling
from obverse.ground.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
MAX_PIXELS = 64 * 2**20
IN_MEMORY = 2**30  # bytes of pixels; more are not decoded until they are asked for
_PROBED = 64  # images that are looked at to see whether any has colours
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # others run foreign programs or parse scripts
_GREY = ("1", "L", "LA", "La")
_PHOTOMETRIC = 262  # TIFF 6.0, page 37
_ANIMATED = "animated: only the first frame is used"
_ALPHA = "transparent: laid on white"
_DEEP = "16 bits deep: scaled to 8"


def read_images(
    path: Path, listing: Listing, ledger: Ledger, image_size: int | None, progress: Progress | None
) -> Dataset:
    """The images of a listing, all of one size: decoded now, or if they are many, whenever a batch asks for them."""
    where = printable(path)
    if not len(listing):
        ledger.require_samples(0, f"{where} (as images: {' '.join(SUFFIXES)})")
    words = listing.classes(range(len(listing)), where)
    remarks = Counter[str]()
    decoder = _Decoder(listing, image_size, remarks)
    channels, height, width = decoder.probe()
    if len(listing) * channels * height * width > IN_MEMORY:
        values: Tensor | Rows = Made((len(listing), channels, height, width), _Careful(decoder, ledger))
        remarks["decoded when they are asked for"] = len(listing)
        kept: Sequence[int] = range(len(listing))
    else:
        pixels, kept = decoder.everything(ledger, progress)
        values = torch.from_numpy(pixels)
    ledger.require_samples(len(kept), where)
    labels, classes = encode(words[number] for number in kept) if words else (None, tuple[str, ...]())
    notes = tuple(f"{count:,} {remark}" for remark, count in sorted(remarks.items()))
    entries = tuple(ledger.entries)
    name, scaling = printable(path.resolve().name), Scaling.of_range(0, 255)
    return Dataset(name, values, labels, classes, scaling, entries, kind="images", notes=notes)


class _Decoder:
    """Images by number, all of one shape."""

    def __init__(self, listing: Listing, image_size: int | None, remarks: Counter[str]) -> None:
        self.listing, self._size, self._remarks = listing, image_size, remarks
        self.shape: tuple[int, ...] | None = None
        self._model = ""

    def probe(self) -> tuple[int, ...]:
        """The shape of the first image that can be read, with three channels if one of some others has three."""
        channels = [1]
        for number in range(len(self.listing)):
            try:
                image, _ = _decode(self.listing.open(number), self._size)
            except Exception:  # decoders raise anything on hostile bytes; named when all are read
                continue
            self.shape, self._model = image.shape, self.name(number)
            break
        if self.shape is None:
            return (1, 1, 1)
        for number in range(0, len(self.listing), max(1, len(self.listing) // _PROBED)):
            with suppress(Exception):
                channels.append(len(_decode(self.listing.open(number), self._size)[0]))
        self.shape = (max(len(image), *channels), *self.shape[1:])
        return self.shape

    def name(self, number: int) -> str:
        """Of a file, as text."""
        return printable(self.listing.names[number])

    def everything(self, ledger: Ledger, progress: Progress | None) -> tuple[NDArray[np.uint8], list[int]]:
        """All readable images in one array, written in place so that memory holds each of them once."""
        pixels, kept = np.empty((len(self.listing), *(self.shape or (1, 0, 0))), np.uint8), list[int]()
        for number in range(len(self.listing)):
            try:
                image, said = _decode(self.listing.open(number), self._size)
            except Exception as error:  # decoders raise anything on hostile bytes
                ledger.drop(self.name(number), _reason(error))
                continue
            finally:
                if progress:
                    progress(number + 1, len(self.listing))
            self._compare(number, image)
            if len(image) > pixels.shape[1]:
                pixels = np.repeat(pixels, len(image), axis=1)
            pixels[len(kept)] = image  # a grey image fills all three channels
            kept.append(number)
            self._remarks.update(said)
        return pixels[: len(kept)], kept

    def one(self, number: int) -> NDArray[np.uint8]:
        """One image in the shape of all."""
        assert self.shape is not None
        image, _ = _decode(self.listing.open(number), self._size)
        self._compare(number, image)
        if len(image) > self.shape[0]:
            raise ValueError("coloured among grey images")
        return np.broadcast_to(image, self.shape)

    def _compare(self, number: int, image: NDArray[np.uint8]) -> None:
        assert self.shape is not None
        if image.shape[1:] != self.shape[1:]:
            raise DataError(
                f"{self.name(number)} is {image.shape[2]} x {image.shape[1]} pixels, {self._model} is "
                f"{self.shape[2]} x {self.shape[1]}: image_size=32 makes all of them 32 x 32."
            )


class _Careful:
    """Images when they are asked for; one that is damaged and to be skipped has the next readable one in its place."""

    def __init__(self, decoder: _Decoder, ledger: Ledger) -> None:
        self._decoder, self._ledger, self._bad = decoder, ledger, set[int]()

    def __call__(self, number: int) -> NDArray[np.uint8]:
        count = len(self._decoder.listing)
        for other in range(number, number + count):
            try:
                return self._decoder.one(other % count)
            except DataError:
                raise
            except Exception as error:  # decoders raise anything on hostile bytes
                if other % count not in self._bad:
                    self._ledger.drop(self._decoder.name(other % count), _reason(error))
                    self._bad.add(other % count)
        raise DataError(f"None of the {count:,} images can be read; the first is {self._decoder.name(0)}.")


def _decode(file: str | io.BytesIO, image_size: int | None) -> tuple[NDArray[np.uint8], list[str]]:
    """One image as (1 or 3, height, width), and what had to be done to it."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks about size and metadata; size is checked here
        # never by its path: Pillow would map an uncompressed TIFF, and take a row of one on its side for a column
        with (
            open(file, "rb") if isinstance(file, str) else file as stream,
            Image.open(stream, formats=_FORMATS) as image,
        ):
            return pixels_of(image, image_size)


def pixels_of(image: Image, image_size: int | None) -> tuple[NDArray[np.uint8], list[str]]:
    """An opened image, which is turned upright, as (1 or 3, height, width), and what had to be done to it."""
    from PIL import Image as Images
    from PIL import ImageOps

    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels, more than the {MAX_PIXELS:,} that are read")
    said = [_ANIMATED] if getattr(image, "n_frames", 1) > 1 else []
    ImageOps.exif_transpose(image, in_place=True)
    upright = _eight_bits(image, said)
    if image_size is not None:
        upright = ImageOps.fit(upright, (image_size, image_size), Images.Resampling.LANCZOS)
    array = np.asarray(upright)
    return (array[None] if array.ndim == 2 else array.transpose(2, 0, 1)), said


def _eight_bits(image: Image, said: list[str]) -> Image:
    """Any mode to L or RGB."""
    from PIL import Image as Images

    if image.mode.startswith("I") or image.mode == "F":
        return Images.fromarray(_from_deep(image, said))
    grey = image.mode in _GREY
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            said.append(_ALPHA)
        image = Images.alpha_composite(Images.new("RGBA", image.size, "white"), image)
    return image.convert("L" if grey else "RGB")


def _from_deep(image: Image, said: list[str]) -> NDArray[np.uint8]:
    deep: NDArray[Any] = np.asarray(image)
    unbounded = image.mode == "F" or (image.mode == "I" and image.format == "TIFF")
    if unbounded or deep.min() < 0 or deep.max() > 0xFFFF:
        raise ValueError(f"pixels of mode {image.mode} have no known white; save them as .npy")
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:  # 0 is white, which Pillow leaves as it is
        deep = 0xFFFF - deep
    said.append(_DEEP)
    return ((deep.astype(np.uint32) * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8)


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image that can be read, or an empty file"
    return in_words(error)
