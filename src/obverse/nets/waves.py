"""Numbers as sines and cosines, so that a network can tell near ones apart and far ones too."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# 2^-11 to 2^4 turns per unit: half a turn over 1000 steps, a third over a log-SNR of [-15, 15] at 2^-6, and
# a thousandth of [0, 1] still moves the fastest wave by 6 degrees.
TIME_OCTAVES = range(-11, 5)


def waves(values: Tensor, octaves: range) -> Tensor:
    """Sines and cosines of 2^k turns per unit, k in octaves.

    Powers of two scale without rounding, and whole turns are taken off before the sine: the waves are as exact as the
    values themselves, in float32 as in float64, however large.

    Args:     values: any shape (*some); float32 or float64.
              octaves: the exponents k.
    Returns:  sines, then cosines; (*some, 2 len(octaves)).
    Example:
        >>> waves(torch.tensor([0.25]), range(1)).round(decimals=6) + 0.0
        tensor([[1., 0.]])
    """
    exponents = torch.arange(octaves.start, octaves.stop, dtype=values.dtype, device=values.device)
    turns = values[..., None] * exponents.exp2()
    angle = (turns - turns.round()) * (2 * math.pi)
    return torch.cat([angle.sin(), angle.cos()], -1)


def positions(sizes: Sequence[int], width: int, like: Tensor) -> Tensor:
    """Where each cell of a grid lies, written in waves whose lengths grow to 10^4 cells, a share for each axis.

    Args:     sizes: cells along each axis.
              width: numbers for each cell; what the axes cannot share evenly stays 0.
              like: gives dtype and device.
    Returns:  cells in row-major order; (cells, width).
    Source:   Vaswani et al. (2017), section 3.5.
    """
    count = width // (2 * len(sizes))
    slowing = torch.arange(count, dtype=torch.float32, device=like.device) * (-math.log(1e4) / max(count, 1))
    cells = torch.cartesian_prod(*(torch.arange(size, device=like.device) for size in sizes))
    angles = cells.reshape(-1, len(sizes), 1) * slowing.exp()
    table = torch.cat([angles.sin(), angles.cos()], -1).flatten(1)
    return torch.nn.functional.pad(table, (0, width - table.shape[1])).to(like.dtype)
