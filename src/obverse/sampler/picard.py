"""Parallel in time: all calls of a run guessed at once and improved together, until nothing moves (T42).

A table is triangular: what call j reads depends on the calls before it only. So iterating "states from outputs,
outputs from states" over a window of calls, all in one batch, is right about the first call of the window after one
round, about the second after two, and about smooth runs much sooner. What has settled leaves the window, which slides
on.
Source: Shih et al. (2023), "Parallel sampling of diffusion models", here over any table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, NonFinite
from obverse.ground.shapes import check_rows, moved, rows
from obverse.model import SUSPECTS, Cond, Model
from obverse.path import Edm, Level
from obverse.sampler import brownian
from obverse.sampler.program import Register, combine
from obverse.sampler.run import agree
from obverse.sampler.tableau import Tableau

FACE = Edm()  # finite everywhere; settles first of all that were tried (benchmarks/parallel_in_time.py)


@dataclass(frozen=True)
class Parallel:
    """The end of a run and what it took.

    x: (batch *data). rounds: model calls made one after the other. calls: levels visited in all of them together.
    """

    x: Tensor
    rounds: int
    calls: int


def parallel(
    table: Tableau,
    model: Model,
    start: Tensor,
    *,
    tolerance: float = 2e-5,
    window: int | None = None,
    cond: Cond = None,
    seed: int = 0,
    samples: Sequence[int] | None = None,
    watch: Callable[[int, int], object] | None = None,
) -> Parallel:
    """Run a table with fewer rounds than calls, to the same end as `Sampler(table)` within a tolerance.

    Args:     table, model, start, cond, seed, samples: as of `Sampler.steps`.
              tolerance: a state has settled when a round moves no number of it by more, on the circle (data units).
              window: calls made in one batch, at most; default all: memory grows with it.
              watch: called after every round with the calls that are done and their total.
    Returns:  the end; rounds are what a machine with room for the window waits for.
    Raises:   InvalidArgument for a tolerance or a window that is not positive, or a table of another schedule;
              NonFinite naming the call, the level and the sample.

    Example:
        >>> from obverse.model import Gaussian
        >>> from obverse.sampler import DDIM, Uniform
        >>> oracle = Gaussian(torch.zeros(2), 0.25, "linear")
        >>> run = parallel(DDIM().tableau("linear", Uniform(64)), oracle, torch.ones(1, 2), tolerance=1e-4)
        >>> run.rounds < 32
        True
    """
    if not tolerance > 0 or (window is not None and window < 1):
        raise InvalidArgument(f"parallel: tolerance > 0 and window >= 1, got {tolerance} and {window} (2e-5, None).")
    check_rows(cond, len(start))
    table = table.on_face(FACE)
    agree(table, model.schedule)
    draws = brownian.draws(table.spans, start, seed=seed, samples=samples)
    sweep = _Sweep(table, model, start, moved(cond, start.device), draws)
    width = min(window or table.calls, table.calls)
    done, rounds, calls = 0, 0, 0
    with torch.no_grad():
        while done < table.calls:
            members = range(done, min(done + width, table.calls))
            moves = sweep.round(members)
            rounds, calls = rounds + 1, calls + len(members)
            done += next((i for i, size in enumerate(moves) if not size <= tolerance), len(moves))
            sweep.leave(members[0], done)
            if watch is not None:
                watch(done, table.calls)
        x = sweep.states(sweep.after(done), len(table.rows) - 1)
    if not bool(x.isfinite().all()):
        raise NonFinite("parallel: the end is not finite, the network's outputs are: is the start?")
    return Parallel(x, rounds, calls)


class _Sweep:
    """Registers of a run whose outputs are guesses that get better; those of its window and what it still reads."""

    def __init__(self, table: Tableau, model: Model, start: Tensor, cond: Cond, draws: Iterator[Tensor]) -> None:
        self.table, self.model, self.start, self.cond, self.draws = table, model, start, cond, enumerate(draws)
        self.held: dict[Register, Tensor] = {}
        self._last = {key: n for n, row in enumerate(table.rows) for key in row}  # state that reads it
        self._calls = {state: j for j, state in enumerate(table.reads)}
        self._seen: dict[int, Tensor] = {}

    def round(self, members: range) -> list[float]:
        """Make the states of some calls, then the calls, all at once; how far each state has moved since the last."""
        self.states(self.after(members[0]), self.table.reads[members[-1]])
        read = [self.held[Register("e", self.table.reads[j])] for j in members]
        levels = self.table.called[torch.tensor(members)]
        count = len(self.start)
        each = Level(*(getattr(levels, f.name).repeat_interleave(count) for f in fields(Level)))
        everyone = torch.arange(count, device=self.start.device).repeat(len(members))
        said = self.model(torch.cat(read), each, rows(self.cond, everyone)).on(FACE).chunk(len(members))
        apart = {j: (x_t - self._seen[j]).abs().max() for j, x_t in zip(members, read, strict=True) if j in self._seen}
        sizes = dict(zip(apart, torch.stack([*apart.values()]).tolist() if apart else (), strict=True))
        sizes[members[0]] = 0.0  # it depends on settled calls only
        for j, x_t, output in zip(members, read, said, strict=True):
            self.held[Register("o", j)] = output
            self._seen[j] = x_t
        return [sizes.get(j, math.inf) / level.r for j, level in zip(members, levels.floats(), strict=True)]

    def after(self, done: int) -> int:
        """The first state that more than the calls that are done has to make."""
        return self.table.reads[done - 1] + 1 if done else 0

    def leave(self, before: int, done: int) -> None:
        """Look at the calls that have settled, and let go of what nobody will read.

        Raises:   NonFinite naming the call, the level and the row.
        """
        for j in range(before, done):
            fine = self.held[Register("o", j)].isfinite().flatten(1).all(1)
            if not bool(fine.all()):
                raise NonFinite(
                    f"parallel: the network's output of call {j + 1} of {self.table.calls} is not finite at "
                    f"{self.table.moments[self.table.reads[j]]}, first in row {int((~fine).nonzero()[0])} "
                    f"({int((~fine).sum())} of {len(fine)} rows). {SUSPECTS}"
                )
            self._seen.pop(j)
        first, guess = self.after(done), Register("o", done - 1)  # which the next output is guessed to be
        self.held = {key: value for key, value in self.held.items() if self._last.get(key, -1) >= first or key == guess}

    def states(self, first: int, last: int) -> Tensor:
        """States from one to another, from what is held; an output not yet made is guessed to be the one before."""
        for n in range(first, last + 1):
            while any(key.kind == "xi" and key not in self.held for key in self.table.rows[n]):
                m, draw = next(self.draws)
                self.held[Register("xi", m)] = draw
            self.held[Register("e", n)] = combine(self.table.rows[n], self.held) if n else self.start
            j = self._calls.get(n)
            if j is not None and Register("o", j) not in self.held:
                self.held[Register("o", j)] = self.held.get(Register("o", j - 1), torch.zeros_like(self.start))
        return self.held[Register("e", last)]
