"""X-ray: a scheduler of diffusers, read as a table (T41)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from obverse.ground.errors import require
from obverse.ground.numerics import exact
from obverse.interop.conventions import Convention, convention_of
from obverse.interop.probe import Reading, probe
from obverse.interop.refusals import NotLinear
from obverse.path import Level, Schedule, clean, join
from obverse.sampler import Register, Tableau, reached
from obverse.sampler.program import Row

CLIPS = ("clip_sample", "clip_denoised", "thresholding")  # what a table cannot do, on by default in some
NOTHING: Mapping[str, Any] = {}
DUST = 1e-13  # entries below are what float64 left of zero
CLEAN = 1e-9  # noise below is what rounding left


@dataclass(frozen=True)
class Xray:
    """A scheduler as we see it.

    Args:     tableau: its table; states and outputs are what its network is given and gives.
              schedule: the path that the table is on.
              times: what the network is told at each call.
              start: the standard deviation of its first state, where the table's level would have sigma.
              unit: its results are this times ours; the start too.
    """

    tableau: Tableau
    schedule: Schedule
    times: tuple[float, ...]
    start: float
    unit: float = 1.0


def xray(
    scheduler: Any, steps: int, *, step: Mapping[str, Any] = NOTHING, grid: Mapping[str, Any] = NOTHING
) -> Tableau:
    """A linear scheduler of diffusers as a table, in float64; `look` also says on which schedule.

    Every call's level is the one that its network is told; the numbers are what the scheduler does with it. Nothing
    is known here about its method: its `step` is run on basis vectors (T41).

    Args:     scheduler: an object of one of diffusers' scheduler classes; it stays as it is.
              steps: what its `set_timesteps` is told.
              step, grid: further arguments of its `step` (eta, s_churn ...) and `set_timesteps` (mu, sigmas ...).
    Raises:   NotLinear, with the reason, where there is no table: clipping, thresholding, tokens.
    Example:
        >>> from diffusers import DDIMScheduler
        >>> from obverse.sampler import DDIM
        >>> theirs = xray(DDIMScheduler(clip_sample=False, timestep_spacing="trailing"), 5)
        >>> theirs == DDIM().tableau("ddpm", "uniform:steps=5")
        True
    """
    return look(scheduler, steps, step=step, grid=grid).tableau


def look(scheduler: Any, steps: int, *, step: Mapping[str, Any] = NOTHING, grid: Mapping[str, Any] = NOTHING) -> Xray:
    """What `xray` returns, with the schedule it is on, the times told and the spread of the first state.

    Args:     as of `xray`.
    """
    require(isinstance(steps, int) and steps >= 1, f"steps is a whole number >= 1, got {steps} (try 10).")
    try:
        reading = probe(scheduler, steps, step, grid)
        convention = convention_of(reading.scheduler, reading.times)
        found = [_table(reading, convention, path) for path in convention.schedules]
    except NotLinear as refusal:
        config = getattr(scheduler, "config", {})
        hints = [name for name in CLIPS if config.get(name)]
        more = f" (it clips: set {' and '.join(f'{name}=False' for name in hints)})" if hints else ""
        if str(config.get("variance_type")).startswith("learned"):
            more += " (its network makes the variance: set variance_type='fixed_small')"
        raise NotLinear(f"{type(scheduler).__name__} is no table: {refusal}{more}.") from refusal
    best = min(range(len(found)), key=lambda i: _mismatch(found[i]))
    first = float(reading.start[0] / exact(convention.scale(found[best].levels[0])))
    times = tuple(reading.times.double().flatten().tolist())
    return Xray(found[best], convention.schedules[best], times, first, convention.unit)


def _mismatch(table: Tableau) -> float:
    """How far states are from what the network is told of them."""
    there = reached(table)
    return max(float(abs(there[n].theta - table.moments[n].theta)) for n in table.reads)


def _table(reading: Reading, convention: Convention, path: Schedule) -> Tableau:
    at = convention.told(path, reading.times.double().flatten())
    calls = len(reading.times)
    scale = torch.cat([exact(convention.scale(at)).expand(calls), torch.ones(1)])
    start, outputs = reading.start / scale, reading.outputs / scale[:, None]
    draws = reading.draws / scale[:, None] / convention.unit
    draws = draws[:, (draws != 0).any(dim=0)]  # some are made and multiplied by 0
    full = torch.cat([(start / start[0])[:, None], outputs, draws], dim=1)
    levels, reads = at, tuple(range(calls))
    if bool(full[0, 1:].any()):  # noise before the first call: the start itself is read by none
        first = torch.zeros_like(full[:1])
        first[0, 0] = 1.0
        full, levels, reads = torch.cat([first, full]), join(at[:1], at), tuple(range(1, calls + 1))
    rows = sparse(full, calls)
    table = Tableau(join(levels, clean()), rows, reads, convention.face, (None,) * draws.shape[1])
    return replace(table, levels=join(levels, _end(table, path, convention.start)))


def _end(table: Tableau, path: Schedule, start: Level | None) -> Level:
    """Where the run really ends."""
    last = reached(table, start)[-1]
    if last.sigma <= CLEAN * last.alpha:
        return clean(last.alpha)
    low, high = path.range
    level = path.at_logsnr(min(max(float(last.logsnr), low), high))
    return replace(level, alpha=exact(last.alpha), sigma=exact(last.sigma))


def sparse(full: Tensor, calls: int) -> tuple[Row, ...]:
    """Rows in terms of the state before where that leaves fewer numbers: what a solver would have written (T36).

    Args:     full: every state in terms of the start, the outputs and the draws; (states, 1 + calls + draws).
              calls: how many of the columns are outputs.
    """
    keys = [Register("e", 0)]
    keys += [Register("o", j) for j in range(calls)] + [Register("xi", m) for m in range(full.shape[1] - 1 - calls)]
    rows: list[Row] = [{}]
    for n in range(1, len(full)):
        before, now = full[n - 1], full[n]
        best, share = _dusted(now, full[n]), 0.0
        for pivot in before.abs().topk(min(8, len(before))).indices.tolist():
            if before[pivot] != 0 and now[pivot] != 0:
                rest = _dusted(now - now[pivot] / before[pivot] * before, now)
                if int((rest != 0).sum()) + 1 < int((best != 0).sum()) + (share != 0):
                    best, share = rest, float(now[pivot] / before[pivot])
        row = {keys[i]: float(best[i]) for i in best.nonzero().flatten().tolist()}
        rows.append(row | ({Register("e", n - 1): row.get(Register("e", n - 1), 0.0) + share} if share else {}))
    return tuple(rows)


def _dusted(row: Tensor, like: Tensor) -> Tensor:
    return torch.where(row.abs() > DUST * like.abs().max(), row, 0.0)
