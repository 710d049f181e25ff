"""MLP: for vectors, tables and points; any shape is flattened."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from obverse.ground.errors import InvalidArgument, require
from obverse.nets.architecture import Architecture, check_call, zeroed
from obverse.nets.condition import Cond, Conditions, Context
from obverse.nets.waves import waves

_SLOWEST = -3  # the first octave of `fourier` has a period of 8: standardised data do not wrap around


@dataclass(frozen=True)
class MLPArchitecture(Architecture, name="mlp"):
    """Residual MLP, every layer scaled and shifted by time and condition.

    Args:     width: of the hidden layers.
              depth: residual blocks.
              fourier: octaves of sines and cosines of each coordinate that join the input; 0 leaves the prior smooth,
                  4 helps where data of unit scale have edges (checkerboards, rings).
    Raises:   InvalidArgument for width or depth < 1, fourier < 0.
    Example:
        >>> MLPArchitecture(depth=2).build((2,))(torch.zeros(3, 2), torch.rand(3)).shape
        torch.Size([3, 2])
    """

    width: int = 128
    depth: int = 3
    fourier: int = 0

    def __post_init__(self) -> None:
        self.positive("width", "depth")
        require(self.fourier >= 0, f"mlp: fourier is 0 (none) or more octaves, got {self.fourier} (try fourier=4).")

    def module(self, shape: tuple[int, ...], condition: Conditions) -> MLP:
        return MLP(self, shape, condition)


class MLP(nn.Module):
    """A residual MLP; build it from an `MLPArchitecture`."""

    def __init__(self, architecture: MLPArchitecture, shape: tuple[int, ...], condition: Conditions) -> None:
        super().__init__()
        self.shape, width, size = shape, architecture.width, math.prod(shape)
        if condition.tokens:
            raise InvalidArgument("mlp cannot attend to tokens: use net 'unet' or 'dit', or one vector (vector=...).")
        self.octaves = range(_SLOWEST, _SLOWEST + architecture.fourier)
        self.context = Context(condition, width)
        self.first = nn.Linear(size * (1 + 2 * architecture.fourier), width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(architecture.depth))
        self.last = zeroed(nn.Linear(width, size))

    def forward(self, x_t: Tensor, t: Tensor, cond: Cond = None) -> Tensor:
        """The answer; x_t (batch *shape), t (batch), cond as in `Conditions`."""
        check_call(self.shape, x_t, t)
        told, flat = self.context(t, cond), x_t.flatten(1)
        if self.octaves:
            flat = torch.cat([flat, waves(flat, self.octaves).flatten(1)], 1)
        h = self.first(flat)
        for block in self.blocks:
            h = block(h, told.vector)
        out: Tensor = self.last(silu(h))
        return out.reshape(x_t.shape)


class Block(nn.Module):
    """h + W silu((1 + scale) norm(V h) + shift), scale and shift told."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.film = nn.Linear(width, 2 * width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        """(batch, width) to the same."""
        scale, shift = self.film(told).chunk(2, 1)
        out: Tensor = h + self.outer(silu(self.norm(self.inner(h)) * (1 + scale) + shift))
        return out
