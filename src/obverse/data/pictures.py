"""Pictures of samples, whatever they are: contact sheets, scatter plots, small curves; one frame or a film of them."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from obverse.data.flipbook import gif
from obverse.ground.errors import InvalidArgument, NonFinite
from obverse.ground.extras import load

if TYPE_CHECKING:
    from PIL.Image import Image

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # channels of an image
_TILE, _PLOT, _CURVE = 48, 320, (128, 64)  # pixels: an image's shorter side, a scatter's side, a curve's box
_GAP = 2
_INK, _PAPER, _LINE = (31, 95, 168), (255, 255, 255), (214, 214, 214)
_BARS = 48
_FINE = 3  # plots are drawn so much larger and scaled down, which smooths their edges


class _Window(NamedTuple):
    low: float
    high: float


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
    kind = _kind(values)
    if (columns is not None and columns < 1) or (scale is not None and scale < 1):
        raise InvalidArgument(f"columns and scale are whole numbers >= 1, got columns={columns}, scale={scale}.")
    bad = ~values.isfinite().flatten(1).all(1)
    if bad.any():
        raise NonFinite(f"A picture shows finite numbers: row {int(bad.nonzero()[0])} of {len(values)} holds others.")
    window = _window(values, kind, low, high)
    values = values.detach().to("cpu", torch.float64)
    if kind == "vectors":
        return _scatter(values, window, _PLOT * (scale or 1))
    tiles = [_image(x, window, scale) if kind == "images" else _curves(x, window, scale or 1) for x in values]
    return _tiled(tiles, columns or math.ceil(math.sqrt(len(tiles))))


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
    low, high = _window(frames[-1], _kind(frames[-1]), low, high)
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
    low, high = _window(frames[-1], _kind(frames[-1]), low, high)
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
    kind = _kind(frames[-1])
    low, high = _window(frames[-1], kind, low, high)
    if kind == "vectors":
        return _tiled([sheet(x, scale=scale, low=low, high=high) for x in frames], len(frames))
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


def _kind(values: Tensor) -> str:
    """What is to be drawn: images, vectors or curves."""
    shape = tuple(values.shape)
    kind = {2: "vectors", 3: "curves", 4: "images"}.get(len(shape))
    if kind is None or not values.numel() or (kind == "images" and shape[1] not in _MODES):
        raise InvalidArgument(
            "A picture is made of images (N, C, H, W) with C in 1, 3, 4, of vectors (N, d) or of curves (N, C, L), "
            f"N >= 1; got {shape} (draw a slice of it)."
        )
    return kind


def _window(values: Tensor, kind: str, low: float | None, high: float | None) -> _Window:
    usual = (-1.0, 1.0)
    if kind != "images" and (low is None or high is None):
        usual = float(values.min()), float(values.max())
        margin = 0.05 * (usual[1] - usual[0]) or 1.0
        usual = usual[0] - margin, usual[1] + margin
    window = _Window(usual[0] if low is None else low, usual[1] if high is None else high)
    if not window.low < window.high:
        raise InvalidArgument(f"A picture needs low < high, got {window.low}, {window.high} (images: -1, 1).")
    return window


def _image(x: Tensor, window: _Window, scale: int | None) -> Image:
    """One image, its pixels enlarged and not blurred; (C, H, W)."""
    from PIL import Image

    levels = ((x - window.low) / (window.high - window.low) * 255).round().clamp(0, 255).to(torch.uint8)
    flat = levels[0] if len(levels) == 1 else levels.permute(1, 2, 0)
    image = Image.fromarray(flat.contiguous().numpy(), _MODES[len(levels)])
    times = scale or math.ceil(_TILE / min(image.size))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def _curves(x: Tensor, window: _Window, scale: int) -> Image:
    """The channels of one signal, from ink to ever paler; (C, L)."""
    from PIL import Image, ImageDraw

    width, height = (side * scale for side in _CURVE)
    image = Image.new("RGB", (width * _FINE, height * _FINE), _PAPER)
    pen = ImageDraw.Draw(image)
    across = torch.linspace(0, image.width - 1, x.shape[1], dtype=torch.float64)
    for channel, up in reversed(list(enumerate(_place(x, window, image.height)))):
        pale = channel / (len(x) + 1)
        ink = tuple(round(a + (b - a) * pale) for a, b in zip(_INK, _PAPER, strict=True))
        points = list(zip(across.tolist(), (image.height - 1 - up).tolist(), strict=True))
        pen.line(points * (1 if len(points) > 1 else 2), fill=ink, width=_FINE)
    return image.resize((width, height), Image.Resampling.BOX)


def _scatter(values: Tensor, window: _Window, side: int) -> Image:
    """Points in the plane of the first two columns, or bars for one; (N, d)."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (side * _FINE, side * _FINE), _PAPER)
    pen, size = ImageDraw.Draw(image), side * _FINE
    for zero in _place(torch.zeros(1), window, size).tolist():  # the axes, where 0 is in sight
        pen.line([(zero, 0), (zero, size)], fill=_LINE, width=_FINE)
        pen.line(
            [(0, size - 1 - zero), (size, size - 1 - zero)] if values.shape[1] > 1 else [], fill=_LINE, width=_FINE
        )
    if values.shape[1] == 1:
        counts = torch.histc(values, _BARS, *window)
        for bar, height in enumerate((counts / counts.max().clamp(min=1) * 0.95 * size).tolist()):
            if height:
                box = [bar * size / _BARS, size - height, (bar + 1) * size / _BARS - _FINE, size]
                pen.rectangle(box, fill=_INK)
    else:
        radius = max(_FINE, size * min(0.01, 0.25 / math.sqrt(len(values))))
        for across, up in _place(values[:, :2], window, size).tolist():
            pen.ellipse([across - radius, size - up - radius, across + radius, size - up + radius], fill=_INK)
    return image.resize((side, side), Image.Resampling.BOX)


def _place(values: Tensor, window: _Window, size: int) -> Tensor:
    """Pixels from the lower end of an axis; far outside it, so that no drawing overflows, just out of sight."""
    return ((values - window.low) / (window.high - window.low)).clamp(-1, 2) * (size - 1)


def _tiled(tiles: Sequence[Image], columns: int) -> Image:
    """Tiles of one size in rows, thin gaps between and none around."""
    from PIL import Image

    columns = min(columns, len(tiles))
    width, height = tiles[0].size
    mode = tiles[0].mode
    greys: dict[str, tuple[int, ...]] = {"L": (96,), "RGB": (96, 96, 96), "RGBA": (0, 0, 0, 0)}
    size = (columns * (width + _GAP) - _GAP, -(-len(tiles) // columns) * (height + _GAP) - _GAP)
    image = Image.new(mode, size, greys[mode])
    for number, tile in enumerate(tiles):
        image.paste(tile, (number % columns * (width + _GAP), number // columns * (height + _GAP)))
    return image
