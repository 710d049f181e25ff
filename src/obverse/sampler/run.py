"""The one loop: runs any table with any model of its schedule."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact
from obverse.ground.shapes import check_floating, moved
from obverse.model import Cond, Model
from obverse.path import Estimate, Level, Schedule
from obverse.sampler import brownian
from obverse.sampler.memory import Memory, Turn, bare, memory_for
from obverse.sampler.tableau import Tableau


class Step(NamedTuple):
    """One state of a run: where it is (levels are plain floats here), and the latest estimate (None before any).

    States are copies: to steer a run, wrap its model.
    """

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
        table, _, loop = self._ready(model, start, cond, seed, samples)
        estimate, read, last = None, start, len(table.rows) - 1
        for number, states, output in loop:
            group = table.program.groups[number]
            if output is not None:
                before = table.program.groups[number - 1].states[-1]
                estimate = Estimate(read, table.moments[before], output.clone(), table.face)
            copies = [x_t.clone() for x_t in states]  # or a caller's edits would count here and not there
            for n, x_t in zip(group.states, copies, strict=True):
                if n:
                    yield Step(n, last, table.moments[n], x_t, estimate)
            read = copies[-1]

    def end(
        self, model: Model, start: Tensor, *, cond: Cond = None, seed: int = 0, samples: Sequence[int] | None = None
    ) -> Tensor:
        """The last state only, with nothing made for the others; arguments as of `steps`."""
        _, memory, loop = self._ready(model, start, cond, seed, samples)
        ((_, states, _),) = deque(loop, maxlen=1)
        end = memory.own(states[-1])
        memory.leave()
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
        check_floating(like)
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
            for _, states, _ in bare(program).turns(calls, start, iter(ready), moved(cond, start.device)):  # noqa: B007
                pass
            return states[-1]

        return run

    def _ready(
        self, model: Model, start: Tensor, cond: Cond, seed: int, samples: Sequence[int] | None
    ) -> tuple[Tableau, Memory, Iterator[Turn]]:
        """The table in the model's face, where its registers are kept, and the loop over it."""
        check_floating(start)
        table = self.tableau.on_face(model.face)
        agree(table, model.schedule)
        program = table.program
        memory = memory_for(program, start, model)
        spans = [table.spans[m] for m in program.draws]
        draws = brownian.draws(spans, start, seed=seed, samples=samples, scales=program.scales)
        calls = model.along(table.called, start)
        return table, memory, memory.turns(calls, start, draws, moved(cond, start.device))


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
