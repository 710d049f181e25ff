"""DiT: a transformer on patches; scales best where there is much data and a GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, pad

from obverse.nets.architecture import Architecture, check_call, zeroed
from obverse.nets.attention import Attention
from obverse.nets.condition import Cond, Conditions, Context, Told
from obverse.nets.waves import positions


@dataclass(frozen=True)
class DiTArchitecture(Architecture, name="dit"):
    """Transformer on patches of 1-D, 2-D or 3-D data, every block gated by time and condition (adaLN-Zero).

    Args:     width: numbers in a cell.
              depth: blocks.
              patch: side of a patch, along every axis; sizes it does not divide are padded, and cropped again.
              ratio: width of the inner layer of a block's MLP, in widths.
              placed: whether cells know where they lie; false for sets in no order, such as clouds of points (with
                  patch=1), whose answer then moves with them.
    Raises:   InvalidArgument for a number below 1.
    Example:
        >>> DiTArchitecture(width=32, patch=4).build((3, 30, 30)).grid
        (8, 8)

    Source:   Peebles & Xie (2023), section 3.2.
    """

    width: int = 128
    depth: int = 4
    patch: int = 2
    ratio: int = 4
    placed: bool = True

    def __post_init__(self) -> None:
        self.positive("width", "depth", "patch", "ratio")

    def module(self, shape: tuple[int, ...], condition: Conditions) -> DiT:
        return DiT(self, shape, condition)


class DiT(nn.Module):
    """A diffusion transformer; build it from a `DiTArchitecture`."""

    def __init__(self, architecture: DiTArchitecture, shape: tuple[int, ...], condition: Conditions) -> None:
        super().__init__()
        rank = architecture.spatial(shape)
        self.shape, self.patch, self.placed, width = shape, architecture.patch, architecture.placed, architecture.width
        self.grid = tuple(-(-size // self.patch) for size in shape[1:])
        inside = shape[0] * self.patch**rank
        self.context = Context(condition, width)
        self.first = nn.Linear(inside, width)
        tokens = width if condition.tokens else 0
        self.blocks = nn.ModuleList(Block(width, architecture.ratio, tokens) for _ in range(architecture.depth))
        self.film = zeroed(nn.Linear(width, 2 * width))
        self.last = zeroed(nn.Linear(width, inside))

    def forward(self, x_t: Tensor, t: Tensor, cond: Cond = None) -> Tensor:
        """The answer; x_t (batch *shape), t (batch), cond as in `Conditions`."""
        check_call(self.shape, x_t, t)
        told = self.context(t, cond)
        h: Tensor = self.first(self._cut(x_t))
        if self.placed:
            h = h + positions(self.grid, h.shape[2], h)
        for block in self.blocks:
            h = block(h, told)
        scale, shift = self.film(told.vector)[:, None].chunk(2, 2)
        return self._join(self.last(_film(h, scale, shift)))

    def _cut(self, x: Tensor) -> Tensor:
        """(batch *shape) to (batch, cells, channels patch^rank)."""
        missing = [cells * self.patch - size for cells, size in zip(self.grid, self.shape[1:], strict=True)]
        x = pad(x, [side for more in reversed(missing) for side in (0, more)])
        x = x.reshape(*x.shape[:2], *(size for cells in self.grid for size in (cells, self.patch)))
        last = x.ndim  # batch, channels, cells, patch, cells, patch ...
        return x.permute(0, *range(2, last, 2), 1, *range(3, last, 2)).reshape(len(x), math.prod(self.grid), -1)

    def _join(self, h: Tensor) -> Tensor:
        """The way back from `_cut`."""
        rank = len(self.grid)
        h = h.reshape(len(h), *self.grid, self.shape[0], *(self.patch,) * rank)
        h = h.permute(0, 1 + rank, *(axis for k in range(rank) for axis in (1 + k, 2 + rank + k)))
        for axis in range(rank):
            h = h.flatten(2 + axis, 3 + axis).narrow(2 + axis, 0, self.shape[1 + axis])
        return h


class Block(nn.Module):
    """Attention, then an MLP, each scaled, shifted and gated by what is told; at first it changes nothing."""

    def __init__(self, width: int, ratio: int, tokens: int) -> None:
        super().__init__()
        self.film = zeroed(nn.Linear(width, 6 * width))
        self.attention = Attention(width, tokens)
        self.inner, self.outer = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)

    def forward(self, h: Tensor, told: Told) -> Tensor:
        """(batch, cells, width) to the same."""
        scale_a, shift_a, gate_a, scale_m, shift_m, gate_m = self.film(told.vector)[:, None].chunk(6, 2)
        h = h + gate_a * self.attention(_film(h, scale_a, shift_a), told)
        out: Tensor = h + gate_m * self.outer(gelu(self.inner(_film(h, scale_m, shift_m)), approximate="tanh"))
        return out


def _film(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return layer_norm(h, h.shape[-1:]) * (1 + scale) + shift
