"""The one loop: runs any table with any model of its schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact
from obverse.ground.shapes import moved
from obverse.model import Call, Cond, Model
from obverse.path import Estimate, Level, Schedule
from obverse.sampler import brownian
from obverse.sampler.memory import Loose, Memory, memory_for
from obverse.sampler.program import Link, Program
from obverse.sampler.tableau import Tableau


class Step(NamedTuple):
    """One state of a run: where it is (levels are plain floats here), and the latest estimate (None before any)."""

    number: int
    total: int
    level: Level
    x_t: Tensor
    estimate: Estimate | None

    @property
    def behind(self) -> float:
        """How much of the way is behind all samples, of 1."""
        return self.number / self.total


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
        table, memory, loop = self._ready(model, start, cond, seed, samples)
        estimate, read, last = None, start, len(table.rows) - 1
        for number, states, output in loop:
            group = table.program.groups[number]
            if output is not None:
                before = table.program.groups[number - 1].states[-1]
                estimate = Estimate(read, table.moments[before], output.clone(), table.face)
            copies = [memory.own(x_t) for x_t in states]
            for n, x_t in zip(group.states, copies, strict=True):
                if n:
                    yield Step(n, last, table.moments[n], x_t, estimate)
            read = copies[-1]

    def end(
        self, model: Model, start: Tensor, *, cond: Cond = None, seed: int = 0, samples: Sequence[int] | None = None
    ) -> Tensor:
        """The last state only, with nothing made for the others; arguments as of `steps`."""
        table, memory, loop = self._ready(model, start, cond, seed, samples)
        states: Sequence[Tensor] = [start]
        for _, states, _ in loop:  # noqa: B007 - the last ones are wanted
            pass
        end = memory.own(states[-1])
        memory.leave(table.program)
        return end

    def draws(self, like: Tensor, *, seed: int = 0, samples: Sequence[int] | None = None) -> list[Tensor]:
        """The normal draws of a run, in the order of their use, each like a state."""
        spans = [self.tableau.spans[m] for m in self.tableau.program.draws]
        return list(brownian.draws(spans, like, seed=seed, samples=samples))

    def bound(self, model: Model, like: Tensor) -> Callable[..., Tensor]:
        """The whole run as one function of tensors, for `torch.compile` and CUDA graphs: (start, draws, cond) -> end.

        Everything that depends on levels only is worked out now, nothing is asked of randomness or of Python later.

        Args:     like: a state with the shape, dtype and device of those to come.

        Example:
            >>> from obverse.model import Gaussian
            >>> from obverse.sampler import DDIM, Uniform
            >>> oracle, start = Gaussian(torch.zeros(2), 0.25, "linear"), torch.ones(1, 2)
            >>> sampler = Sampler(DDIM().tableau("linear", Uniform(steps=5)))
            >>> bool(torch.allclose(sampler.bound(oracle, start)(start), sampler.end(oracle, start)))
            True
        """
        table = self.tableau.on_face(model.face)
        agree(table, model.schedule)
        program, calls = table.program, model.along(table.called, like)
        scales = None if program.scales is None else program.scales.tolist()

        def run(start: Tensor, draws: Sequence[Tensor] = (), cond: Cond = None) -> Tensor:
            if len(draws) != table.draws:
                raise InvalidArgument(
                    f"A run takes {table.draws} draws, got {len(draws)}: run(start, sampler.draws(start, seed=3))."
                )
            states: Sequence[Tensor] = [start]
            ready = draws if scales is None else [draw * scale for draw, scale in zip(draws, scales, strict=True)]
            for _, states, _ in _turns(program, Loose(program), calls, start, iter(ready), cond):  # noqa: B007
                pass
            return states[-1]

        return run

    def _ready(
        self, model: Model, start: Tensor, cond: Cond, seed: int, samples: Sequence[int] | None
    ) -> tuple[Tableau, Memory, Iterator[Turn]]:
        """The table in the model's face, where its registers are kept, and the loop over it."""
        table = self.tableau.on_face(model.face)
        agree(table, model.schedule)
        program = table.program
        memory = memory_for(program, start, model)
        spans = [table.spans[m] for m in program.draws]
        draws = brownian.draws(spans, start, seed=seed, samples=samples, scales=program.scales)
        calls = model.along(table.called, start)
        return table, memory, _turns(program, memory, calls, start, draws, cond)


Turn = tuple[int, Sequence[Tensor], Tensor | None]


def _turns(
    program: Program, memory: Memory, calls: Sequence[Call], start: Tensor, draws: Iterator[Tensor], cond: Cond
) -> Iterator[Turn]:
    """The loop, by its shorter form where there is one; the condition is carried to the states once."""
    cond = moved(cond, start.device)
    if program.chain:
        return _chained(program.chain, calls, start, draws, cond)
    return _loop(program, memory, calls, start, draws, cond)


def _chained(
    chain: Sequence[Link], calls: Sequence[Call], x_t: Tensor, draws: Iterator[Tensor], cond: Cond
) -> Iterator[Turn]:
    """The loop where the latest state is all there is to keep: call, draw, state."""
    yield 0, [x_t], None
    for number, ((a, b, c), call) in enumerate(zip(chain, calls, strict=True), 1):
        output = call(x_t, cond)
        if c is not None:  # the draw is c times as large already
            x_t = next(draws).add(output, alpha=b).add_(x_t, alpha=a)
        else:
            x_t = x_t.add(output, alpha=b) if a == 1 else (x_t * a).add_(output, alpha=b)
        yield number, [x_t], output


def _loop(
    program: Program, memory: Memory, calls: Sequence[Call], start: Tensor, draws: Iterator[Tensor], cond: Cond
) -> Iterator[Turn]:
    """The loop where registers have places: draws, states, call."""
    output = None
    for number, (_, drawn, _, kept, call, into) in enumerate(program.groups):
        for slot in drawn:
            memory.put(slot, next(draws))
        states = memory.states(number) if number else [start]
        for place, slot in kept:
            memory.put(slot, states[place])
        yield number, states, output
        if call is not None:
            output = memory.copy(into, calls[call](states[-1], cond))


def agree(table: Tableau, schedule: Schedule) -> None:
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
