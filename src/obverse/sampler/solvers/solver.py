"""What a solver is: a rule for one step, written as the paper writes it; what comes out is the table."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from typing import ClassVar

from obverse.ground.errors import InvalidArgument, ObverseError
from obverse.ground.families import Family
from obverse.ground.numerics import log
from obverse.path import Level, Schedule
from obverse.sampler.grids import Grid
from obverse.sampler.solvers.symbols import Combination, Trace
from obverse.sampler.tableau import Tableau


class Solver(Family, family="solver"):
    """A method to go from noise to data: a rule for one step, from which the whole table follows.

    To add one, write `step` and declare `order`: the exponent with which the end point's error falls in the step
    size (for stochastic methods: the error of the law, weak order). `obverse check` measures it.

    Example:
        >>> class Mine(Solver, name="my-ddim"):
        ...     order = 1
        ...     def step(self, trace, x_t, t, s):
        ...         e = trace.call(x_t, t)
        ...         return s.alpha * e.data + s.sigma * e.noise
        >>> from obverse.path import Linear
        >>> Mine().tableau(Linear(), "uniform:steps=4") == Solver.of("ddim").tableau(Linear(), "uniform:steps=4")
        True
    """

    order: ClassVar[int]

    @property
    def invariant(self) -> bool:
        """Whether only noise levels matter: equal log-SNR grids on two schedules then give equal tables (T28)."""
        return True

    @property
    def exact(self) -> bool:
        """Whether constant data is reached exactly, in any number of steps."""
        return self.invariant

    @abstractmethod
    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        """x_s from x_t, s cleaner than t.

        Args:     trace: makes calls (`trace.call(x_t, t)`), further states, draws and levels in between; remembers
                  `trace.guesses` and whatever is put into `trace.notes`.
                  x_t: the state at t.
                  t, s: the levels, as plain floats; sigma_s may be 0 and alpha_t may be 0.
        """

    def tableau(self, schedule: Schedule | str, grid: Grid | str) -> Tableau:
        """The table of this method on a schedule and a grid.

        Raises:   InvalidArgument for a grid that neither falls nor rises, or a step that this method cannot take;
                  SingularConversion where no method can.
        """
        schedule = Schedule.of(schedule)
        levels = Grid.of(grid).levels(schedule).floats()
        trace = Trace(schedule, levels)
        x_t = trace.start
        for trace.number, (t, s) in enumerate(pairwise(levels)):
            try:
                x_s = self.step(trace, x_t, t, s)
                if not isinstance(x_s, Combination):
                    raise InvalidArgument(
                        f"{self.label}: step returns x_s, a combination of states, outputs and draws; got "
                        f"{type(x_s).__name__}."
                    )
                x_t = trace.state(x_s, s)
            except (ZeroDivisionError, OverflowError, ValueError) as error:
                if isinstance(error, ObverseError):
                    raise
                raise InvalidArgument(
                    f"{self.label} cannot step from {t} to {s} ({error}). Use ddim there, or a grid between the ends."
                ) from error
        return trace.tableau()


class Around(Solver):
    """A method around a method: it promises what its base promises, unless it says otherwise."""

    base: Solver

    @property
    def order(self) -> int:  # type: ignore[override]
        """The base's."""
        return self.base.order

    @property
    def invariant(self) -> bool:
        return self.base.invariant

    @property
    def exact(self) -> bool:
        return self.base.exact


def length(t: Level, s: Level) -> float:
    """Length of a step in half log-SNR; infinite from alpha = 0 and to sigma = 0."""
    return float(log(s.alpha) + log(t.sigma) - log(t.alpha) - log(s.sigma))


def ratio(s: Level, t: Level) -> float:
    """nsr_s / nsr_t; 0 from pure noise and to none."""
    return float(s.sigma * t.alpha / (s.alpha * t.sigma))
