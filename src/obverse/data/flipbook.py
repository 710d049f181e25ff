"""Pictures one after the other: an endless GIF."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from obverse.data.order import evenly
from obverse.ground.errors import DataError, InvalidArgument

if TYPE_CHECKING:
    from PIL.Image import Image

_PAGES, _PAGE = 120, 1024  # of a flip-book, at most: pages; pixels a side


def gif(pictures: Sequence[Image], milliseconds: int, hold: int) -> bytes:
    """An endless GIF of pictures of one size.

    Args:     milliseconds, hold: how long a picture, and the last one, is shown; GIF counts in tens.
    Example:
        >>> from PIL import Image
        >>> gif([Image.new("L", (8, 8), grey) for grey in (0, 99)], 80, 1200)[:6]
        b'GIF89a'
    """
    opaque = [picture.convert("RGB") if picture.mode == "RGBA" else picture for picture in pictures]
    file, times = io.BytesIO(), [milliseconds] * (len(pictures) - 1) + [hold]
    opaque[0].save(file, "GIF", save_all=True, append_images=opaque[1:], duration=times, loop=0)
    return file.getvalue()


def flipbook(pages: Sequence[str | Path], *, milliseconds: int = 240, hold: int = 1200) -> bytes:
    """An endless GIF of pictures that have been drawn already, such as the sample grids of a training.

    Args:     pages: image files in order, all of one size; of many, some 120 are shown, evenly; large ones smaller.
              milliseconds, hold: see `gif`.
    Returns:  the file's bytes.
    Raises:   InvalidArgument without pages or for pages of several sizes; DataError for a file that is no picture.
    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as place:
        ...     pages = [Path(place) / f"{number}.gif" for number in range(2)]
        ...     for number, page in enumerate(pages):
        ...         size = page.write_bytes(gif([Image.new("L", (8, 8), number)], 10, 10))
        ...     flipbook(pages)[:6]
        b'GIF89a'
    """
    from PIL import Image

    if not pages:
        raise InvalidArgument("A flip-book has pages, got none.")
    pictures = list[Image.Image]()
    for number in evenly(len(pages), _PAGES).tolist():
        try:
            with Image.open(pages[number]) as page:
                picture = page.convert("L" if page.mode == "L" else "RGB")
        except OSError as error:
            raise DataError(f"{pages[number]} is no picture: {error}.") from error
        pictures.append(picture.reduce(math.ceil(max(picture.size) / _PAGE)))
        if pictures[-1].size != pictures[0].size:
            raise InvalidArgument(f"Pages are of one size, and {pages[number]} is of another than {pages[0]}.")
    return gif(pictures, milliseconds, hold)
