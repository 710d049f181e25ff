"""The one loop: runs any table with any model of its schedule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact
from obverse.model import Cond, Microbatched, Model
from obverse.path import Estimate, Level, Schedule
from obverse.sampler import brownian
from obverse.sampler.program import Loose, Matrix, Memory, Program
from obverse.sampler.tableau import Tableau


class Step(NamedTuple):
    """One state of a run: where it is (levels are plain floats here), and the latest estimate (None before any)."""

    number: int
    total: int
    level: Level
    x_t: Tensor
    estimate: Estimate | None


@dataclass(frozen=True)
class Sampler:
    """A table, ready to run.

    Example:
        >>> from obverse.model import Gaussian
        >>> from obverse.sampler import DDIM, Uniform
        >>> oracle = Gaussian(torch.zeros(2), 0.25, "linear")
        >>> table = DDIM().tableau(oracle.schedule, Uniform(steps=5))
        >>> [step.number for step in Sampler(table).steps(oracle, torch.ones(1, 2))]
        [1, 2, 3, 4, 5]
    """

    tableau: Tableau

    def steps(
        self, model: Model, start: Tensor, *, cond: Cond = None, seed: int = 0, samples: Sequence[int] | None = None
    ) -> Iterator[Step]:
        """Run the table, state by state: a generator, so that progress bars, films and early stops are callers.

        Args:     model: a model on the table's schedule.
                  start: the first state; (batch *data); float32 or float64.
                  cond: handed to the model at every call.
                  seed, samples: whose draws stochastic methods make; samples names the rows, default 0, 1, 2 ...
        """
        yield from self._run(model, start, cond, seed, samples, every=True)

    def end(
        self, model: Model, start: Tensor, *, cond: Cond = None, seed: int = 0, samples: Sequence[int] | None = None
    ) -> Tensor:
        """The last state only, with nothing made for the others; arguments as of `steps`."""
        *_, last = self._run(model, start, cond, seed, samples, every=False)
        return last.x_t

    def _run(
        self, model: Model, start: Tensor, cond: Cond, seed: int, samples: Sequence[int] | None, every: bool
    ) -> Iterator[Step]:
        """The one loop: draws, states, call; group after group."""
        table = self.tableau.on_face(model.face)
        _agree(table, model.schedule)
        program, levels, last = table.program, table.moments, len(table.rows) - 1
        memory = memory_for(program, start, model)
        calls = model.along(table.called, start)
        spans = [table.spans[m] for m in program.draws]
        draws = brownian.draws(spans, start, seed=seed, samples=samples)
        estimate: Estimate | None = None
        for number, group in enumerate(program.groups):
            for slot in group.draws:
                memory.put(slot, next(draws))
            states = memory.states(number) if number else [start]
            for place, slot in group.kept:
                memory.put(slot, states[place])
            if every or group.call is None:
                for n, x_t in zip(group.states, map(memory.own, states), strict=True):
                    if n:
                        yield Step(n, last, levels[n], x_t, estimate)
            if group.call is not None:
                output = calls[group.call](states[-1], cond)
                memory.put(group.output, output)
                if every:
                    estimate = Estimate(memory.own(states[-1]), levels[group.states[-1]], output, table.face)


def memory_for(program: Program, like: Tensor, model: Model) -> Memory:
    """The faster memory where products of float32 are what they seem and no gradient is asked for."""
    exactly = like.dtype == torch.float64 or torch.get_float32_matmul_precision() == "highest"
    if like.device.type == "cpu" and exactly and not torch.is_grad_enabled() and not isinstance(model, Microbatched):
        return Matrix(program, like)
    return Loose(program)


def _agree(table: Tableau, schedule: Schedule) -> None:
    """Refuse to run a table on a model of another schedule: it would run, and be wrong."""
    if any(schedule is known for known in table.agreed):
        return
    called = table.called
    for mine, its in ((called.alpha, schedule.alpha), (called.sigma, schedule.sigma)):
        if not torch.allclose(exact(mine), its(exact(called.t)), rtol=1e-6, atol=1e-6):
            raise InvalidArgument(
                f"This table is of another schedule than the model's, {schedule.label}: make it with "
                f"solver.tableau(model.schedule, grid), or run model.on(schedule)."
            )
    table.agreed.append(schedule)
