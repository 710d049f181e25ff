"""Draws that are added up: multiples of powers of two, whose sums are exact in any order, and cheap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from obverse.ground.noise import GAMMA, ids_of, key_of, mix

GRAINS = 2.0**16  # in 1, of draws that are added up
SHARES, TOLD = 12, 5  # digits of one, and how many a word of 64 tells
KEPT = 2**14  # places of first samples that are kept for later draws: 128 KiB of them
QUARTERS = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float64) / 2


def grained(
    shape: Sequence[int],
    *,
    seed: int,
    purpose: str,
    steps: range,
    samples: Tensor | Sequence[int] | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Standard normal draws in multiples of 2^-16, ten times cheaper than `normal`: for draws that are added up.

    Sums and products of such numbers with few digits are exact in float64, so they do not depend on their order. Each
    is half a sum of four `quarters`: its fourth moment is 3 to within 0.001, its bound 7.5 standard deviations.

    Args:     as of `normal`; steps: the draws of several at once, cheapest in fours.
    Returns:  float32; (steps batch *data).
    """
    first, last = steps.start // 4, -(-steps.stop // 4)
    some = range(4 * first, 4 * last)
    four = quarters(shape, seed=seed, purpose=purpose, steps=some, samples=samples, device=device)
    made = (QUARTERS.to(four.device) @ four.view(len(some) // 4, 4, -1).double()).flatten(0, 1)
    return made[steps.start - 4 * first : steps.stop - 4 * first].float().reshape(len(steps), *shape)


def quarters(
    shape: Sequence[int],
    *,
    seed: int,
    purpose: str,
    steps: range,
    samples: Tensor | Sequence[int] | None = None,
    device: torch.device | str | None = None,
    numbers: range | None = None,
) -> Tensor:
    """Draws of which any four in a row, turned by `QUARTERS`, are four of `grained`; five to a word.

    Each is one of the 2^12 numbers that share the normal law evenly; multiples of 2^-15.

    Args:     as of `normal`; steps: the draws of several at once, cheapest in fives.
              numbers: which of the batch, one sample after the other; default all.
    Returns:  float32; (steps, numbers).
    """
    size, place = math.prod(shape[1:]), torch.device("cpu" if device is None else device)
    if numbers is not None:
        at, ids = torch.arange(numbers.start, numbers.stop, device=place), ids_of(shape, samples).to(place)
        places = mix((ids[at // size] + 1) * GAMMA) + (at % size + 1) * GAMMA
    elif samples is None and shape[0] * size <= KEPT:
        places = _first_places(shape[0], size, place)
    else:
        places = _places(ids_of(shape, samples).to(place), size)
    first, last = steps.start // TOLD, -(-steps.stop // TOLD)
    turns = torch.arange(first << 32, last << 32, 1 << 32, device=place).mul_(GAMMA)
    words = mix(turns[:, None] + (places + key_of(seed, purpose)))
    shifts, shares = _shares(place)
    which = (words[:, None] >> shifts).bitwise_and_(len(shares) - 1)
    made = shares.index_select(0, which.flatten()).view(-1, len(places))
    return made[steps.start - TOLD * first : steps.stop - TOLD * first]


def grain(values: Tensor) -> Tensor:
    """The nearest multiples of 2^-16."""
    return (values * GRAINS).round_().mul_(1 / GRAINS)


def _places(ids: Tensor, size: int) -> Tensor:
    """Of every number of some samples, in counters; (batch * size,)."""
    within = torch.arange(1, size + 1, device=ids.device).mul_(GAMMA)
    return (mix((ids + 1) * GAMMA)[:, None] + within).flatten()


@lru_cache(maxsize=4)
def _first_places(count: int, size: int, device: torch.device) -> Tensor:
    return _places(torch.arange(count, device=device), size)


@lru_cache(maxsize=8)
def _shares(device: torch.device) -> tuple[Tensor, Tensor]:
    """How far to shift a word, (TOLD, 1), and the root mean squares of equal shares of the normal law, (2^SHARES,)."""
    count = 2**SHARES
    edges = torch.special.ndtri(torch.arange(count // 2, count, dtype=torch.float64, device="cpu") / count)
    fall = edges * (edges.square() / -2).exp() * (count / math.sqrt(2 * math.pi))
    upper = (1 - torch.cat([fall, fall.new_zeros(1)]).diff()).sqrt()  # of x² between two edges: 1 + x density there
    shares = grain(torch.cat([-upper.flip(0), upper]) / 2) * 2
    return torch.arange(0, SHARES * TOLD, SHARES, device=device)[:, None], shares.float().to(device)
