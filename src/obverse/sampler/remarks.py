"""What is worth knowing of one table by itself: where its states are, and which calls it could do without (T39)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from obverse.path import Level
from obverse.sampler.program import Register
from obverse.sampler.tableau import Tableau

TOLD = 1e-4  # an angle that a network could notice: a tenth of an index of DDPM's, where these are closest
LITTLE = 0.05  # an angle; whole steps of coarse grids are several times that
CLEAN = 1e-6  # sigma / alpha: noise below is none


def reached(table: Tableau, start: Level | None = None) -> list[Level]:
    """Where the states of a run are when all data is one point: alpha and sigma as they are, not as they are called.

    A consistent method arrives where its levels say. Where a network is told another level, by little it is taken to
    answer for the state that it sees, by much for the level that it is told.

    Args:     table: any; its levels are what networks are told.
              start: where the first state is, if not where the table says.
    """
    there = _propagated(table, start, told=False)
    return there if max(_off(table, there), default=0.0) < LITTLE else _propagated(table, start, told=True)


def _off(table: Tableau, there: list[Level]) -> list[float]:
    """By which angle each call's level is wrong."""
    return [abs(there[n].theta - table.moments[n].theta) for n in table.reads]


def _propagated(table: Tableau, start: Level | None, told: bool) -> list[Level]:
    unit = torch.eye(2 + table.draws, dtype=torch.float64)  # the data, the source, each draw
    held = {Register("xi", m): unit[2 + m] for m in range(table.draws)}
    calls: dict[int, list[int]] = {}
    for j, n in enumerate(table.reads):
        calls.setdefault(n, []).append(j)
    found = []
    for n, (level, row) in enumerate(zip(table.moments, table.rows, strict=True)):
        here = start if start is not None and n == 0 else level
        state = here.alpha * unit[0] + here.sigma * unit[1]
        if n:
            state = sum((number * held[key] for key, number in row.items()), start=torch.zeros_like(unit[0]))
        held[Register("e", n)], rest = state, state.clone()
        rest[0] = 0.0
        found.append(replace(level, alpha=float(state[0]), sigma=float(rest.norm())))
        at = level if told else found[-1]
        for j in calls.get(n, ()):
            a, b = table.face.row(at)
            eps = (state - at.alpha * unit[0]) / at.sigma if at.sigma else torch.zeros_like(state)
            held[Register("o", j)] = float(a) * unit[0] + float(b) * eps
    return found


def wasted(table: Tableau) -> list[int]:
    """Calls that no later state depends on, from 1."""
    used = {key.place for row in table.rows for key, number in row.items() if key.kind == "o" and number != 0}
    return [j + 1 for j in range(table.calls) if j not in used]


def without_waste(table: Tableau) -> Tableau:
    """The same algorithm without the calls that nothing depends on."""
    idle = wasted(table)
    kept = [j for j in range(table.calls) if j + 1 not in idle]
    place = {Register("o", j): Register("o", n) for n, j in enumerate(kept)}
    rows = tuple({place.get(key, key): number for key, number in row.items()} for row in table.rows)
    return replace(table, rows=rows, reads=tuple(table.reads[j] for j in kept))


def remarks(table: Tableau) -> Iterator[str]:
    """What is worth knowing about one table by itself."""
    there, end = reached(table), table.moments[-1]
    if end.sigma > CLEAN * end.alpha:
        yield f"it stops at sigma/alpha = {end.nsr:.3g} instead of 0"
    off, idle = _off(table, there), wasted(table)
    if max(off, default=0.0) > TOLD:
        worst = table.reads[off.index(max(off))]
        yield (
            f"at {sum(o > TOLD for o in off)} of {len(off)} calls the network is told another level than the state's, "
            f"at worst sigma/alpha = {table.moments[worst].nsr:.4g} for {there[worst].nsr:.4g}"
        )
    for j in idle:
        yield f"call {j} is wasted: nothing depends on it"
    weights = table.weights("v")[0].abs()
    if table.calls and table.calls not in idle and weights[-1] < 1e-2 * weights.max():
        yield f"the last call is all but wasted: its weight is {float(weights[-1] / weights.max()):.2g} of the largest"
