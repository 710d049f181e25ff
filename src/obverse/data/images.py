"""Images: a folder of files, with one subfolder a class if it has subfolders, as one uint8 array.

Every file becomes upright (EXIF), 8 bits deep, grey or RGB. All grey stays one channel; else all are RGB.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from obverse.data.damage import Ledger, decoding, printable
from obverse.data.dataset import Dataset, encode
from obverse.data.scaling import Scaling
from obverse.ground.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Progress = Callable[[int, int], None]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
MAX_PIXELS = 64 * 2**20
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # others run foreign programs or parse scripts
_GREY = ("1", "L", "LA", "La")
_ANIMATED = "animated: only the first frame is used"
_ALPHA = "transparent: laid on white"
_DEEP = "16 bits deep: scaled to 8"


def read_folder(path: Path, damaged: str, image_size: int | None, progress: Progress | None) -> Dataset:
    """The images below a folder, in the order of their names."""
    ledger, remarks = Ledger(damaged), Counter[str]()
    where = printable(path)
    with decoding(where):
        files = list(_images(path, path.resolve(), ledger))
    if not files:
        ledger.require_samples(0, f"{where} (as a folder of images: {' '.join(SUFFIXES)})")
    inside = [len(file.relative_to(path).parts) > 1 for file in files]
    if any(inside) and not all(inside):
        stray = printable(files[inside.index(False)].name)
        raise DataError(f"{where}: {stray} lies beside class folders; move it into one, or all images into one folder.")
    pixels, kept = _decode_all(path, files, image_size, ledger, remarks, progress)
    ledger.require_samples(len(kept), where)
    labels, classes = None, tuple[str, ...]()
    if any(inside):
        labels, classes = encode(printable(file.relative_to(path).parts[0]) for file in kept)
    notes = tuple(f"{count:,} {remark}" for remark, count in sorted(remarks.items()))
    scaling = Scaling.of_range(0, 255)
    values, entries = torch.from_numpy(pixels), tuple(ledger.entries)
    return Dataset(
        printable(path.resolve().name), values, labels, classes, scaling, entries, kind="images", notes=notes
    )


def _images(folder: Path, root: Path, ledger: Ledger) -> Iterator[Path]:
    """Every image file below, in the order of names; hidden files are passed over, links that lead away are damage."""
    with os.scandir(folder) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
    for entry in visible:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _images(path, root, ledger)
        elif entry.is_symlink() and entry.is_dir():
            ledger.drop(printable(path), "a link to a folder, which is not followed")
        elif path.suffix.lower() in SUFFIXES:
            if entry.is_symlink() and not path.resolve().is_relative_to(root):
                ledger.drop(printable(path), "a link that leads out of the folder")
            else:
                yield path


def _decode_all(
    root: Path,
    files: list[Path],
    image_size: int | None,
    ledger: Ledger,
    remarks: Counter[str],
    progress: Progress | None,
) -> tuple[NDArray[np.uint8], list[Path]]:
    """All readable images in one array, written in place so that memory holds each of them once."""
    pixels, kept = np.empty((0, 1, 0, 0), np.uint8), list[Path]()
    for done, file in enumerate(files, 1):
        name = printable(file.relative_to(root))
        try:
            image, said = _decode(file, image_size)
        except Exception as error:  # decoders raise anything on hostile bytes
            ledger.drop(name, _reason(error))
            continue
        finally:
            if progress:
                progress(done, len(files))
        if not kept:
            pixels = np.empty((len(files), *image.shape), np.uint8)
        if image.shape[1:] != pixels.shape[2:]:
            raise DataError(
                f"{name} is {image.shape[2]} x {image.shape[1]} pixels, {printable(kept[0].relative_to(root))} is "
                f"{pixels.shape[3]} x {pixels.shape[2]}: image_size=32 makes all of them 32 x 32."
            )
        if len(image) > pixels.shape[1]:
            pixels = np.repeat(pixels, len(image), axis=1)
        pixels[len(kept)] = image  # a grey image fills all three channels
        kept.append(file)
        remarks.update(said)
    return pixels[: len(kept)], kept


def _decode(path: Path, image_size: int | None) -> tuple[NDArray[np.uint8], list[str]]:
    """One image as (1 or 3, height, width), and what had to be done to it."""
    from PIL import Image, ImageOps

    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a regular file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks about size and metadata; size is checked here
        with Image.open(path, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"{width} x {height} pixels, more than the {MAX_PIXELS:,} that are read")
            said = [_ANIMATED] if getattr(image, "n_frames", 1) > 1 else []
            upright = _eight_bits(ImageOps.exif_transpose(image), said)
        if image_size is not None:
            upright = ImageOps.fit(upright, (image_size, image_size), Image.Resampling.LANCZOS)
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
    if image.mode == "F" or deep.min() < 0 or deep.max() > 0xFFFF:
        raise ValueError(f"pixels of mode {image.mode} have no known white; save them as .npy")
    said.append(_DEEP)
    return ((deep.astype(np.uint32) * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8)


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image that can be read, or an empty file"
    return " ".join(str(error).split()) or type(error).__name__
