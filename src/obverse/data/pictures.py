"""Pictures of samples, whatever they are: contact sheets, scatter plots, small curves; one frame or a film of them."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from obverse.data.flipbook import gif
from obverse.data.pens import PLOT, curves_of, image_of, kind_of, scatter_of, tiled, window_of
from obverse.ground.errors import InvalidArgument, NonFinite
from obverse.ground.extras import load

if TYPE_CHECKING:
    from PIL.Image import Image


def sheet(
    values: Tensor,
    *,
    columns: int | None = None,
    scale: int | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Image:
    """Samples on one picture.

    | values                           | drawn as                                                            |
    |----------------------------------|---------------------------------------------------------------------|
    | (N, C, H, W), C in 1, 3, 4       | images side by side, enlarged by whole pixels                       |
    | (N, d)                           | a scatter of the first two columns; one column: a histogram         |
    | (N, C, L)                        | curves side by side, the channels of a sample in one box            |

    Args:     values: network units; (N *data).
              columns: images or curves in a row; default about as many as rows.
              scale: how many times larger than stored (images; default: to 48 pixels at least) or than usual (plots).
              low, high: the values drawn as black and white (images; default -1 and 1), or as the ends of the axes
                (plots; default the range of the values; what lies outside is not seen).
    Raises:   InvalidArgument for shapes that have no picture; NonFinite for a NaN or an infinity, naming the row.
    Example:
        >>> sheet(torch.zeros(6, 1, 8, 8), columns=3, scale=4).size
        (100, 66)
    """
    kind = kind_of(values)
    if (columns is not None and columns < 1) or (scale is not None and scale < 1):
        raise InvalidArgument(f"columns and scale are whole numbers >= 1, got columns={columns}, scale={scale}.")
    bad = ~values.isfinite().flatten(1).all(1)
    if bad.any():
        raise NonFinite(f"A picture shows finite numbers: row {int(bad.nonzero()[0])} of {len(values)} holds others.")
    window = window_of(values, kind, low, high)
    values = values.detach().to("cpu", torch.float64)
    if kind == "vectors":
        return scatter_of(values, window, PLOT * (scale or 1))
    tiles = [image_of(x, window, scale) if kind == "images" else curves_of(x, window, scale or 1) for x in values]
    return tiled(tiles, columns or math.ceil(math.sqrt(len(tiles))), plots=kind == "curves")


def film(
    frames: Sequence[Tensor],
    path: str | Path | None = None,
    *,
    milliseconds: int = 80,
    hold: int = 1200,
    columns: int | None = None,
    scale: int | None = None,
    low: float | None = None,
    high: float | None = None,
) -> bytes:
    """An endless GIF of samples on their way, all frames in the last one's window.

    Args:     frames: states in order, all of one shape; each (N *data).
              path: where to write it too.
              milliseconds, hold: how long a frame, and the last one, is shown; GIF counts in tens.
              columns, scale, low, high: see `sheet`.
    Returns:  the file's bytes.
    Raises:   InvalidArgument without frames, and as `sheet`.
    Example:
        >>> film([torch.zeros(4, 1, 8, 8), torch.ones(4, 1, 8, 8)])[:6]
        b'GIF89a'
    """
    _check_film(frames, milliseconds, hold)
    low, high = window_of(frames[-1], kind_of(frames[-1]), low, high)
    pictures = [sheet(x, columns=columns, scale=scale, low=low, high=high) for x in frames]
    data = gif(pictures, milliseconds, hold)
    if path is not None:
        Path(path).write_bytes(data)
    return data


def video(
    frames: Sequence[Tensor],
    path: str | Path,
    *,
    milliseconds: int = 80,
    hold: int = 1200,
    columns: int | None = None,
    scale: int | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Path:
    """The film as an MP4 file (H.264), smaller than a GIF and with all colours.

    Args:     as of `film`; the path is where ffmpeg writes.
    Returns:  the path.
    Raises:   MissingExtra without the extra `video`, before anything is drawn; else as `film`.
    """
    _check_film(frames, milliseconds, hold)
    ffmpeg = load("imageio_ffmpeg", "video")
    low, high = window_of(frames[-1], kind_of(frames[-1]), low, high)
    pictures = [sheet(x, columns=columns, scale=scale, low=low, high=high).convert("RGB") for x in frames]
    width, height = (side + side % 2 for side in pictures[0].size)  # H.264 halves the sides for its colours
    pictures += pictures[-1:] * (max(1, round(hold / milliseconds)) - 1)
    writer = ffmpeg.write_frames(str(path), (width, height), fps=1000 / milliseconds, macro_block_size=2)
    writer.send(None)
    for picture in pictures:
        writer.send(picture.crop((0, 0, width, height)).tobytes())
    writer.close()
    return Path(path)


def contact(
    frames: Sequence[Tensor], *, scale: int | None = None, low: float | None = None, high: float | None = None
) -> Image:
    """A contact sheet: a row for each sample, a column for each moment; of vectors, a scatter for each moment.

    Args:     frames: states in order, all of one shape; each (N *data).
              scale, low, high: see `sheet`; the window is the last frame's.
    Raises:   InvalidArgument without frames, and as `sheet`.
    Example:
        >>> contact([torch.zeros(2, 1, 8, 8)] * 3, scale=4).size
        (100, 66)
    """
    _check_film(frames)
    kind = kind_of(frames[-1])
    low, high = window_of(frames[-1], kind, low, high)
    if kind == "vectors":
        return tiled([sheet(x, scale=scale, low=low, high=high) for x in frames], len(frames), plots=True)
    return sheet(torch.stack([*frames], 1).flatten(0, 1), columns=len(frames), scale=scale, low=low, high=high)


def png(image: Image) -> bytes:
    """The bytes of a PNG file.

    Example:
        >>> png(sheet(torch.zeros(1, 1, 8, 8)))[1:4]
        b'PNG'
    """
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _check_film(frames: Sequence[Tensor], milliseconds: int = 1, hold: int = 1) -> None:
    if not frames or milliseconds < 1 or hold < 1:
        raise InvalidArgument(
            f"A film has frames and lasts: got {len(frames)} frames, milliseconds={milliseconds}, hold={hold}."
        )
