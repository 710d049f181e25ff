"""One Brownian path for each sample, whatever the number of steps (T35).

White noise in the clock u = sqrt(theta / (pi/2)) is written in cosines: xi_i = sum_k Q_ik Z_k with Z_k standard normal,
the same for every table, and Q the orthonormal columns nearest to what the cosines, lowest first, are on the steps of
the table. So draws are exactly independent and standard on every grid, and a finer grid sees the same path in finer
detail, at one draw a step and without a tree. Beyond MODES steps the rest is made of draws zeta of the steps' own,
xi = Q (Z - Q' zeta) + zeta, which is standard again.

Numbers are multiples of powers of two, so that float64 sums are exact in any order: bits do not depend on the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor

from obverse.ground import noise

Span = tuple[float, float] | None  # of a draw: between which angles it is the path; None: a draw of its own
MODES = 48  # cosines that all grids share
FINE = 2.0**20  # denominator of Q: with draws below 8 in units of 2^-16, sums of 2^13 terms are exact
BLOCK = 2**18  # normals made at once: 1 MiB of float32


def draws(spans: Sequence[Span], like: Tensor, *, seed: int, samples: Sequence[int] | None) -> Iterator[Tensor]:
    """The draws of a run, in order, each of the shape, dtype and device of a state.

    Args:     spans: for each draw, between which angles it is the Brownian path, or None for a draw of its own.
              like: a state; (batch *data).
              seed, samples: whose draws; samples names the rows, default 0, 1, 2 ...
    """
    on, mixing = _laid(tuple(spans))
    path = _path(mixing, like, seed, samples)
    own = (row for rows in _blocks("solver", len(on) - sum(on), like, seed, samples) for row in rows.to(like))
    yield from path if all(on) else (next(path) if yes else next(own) for yes in on)


@lru_cache(maxsize=64)
def _laid(spans: tuple[Span, ...]) -> tuple[list[bool], Tensor]:
    """Which draws lie on the path, one that lies where another has lain being a draw of its own; and their `modes`."""
    low, high, on = math.inf, -math.inf, list[bool]()
    for span in spans:
        a, b = sorted(span) if span else (0.0, 0.0)
        slack = 1e-9 * (b - a)
        on.append(a < b and (b <= low + slack or a >= high - slack))
        if on[-1]:
            low, high = min(low, a), max(high, b)
    where = [span for span, yes in zip(spans, on, strict=True) if span and yes]
    return on, modes(where) if where else torch.empty(0, 0)


def _path(mixing: Tensor, like: Tensor, seed: int, samples: Sequence[int] | None) -> Iterator[Tensor]:
    count, size = len(mixing), like.numel()
    if not count:
        return
    mixing = mixing.to(like.device)
    shared = like.new_empty(mixing.shape[1], size, dtype=torch.float32)
    begun = 0
    for who in _some(like, samples, count):  # few rows at a time, all their steps
        where = slice(begun, begun := begun + len(who) * size // len(like))
        some = partial(noise.grained, (len(who), *like.shape[1:]), seed=seed, samples=who, device=like.device)
        part = some(purpose="path", steps=range(len(shared))).reshape(len(shared), -1)
        if count > MODES:
            rest = some(purpose="rest", steps=range(count)).reshape(count, -1)
            part = noise.grain(part - mixing.T @ rest.double())
        if len(who) < len(like):
            shared[:, where] = part
        else:  # all at once: nothing to put together
            shared = part
    more = _blocks("rest", count, like, seed, samples) if count > MODES else None
    step = max(1, BLOCK // size)
    for first in range(0, count, step):
        rows = _product(mixing[first : first + step], shared)
        if more is not None:
            rows += next(more).reshape(-1, size)
        yield from rows.to(like.dtype).reshape(-1, *like.shape).unbind()


def _product(weights: Tensor, draws: Tensor) -> Tensor:
    """In float64, where it is exact, some columns at a time, so that no second copy of the draws is held."""
    parts = torch.split(draws, max(1, 4 * BLOCK // len(draws)), dim=1)
    return torch.cat([weights @ part.double() for part in parts], 1) if len(parts) > 1 else weights @ draws.double()


def modes(spans: Sequence[tuple[float, float]]) -> Tensor:
    """Q: what the shared cosines are on the steps of a table; orthonormal columns, (draws, at most MODES).

    Args:     spans: the angles between which each draw lies.
    """
    u = (torch.tensor(spans, dtype=torch.float64) / (math.pi / 2)).sqrt().sort(1).values
    width = u.diff(dim=1)
    k = torch.arange(1, min(MODES, len(spans)), dtype=torch.float64) * math.pi
    waves = math.sqrt(2) / k * ((k * u[:, 1:]).sin() - (k * u[:, :1]).sin())
    basis = torch.cat([width, waves], 1) / width.sqrt()
    q, r = torch.linalg.qr(basis)
    mixing: Tensor = (q * r.diagonal().sign() * FINE).round() / FINE
    return mixing


def _blocks(purpose: str, count: int, like: Tensor, seed: int, samples: Sequence[int] | None) -> Iterator[Tensor]:
    """Draws in order, some steps or, where a state is large, some rows at a time; float32 (some batch *data)."""
    size = max(1, BLOCK // max(1, like.numel()))
    parts = _some(like, samples, 1)
    for first in range(0, count, size):
        steps = range(first, min(first + size, count))
        drawn = [
            noise.grained(
                (len(who), *like.shape[1:]), seed=seed, purpose=purpose, steps=steps, samples=who, device=like.device
            )
            for who in parts
        ]
        yield torch.cat(drawn, 1) if len(drawn) > 1 else drawn[0]


def _some(like: Tensor, samples: Sequence[int] | None, count: int) -> Sequence[Tensor]:
    """The samples, few enough at a time for so many draws of each to stay a block."""
    names = torch.arange(len(like)) if samples is None else torch.as_tensor(samples)
    return torch.split(names, max(1, BLOCK * len(like) // (like.numel() * count)))
