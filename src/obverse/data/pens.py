"""What pictures are drawn with: one image, the curves of one signal, a scatter; and tiles of them side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument

if TYPE_CHECKING:
    from PIL.Image import Image

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # channels of an image
_TILE, PLOT, _CURVE = 48, 320, (128, 64)  # pixels: an image's shorter side, a scatter's side, a curve's box
_GAP = 2
_INK, _PAPER, _LINE = (31, 95, 168), (255, 255, 255), (214, 214, 214)
_BARS = 48
_FINE = 3  # plots are drawn so much larger and scaled down, which smooths their edges


class Window(NamedTuple):
    """The values at the two ends of what is seen."""

    low: float
    high: float


def kind_of(values: Tensor) -> str:
    """What is to be drawn: images, vectors or curves."""
    shape = tuple(values.shape)
    kind = {2: "vectors", 3: "curves", 4: "images"}.get(len(shape))
    if kind is None or not values.numel() or (kind == "images" and shape[1] not in _MODES):
        raise InvalidArgument(
            "A picture is made of images (N, C, H, W) with C in 1, 3, 4, of vectors (N, d) or of curves (N, C, L), "
            f"N >= 1; got {shape} (draw a slice of it)."
        )
    return kind


def window_of(values: Tensor, kind: str, low: float | None, high: float | None) -> Window:
    """What is seen where no ends are given: images between -1 and 1, everything else whole."""
    usual = (-1.0, 1.0)
    if kind != "images" and (low is None or high is None):
        usual = float(values.min()), float(values.max())
        margin = 0.05 * (usual[1] - usual[0]) or 1.0
        usual = usual[0] - margin, usual[1] + margin
    window = Window(usual[0] if low is None else low, usual[1] if high is None else high)
    if not window.low < window.high:
        raise InvalidArgument(f"A picture needs low < high, got {window.low}, {window.high} (images: -1, 1).")
    return window


def image_of(x: Tensor, window: Window, scale: int | None) -> Image:
    """One image, its pixels enlarged and not blurred; (C, H, W)."""
    from PIL import Image

    levels = ((x - window.low) / (window.high - window.low) * 255).round().clamp(0, 255).to(torch.uint8)
    flat = levels[0] if len(levels) == 1 else levels.permute(1, 2, 0)
    image = Image.fromarray(flat.contiguous().numpy(), _MODES[len(levels)])
    times = scale or math.ceil(_TILE / min(image.size))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def curves_of(x: Tensor, window: Window, scale: int) -> Image:
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


def scatter_of(values: Tensor, window: Window, side: int) -> Image:
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


def _place(values: Tensor, window: Window, size: int) -> Tensor:
    """Pixels from the lower end of an axis; far outside it, so that no drawing overflows, just out of sight."""
    return ((values - window.low) / (window.high - window.low)).clamp(-1, 2) * (size - 1)


def tiled(tiles: Sequence[Image], columns: int, *, plots: bool) -> Image:
    """Tiles of one size in rows, thin gaps between and none around; of plots, in the colour of their axes."""
    from PIL import Image

    columns = min(columns, len(tiles))
    width, height = tiles[0].size
    mode = tiles[0].mode
    greys: dict[str, tuple[int, ...]] = {"L": (96,), "RGB": _LINE if plots else (96, 96, 96), "RGBA": (0, 0, 0, 0)}
    size = (columns * (width + _GAP) - _GAP, -(-len(tiles) // columns) * (height + _GAP) - _GAP)
    image = Image.new(mode, size, greys[mode])
    for number, tile in enumerate(tiles):
        image.paste(tile, (number % columns * (width + _GAP), number // columns * (height + _GAP)))
    return image
