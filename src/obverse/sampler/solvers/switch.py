"""Two methods after each other."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

from obverse.ground.errors import require
from obverse.path import Level
from obverse.sampler.solvers.rungekutta import Heun
from obverse.sampler.solvers.solver import Solver
from obverse.sampler.solvers.symbols import Combination, Trace
from obverse.sampler.solvers.unipc import DPMpp2M

VISITED = "visited by"  # a note of the states that the first method left


class Composed(Solver):
    """One method for the early steps and another for the late: to add one, say which steps are `early`.

    The later method finds the estimates that were made at the states of earlier steps, not those of stages between;
    none from before fresh noise, and no notes of another method.
    """

    first: Solver
    then: Solver

    @abstractmethod
    def early(self, trace: Trace, t: Level) -> bool:
        """Whether the step from t belongs to the first method."""

    @property
    def invariant(self) -> bool:
        return self.first.invariant and self.then.invariant

    @property
    def exact(self) -> bool:
        return self.first.exact and self.then.exact

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        visited: list[Combination] = trace.notes.setdefault(f"{VISITED} {self.label}", [])
        if self.early(trace, t):
            visited.append(x_t)
            return self.first.step(trace, x_t, t, s)
        if visited:
            self._hand_over(trace, visited)
        return self.then.step(trace, x_t, t, s)

    def _hand_over(self, trace: Trace, visited: list[Combination]) -> None:
        """Once, before the later method's first step."""
        if type(self.first) is not type(self.then):
            for note in [note for note in trace.notes if not note.startswith(VISITED)]:
                del trace.notes[note]
            known = [] if trace.draws else trace.guesses
            trace.guesses[:] = [guess for guess in known if guess.x_t in visited]
        visited.clear()


@dataclass(frozen=True)
class Switch(Composed, name="switch"):
    """One method for the first steps, another for the rest: `switch:first=heun,then=dpmpp-2m,after=5`.

    Args:     first, then: the methods; the first few steps cost one order at most.
              after: how many steps the first takes.
    Example:
        >>> table = Switch("heun", "ddim", after=2).tableau("linear", "uniform:steps=5")
        >>> table.calls
        7
    """

    first: Solver = field(default_factory=Heun)
    then: Solver = field(default_factory=DPMpp2M)
    after: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.after >= 0, f"switch: after >= 0, got {self.after} (1: the first step).")

    @property
    def order(self) -> int:  # type: ignore[override]
        """The later method's; one more than the first's if that is less."""
        return min(self.first.order + 1, self.then.order) if self.after else self.then.order

    def early(self, trace: Trace, t: Level) -> bool:
        return trace.number < self.after


@dataclass(frozen=True)
class SwitchAt(Composed, name="switch-at"):
    """One method for the noisy levels, another from a log-SNR on: `switch-at:first=ddim,then=heun,logsnr=-2`.

    Args:     first, then: the methods.
              logsnr: steps from a level of this log-SNR or more are the second's; 0: as much signal as noise.
    """

    first: Solver = field(default_factory=Heun)
    then: Solver = field(default_factory=DPMpp2M)
    logsnr: float = 0.0

    @property
    def order(self) -> int:  # type: ignore[override]
        """The smaller of the two."""
        return min(self.first.order, self.then.order)

    def early(self, trace: Trace, t: Level) -> bool:
        return float(t.logsnr) < self.logsnr
