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
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor

from obverse.ground import grains
from obverse.ground.noise import MANY
from obverse.ground.numerics import precise
from obverse.ground.shapes import per_row

Span = tuple[float, float] | None  # of a draw: between which angles it is the path; None: a draw of its own
Names = Tensor | Sequence[int] | None  # of samples, default the first ones
MODES = 48  # cosines that all grids share
FINE = 2.0**20  # denominator of Q: with draws below 8 in units of 2^-16, sums of 2^13 terms are exact
BLOCK = 2**18  # normals made at once: 1 MiB of float32
ANEW = 8  # draws of large states made at once
WORK = 48  # bytes that making one of them takes in passing


def draws(
    spans: Sequence[Span],
    like: Tensor,
    *,
    seed: int,
    samples: Sequence[int] | None,
    scales: Tensor | None = None,
) -> Iterator[Tensor]:
    """The draws of a run, in order, each of the shape, dtype and device of a state.

    Args:     spans: for each draw, between which angles it is the Brownian path, or None for a draw of its own.
              like: a state; (batch *data).
              seed, samples: whose draws; samples names the rows, default 0, 1, 2 ...
              scales: what each draw is multiplied by, default 1; float64 (draws,).
    """
    if precise(like.device) != like.device:
        there = torch.empty_like(like, device=precise(like.device))
        made = draws(spans, there, seed=seed, samples=samples, scales=scales)
        return (draw.to(like.device) for draw in made)
    on, mixing = _laid(tuple(spans))
    if all(on):
        return _path(mixing, scales, like, seed, samples)
    yes = torch.tensor(on)
    of_path, of_own = (None, None) if scales is None else (scales[yes], scales[~yes])
    path, own = _path(mixing, of_path, like, seed, samples), _own(len(on) - sum(on), of_own, like, seed, samples)
    return (next(path) if here else next(own) for here in on)


def held(spans: Sequence[Span], numbers: int) -> int:
    """The bytes that the draws of a run take at most, those that are handed on apart.

    Args:     spans: as of `draws`.
              numbers: of a state, batch included.
    """
    on, mixing = _laid(tuple(spans))
    if not spans:
        return 0
    large = _large(numbers, len(mixing))
    step = min(ANEW if large else max(1, _together(numbers)), len(spans))  # made at once
    shared = 0 if large else mixing.shape[1] * numbers * 4
    own = max(4, step) * numbers * 4 if len(mixing) > MODES or not all(on) else 0
    return shared + own + step * numbers * (8 + 8) + WORK * min(BLOCK, max(4, len(spans)) * numbers)


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
    if not where:
        return on, torch.empty(0, 0)
    return on, modes(where) if len(where) > MODES else _quartered(modes(where))


def _quartered(mixing: Tensor) -> Tensor:
    """What makes draws of `grains.quarters`, where `mixing` makes them of `grains.grained`."""
    fours = torch.nn.functional.pad(mixing, (0, -mixing.shape[1] % 4))
    return (fours.reshape(len(fours), -1, 4) @ grains.QUARTERS).flatten(1)


def _path(
    mixing: Tensor, scales: Tensor | None, like: Tensor, seed: int, samples: Sequence[int] | None
) -> Iterator[Tensor]:
    count = len(mixing)
    if not count:
        return
    mixing = mixing.to(like.device)
    if _large(like.numel(), count):
        yield from _anew(mixing, scales, like, seed, samples)
        return
    shared = _gathered(mixing.shape[1], mixing.shape[1], like, samples, partial(_shared, mixing, like, seed))
    step = _together(like.numel())
    more = _rows("rest", count, like, seed, samples) if count > MODES else iter(())
    for weights, steps in _parts(mixing, step):
        rows = _product(weights, shared)
        if count > MODES:
            rows += next(more)
        made = _scaled(rows, scales, steps.start).to(like.dtype).reshape(-1, *like.shape).unbind()
        del rows
        yield from made
        del made


def _large(numbers: int, count: int) -> bool:
    """Whether so many draws of states of so many numbers are made of what is made anew, and not of what is kept."""
    return numbers > BLOCK and count <= MODES


def _anew(
    mixing: Tensor, scales: Tensor | None, like: Tensor, seed: int, samples: Sequence[int] | None
) -> Iterator[Tensor]:
    """The same draws, ANEW of them held: what all grids share is made for some numbers at a time, and let go."""
    few = max(1, (BLOCK if like.device.type == "cpu" else MANY) // mixing.shape[1])
    some = partial(grains.quarters, tuple(like.shape), seed=seed, purpose="path", samples=samples, device=like.device)
    for weights, steps in _parts(mixing, ANEW):
        made = [like.new_empty(like.shape) for _ in steps]
        for first in range(0, like.numel(), few):
            numbers = range(first, min(first + few, like.numel()))
            shared = some(steps=range(mixing.shape[1]), numbers=numbers).double()
            rows = _scaled(weights @ shared, scales, steps.start)
            for row, draw in zip(rows, made, strict=True):
                draw.view(-1)[first : numbers.stop] = row
        made.reverse()
        while made:
            yield made.pop()


def _shared(mixing: Tensor, like: Tensor, seed: int, who: Names, rows: int) -> Tensor:
    """What all grids share, ready to be mixed; float32 (columns of the mixing, numbers of some rows)."""
    shape, first = (rows, *like.shape[1:]), range(mixing.shape[1])
    if len(mixing) <= MODES:
        return grains.quarters(shape, seed=seed, purpose="path", steps=first, samples=who, device=like.device)
    some = partial(grains.grained, shape, seed=seed, samples=who, device=like.device)
    left = some(purpose="path", steps=first).flatten(1).double()
    for weights, steps in _parts(mixing, max(MODES, BLOCK // left.shape[1])):
        left -= weights.T @ some(purpose="rest", steps=steps).flatten(1).double()
    return grains.grain(left).float()


def _parts(rows: Tensor, size: int) -> Iterator[tuple[Tensor, range]]:
    """So many rows after so many, and which."""
    return ((rows[at : at + size], range(at, min(at + size, len(rows)))) for at in range(0, len(rows), size))


def _own(count: int, scales: Tensor | None, like: Tensor, seed: int, samples: Sequence[int] | None) -> Iterator[Tensor]:
    first = 0
    for rows in _rows("solver", count, like, seed, samples):
        made = _scaled(rows.double(), scales, first).to(like.dtype).reshape(-1, *like.shape).unbind()
        first += len(rows)
        del rows  # what is not needed any more makes room for the next
        yield from made
        del made


def _scaled(rows: Tensor, scales: Tensor | None, first: int) -> Tensor:
    if scales is None:
        return rows
    return rows.mul_(per_row(scales[first : first + len(rows)].to(rows.device), rows))


def _product(weights: Tensor, draws: Tensor) -> Tensor:
    """In float64, where it is exact, some columns at a time, so that no second copy of the draws is held."""
    few = max(1, BLOCK // len(draws))
    if draws.shape[1] <= few:
        return weights @ draws.double()
    made = weights.new_empty(len(weights), draws.shape[1])
    for part, where in zip(torch.split(draws, few, dim=1), torch.split(made, few, dim=1), strict=True):
        where.copy_(weights @ part.double())
    return made


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


def _together(numbers: int) -> int:
    """How many steps are made at once: as many as fit into a block, in fours where four do."""
    fit = BLOCK // numbers
    return fit // 4 * 4 if fit >= 4 else 1


def _rows(purpose: str, count: int, like: Tensor, seed: int, samples: Sequence[int] | None) -> Iterator[Tensor]:
    """Draws in order, some steps at a time; float32 (steps, numbers of the batch). Four at least are made at once."""

    def made(steps: range, who: Names, rows: int) -> Tensor:
        shape = (rows, *like.shape[1:])
        drawn = grains.grained(shape, seed=seed, purpose=purpose, steps=steps, samples=who, device=like.device)
        return drawn.flatten(1)

    size = max(4, _together(like.numel()))
    for first in range(0, count, size):
        steps = range(first, min(first + size, count))
        block = _gathered(len(steps), len(steps), like, samples, partial(made, steps))
        yield from torch.split(block, _together(like.numel()))
        del block  # before the next one is made


def _gathered(
    height: int, steps: int, like: Tensor, samples: Sequence[int] | None, made: Callable[[Names, int], Tensor]
) -> Tensor:
    """So many rows of numbers of the batch, made of few samples at a time for so many steps to stay a block."""
    few = max(1, BLOCK * len(like) // (like.numel() * steps))
    if few >= len(like):
        return made(samples, len(like))
    names = torch.arange(len(like)) if samples is None else torch.as_tensor(samples)
    whole = like.new_empty(height, like.numel(), dtype=torch.float32)
    parts = torch.split(names, few)
    for who, where in zip(parts, torch.split(whole, few * like.numel() // len(like), dim=1), strict=True):
        where.copy_(made(who, len(who)))
    return whole
