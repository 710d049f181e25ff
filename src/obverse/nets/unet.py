"""U-Net: for images, signals and volumes; coarse and fine meet on every level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from obverse.nets.architecture import Architecture, check_call, zeroed
from obverse.nets.attention import Attention
from obverse.nets.condition import Cond, Conditions, Context, Told

_CONV: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_CELLS = 49  # the lowest level attends to at most 7 x 7 cells: 8 x 8 gets 2 levels, 28 x 28 gets 3


@dataclass(frozen=True)
class UNetArchitecture(Architecture, name="unet"):
    """Convolutions on halving resolutions, attention on the lowest; 1-D, 2-D or 3-D by the shape, of any size.

    Args:     width: channels on the finest level; each level below has as many more.
              depth: levels; by default halves until at most 49 cells are left.
              blocks: residual blocks a level, on the way down and again on the way up.
    Raises:   InvalidArgument for a number below 1.
    Example:
        >>> UNetArchitecture(width=16).build((3, 11, 7))(torch.zeros(2, 3, 11, 7), torch.rand(2)).shape
        torch.Size([2, 3, 11, 7])

    Source:   Ronneberger et al. (2015); Dhariwal & Nichol (2021), section 3.
    """

    width: int = 32
    depth: int | None = None
    blocks: int = 1

    def __post_init__(self) -> None:
        self.positive("width", "blocks")
        if self.depth is not None:
            self.positive("depth")

    def module(self, shape: tuple[int, ...], condition: Conditions) -> UNet:
        return UNet(self, shape, condition)


class UNet(nn.Module):
    """A U-Net; build it from a `UNetArchitecture`."""

    def __init__(self, architecture: UNetArchitecture, shape: tuple[int, ...], condition: Conditions) -> None:
        super().__init__()
        rank = architecture.spatial(shape)
        self.shape, width = shape, architecture.width
        depth = architecture.depth or _halvings(shape[1:]) + 1
        plan = _Plan(rank, 4 * width, 4 * width if condition.tokens else 0, architecture.blocks)
        self.context = Context(condition, plan.told)
        self.first = plan.conv(shape[0], width)
        self.levels = Level(plan, [width * (k + 1) for k in range(depth)])
        self.norm = _norm(width)
        self.last = zeroed(plan.conv(width, shape[0]))

    def forward(self, x_t: Tensor, t: Tensor, cond: Cond = None) -> Tensor:
        """The answer; x_t (batch *shape), t (batch), cond as in `Conditions`."""
        check_call(self.shape, x_t, t)
        told = self.context(t, cond)
        out: Tensor = self.last(silu(self.norm(self.levels(self.first(x_t), told))))
        return out


class _Plan(NamedTuple):
    """What all levels share."""

    rank: int
    told: int  # numbers every block is told
    tokens: int  # numbers in a token, 0 without
    blocks: int

    def conv(self, width: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Module:
        return _CONV[self.rank](width, out, kernel, stride=stride, padding=kernel // 2)


class Level(nn.Module):
    """One resolution and, inside it, all coarser ones."""

    def __init__(self, plan: _Plan, widths: list[int]) -> None:
        super().__init__()
        width, deeper = widths[0], widths[1:]
        self.before = nn.ModuleList(Block(plan, width, width) for _ in range(plan.blocks))
        self.shrink = plan.conv(width, deeper[0], stride=2) if deeper else None
        self.inside = Level(plan, deeper) if deeper else Glance(width, plan.tokens)
        joined = width + deeper[0] if deeper else width
        self.after = nn.ModuleList(Block(plan, width if k else joined, width) for k in range(plan.blocks))

    def forward(self, h: Tensor, told: Told) -> Tensor:
        """(batch, width, *sizes) to the same."""
        for block in self.before:
            h = block(h, told)
        if self.shrink is None:
            h = self.inside(h, told)
        else:
            h = torch.cat([h, interpolate(self.inside(self.shrink(h), told), size=h.shape[2:])], 1)
        for block in self.after:
            h = block(h, told)
        return h


class Block(nn.Module):
    """Two convolutions beside a short cut, the second scaled and shifted by what is told."""

    def __init__(self, plan: _Plan, width: int, out: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([_norm(width), _norm(out)])
        self.convs = nn.ModuleList([plan.conv(width, out), zeroed(plan.conv(out, out))])
        self.film = nn.Linear(plan.told, 2 * out)
        self.past = plan.conv(width, out, kernel=1) if width != out else nn.Identity()

    def forward(self, h: Tensor, told: Told) -> Tensor:
        """(batch, width, *sizes) to (batch, out, *sizes)."""
        film = self.film(told.vector)
        scale, shift = film.reshape(*film.shape, *(1,) * (h.ndim - 2)).chunk(2, 1)
        inner = self.norms[1](self.convs[0](silu(self.norms[0](h)))) * (1 + scale) + shift
        out: Tensor = self.past(h) + self.convs[1](silu(inner))
        return out


class Glance(nn.Module):
    """Attention of all cells to each other and to the tokens."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.attention = Attention(width, tokens)
        zeroed(self.attention.out)

    def forward(self, h: Tensor, told: Told) -> Tensor:
        """(batch, width, *sizes) to the same."""
        cells = self.norm(h).flatten(2).transpose(1, 2)
        seen: Tensor = self.attention(cells, told).transpose(1, 2)
        return h + seen.reshape(h.shape)


def _norm(width: int) -> nn.GroupNorm:
    """At most 8 groups, of at least 4 channels where there are 4."""
    return nn.GroupNorm(next(n for n in range(max(1, min(8, width // 4)), 0, -1) if width % n == 0), width)


def _halvings(sizes: tuple[int, ...]) -> int:
    return 0 if math.prod(sizes) <= _CELLS else 1 + _halvings(tuple(-(-size // 2) for size in sizes))
