"""What solvers are written on: states, guesses and draws as symbols, which write down how they depend on each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from obverse.ground.errors import InvalidArgument
from obverse.path import Data, Level, Noise, Prediction, Schedule, V, coefficients, join
from obverse.sampler.brownian import Span
from obverse.sampler.program import Register, Row
from obverse.sampler.tableau import Tableau


@dataclass(frozen=True)
class Combination:
    """A linear combination of registers: adds, subtracts, and takes numbers as factors."""

    row: Row

    def __add__(self, other: Combination) -> Combination:
        if not isinstance(other, Combination):
            return NotImplemented
        total = dict(self.row)
        for key, number in other.row.items():
            total[key] = total.get(key, 0.0) + number
        return Combination(total)

    def __mul__(self, number: float) -> Combination:
        return Combination({key: number * own for key, own in self.row.items()})

    __rmul__ = __mul__

    def __sub__(self, other: Combination) -> Combination:
        return self + -1.0 * other

    def __neg__(self) -> Combination:
        return -1.0 * self

    def __truediv__(self, number: float) -> Combination:
        return Combination({key: own / number for key, own in self.row.items()})


def weighted(numbers: Iterable[float], parts: Iterable[Combination]) -> Combination:
    """The sum of combinations times numbers; what is multiplied with 0 is left out."""
    total = Combination({})
    for number, part in zip(numbers, parts, strict=True):
        if number:
            total = total + number * part
    return total


@dataclass(frozen=True)
class Guess:
    """A call's output on symbols: an estimate readable in any face."""

    x_t: Combination
    level: Level
    output: Combination

    def on(self, face: Prediction) -> Combination:
        """The estimate in a face."""
        on_output, on_state = coefficients(V(), face, self.level)
        return self.output * float(on_output) + self.x_t * float(on_state)

    @property
    def data(self) -> Combination:
        """The data estimate."""
        return self.on(Data())

    @property
    def noise(self) -> Combination:
        """The noise estimate."""
        return self.on(Noise())


class Trace:
    """A run on symbols: hands out states, guesses and draws, and writes down how they depend on each other.

    Args:     schedule: the path, for levels between those of the grid.
              levels: the grid, noise first, as plain floats.
    Attributes:
              number: which step is being taken, from 0; `total` of them.
              guesses: what was called so far, in order, and may be looked back at.
              notes: what a method wants to remember from step to step.
    """

    def __init__(self, schedule: Schedule, levels: Sequence[Level]) -> None:
        self.schedule, self.total, self.number = schedule, len(levels) - 1, 0
        self._levels: list[Level] = [levels[0]]
        self._rows: list[Row] = [{}]
        self._reads: list[int] = []
        self._spans: list[Span] = []
        self._called: list[Guess] = []
        self.guesses: list[Guess] = []
        self.notes: dict[str, Any] = {}

    @property
    def start(self) -> Combination:
        """The state that sampling starts from."""
        return Combination({Register("e", 0): 1.0})

    def state(self, value: Combination, level: Level) -> Combination:
        """A new state at a level: from here on it is one register."""
        row = {key: number for key, number in value.row.items() if number != 0.0}
        if not all(map(math.isfinite, row.values())):
            raise InvalidArgument(
                f"The step to {level} has infinite coefficients: this method cannot leave or reach that end. "
                f"Use ddim there, or a grid that starts below t = 1 (uniform:start=0.999)."
            )
        if not row:
            raise InvalidArgument(f"A step to {level} without a call leaves nothing of the state (take 2 steps).")
        self._levels.append(level)
        self._rows.append(row)
        return Combination({Register("e", len(self._rows) - 1): 1.0})

    def call(self, x_t: Combination, level: Level) -> Guess:
        """What the network says at a state and its level.

        Raises:   InvalidArgument for what is no state, or a state of another level.
        """
        (key, number), *more = x_t.row.items()
        if more or key.kind != "e" or number != 1.0:
            raise InvalidArgument(
                "trace.call reads a state: x_t, or what u = trace.state(..., level) makes of a combination."
            )
        home = self._levels[key.place]
        if home.theta != level.theta:
            raise InvalidArgument(f"A state made for {home} is read at {level}: call it at its own level.")
        if key.place in self._reads:  # a network says the same again
            return self._called[self._reads.index(key.place)]
        self._reads.append(key.place)
        guess = Guess(x_t, level, Combination({Register("o", len(self._reads) - 1): 1.0}))
        self._called.append(guess)
        self.guesses.append(guess)
        return guess

    def draw(self, t: Level | None = None, s: Level | None = None) -> Combination:
        """A standard normal, independent of all others.

        Args:     t, s: between two levels it is what the sample's one Brownian path does there, so that a finer grid
                  sees the same path (T35); without them it is a draw of its own.
        """
        self._spans.append(None if t is None or s is None else (float(t.theta), float(s.theta)))
        return Combination({Register("xi", len(self._spans) - 1): 1.0})

    @property
    def draws(self) -> int:
        """How many draws were made so far."""
        return len(self._spans)

    def between(self, t: Level, s: Level, share: float) -> Level:
        """The level that lies a share of the way from t to s in log-SNR; both ends need signal and noise."""
        return self.at((1 - share) * float(t.logsnr) + share * float(s.logsnr))

    def at(self, logsnr: float) -> Level:
        """The level with a log-SNR, as plain floats."""
        return self.schedule.at_logsnr(logsnr).floats()[0]

    def at_nsr(self, nsr: float) -> Level:
        """The level with a noise-to-signal ratio, as plain floats."""
        return self.at(-2 * math.log(nsr))

    def tableau(self) -> Tableau:
        """What was written down."""
        return Tableau(join(*self._levels), tuple(self._rows), tuple(self._reads), V(), tuple(self._spans))
