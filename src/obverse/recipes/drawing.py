"""Ways to draw: by a table step by step, by a table all at once, or as a tolerance asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from obverse.model import Cond, Model
from obverse.path import Level
from obverse.sampler import Adaptive, AdaptiveRun, Ledger, Round, Sampled, Step, Tableau, parallel, sampled
from obverse.sampler.start import fresh


@dataclass(frozen=True)
class Drawing:
    """What is to be drawn, whichever way it is done; results are on the CPU, in network units.

    Args:     model: as it will be sampled.
              shape: (batch *data).
              cond: one row for each sample.
              seed, samples: whose noise; samples names the rows, default 0, 1, 2 ...
              microbatch: the network's one batch size; None calls whole batches.
    """

    model: Model
    shape: tuple[int, ...]
    cond: Cond = None
    seed: int = 0
    samples: Sequence[int] | None = None
    microbatch: int | None = None

    def by_table(self, table: Tableau, watch: Callable[[Step], object] | None = None) -> Sampled:
        """Step by step.

        Args:     table: of the model's schedule.
                  watch: called with every step.
        """
        run = sampled(
            self.model,
            self.shape,
            solver=table,
            cond=self.cond,
            seed=self.seed,
            samples=self.samples,
            microbatch=self.microbatch,
            watch=watch,
        )
        return replace(run, x=run.x.cpu())

    def at_once(self, table: Tableau, watch: Callable[[int, int], object] | None = None) -> Sampled:
        """The same samples, within 1e-5 or so, all calls guessed and improved together (`sampler.parallel`).

        Whole rounds are called at once, never `microbatch`. Of the ledger, rounds are what one waits for.

        Args:     watch: called after every round with the calls that are done and their total.
        """
        start = self._start(table.levels[0])
        run = parallel(table, self.model, start, cond=self.cond, seed=self.seed, samples=self.samples, watch=watch)
        calls = run.calls * self.model.passes
        return Sampled(run.x.cpu(), Ledger(run.rounds, calls, calls * self.shape[0]), None)

    def adaptively(
        self, method: Adaptive, begin: Level | float = 1.0, watch: Callable[[Round], object] | None = None
    ) -> AdaptiveRun:
        """As many calls for every sample as a tolerance asks for.

        Args:     begin: the level or time of the first state.
                  watch: called with every round.
        """
        level = self.model.schedule.at(begin)
        run = method.run(
            self.model,
            self._start(level),
            cond=self.cond,
            seed=self.seed,
            samples=self.samples,
            microbatch=self.microbatch,
            start_level=level,
            watch=watch,
        )
        return replace(run, x=run.x.cpu())

    def _start(self, level: Level) -> Tensor:
        return fresh(level, self.shape, seed=self.seed, samples=self.samples, device=self.model.device)
