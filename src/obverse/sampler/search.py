"""Which of several methods is fitted to the end: all are fitted a little, the better ones more (T36)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from obverse.ground.errors import InvalidArgument
from obverse.sampler.advice import contenders, race
from obverse.sampler.descent import TINY, Place, descend
from obverse.sampler.fitting import Method
from obverse.sampler.grids import Angle
from obverse.sampler.solvers.multistep import Adams
from obverse.sampler.truth import Errors, Truth, beginning

LOOKED = 64  # samples on which the methods to begin from are told apart
FINALISTS = 2  # methods that are fitted to all noise
QUARTER, BRIEF = 4, 3  # of the noise, at first; shares of the iterations, before the last round
TAILS = (0.05, 0.8)  # between which the weight of the rms moves
TURN = 0.5  # how fast it moves with what the rms lacks more than the median
STILL, GAIN = 4, 3e-4  # steps that gain no more than this, in a row, end a round
BOTH = 0.25  # of both shortfalls, beside the larger one: a fit that meets its aim goes on


class Aim(NamedTuple):
    """Errors worth reaching: those of untuned methods with more calls."""

    median: float
    rms: float

    @classmethod
    def of(cls, known: Truth, calls: int) -> Aim:
        """The median of the best member with twice the calls, the rms of the best with half as many more."""
        more, most = (race(known, math.ceil(share * calls))[0] for share in (1.5, 2))
        return cls(min(one.errors.median for one in most), min(one.errors.rms for one in more))

    def short(self, errors: Errors) -> tuple[float, float]:
        """Logarithms of median and rms over those aimed at."""
        pairs = ((errors.median, self.median), (errors.rms, self.rms))
        median, rms = (math.log(max(reached, TINY) / max(aim, TINY)) for reached, aim in pairs)
        return median, rms

    def __call__(self, errors: Errors) -> float:
        """How far errors are from it, to be small."""
        short = self.short(errors)
        return max(short) + BOTH * sum(short)


def no_worse(errors: Errors, than: Errors) -> bool:
    """Whether neither median nor rms is larger; below what counts at all, none is."""
    return errors.median <= max(than.median, TINY) and errors.rms <= max(than.rms, TINY)


class Step(NamedTuple):
    """A method looked at on the noise held out."""

    method: Method
    errors: Errors


@dataclass(frozen=True)
class Search:
    """Successive halving of descents.

    Args:     judged, fitted: noise to choose by and noise to fit to.
              aim: what for.
              iterations: of the method that is fitted to the end; a third of them for the others.
              tail: what the rms counts at first; then whatever is further from its aim counts more.
              coarse, fine: what counts as a small error at first and at last, in medians of the errors there are.
    """

    judged: Truth
    fitted: Truth
    aim: Aim
    iterations: int
    tail: float
    coarse: float
    fine: float

    @property
    def brief(self) -> int:
        """Iterations of a round before the last."""
        return math.ceil(self.iterations / BRIEF)

    def looks(self, starts: int) -> int:
        """How many steps `run` makes at most."""
        return self.brief * (starts + min(starts, FINALISTS)) + self.iterations if starts else 0

    def run(self, starts: Sequence[Method]) -> Iterator[Step]:
        """All steps of all rounds."""
        some = self.fitted.rows(slice(0, math.ceil(len(self.fitted.noise) / QUARTER)))
        rounds = (
            (len(starts), some, self.brief),
            (FINALISTS, self.fitted, self.brief),
            (1, self.fitted, self.iterations),
        )
        alive = [(Place(method), self.tail) for method in starts]
        for number, (kept, known, iterations) in enumerate(rounds):
            ended = []
            for place, tail in alive[:kept]:
                found = self.aim(self.judged.errors(place.method.tableau(known.model.schedule)))
                ended.append((found, place, tail))
                for step in self._round(known, place, tail, iterations, self.coarse if number == 0 else self.fine):
                    yield step[0]
                    ended[-1] = (self.aim(step[0].errors), *step[1:])
            alive = [(place, tail) for _, place, tail in sorted(ended, key=lambda one: one[0])]

    def _round(
        self, known: Truth, place: Place, tail: float, iterations: int, coarse: float
    ) -> Iterator[tuple[Step, Place, float]]:
        """One descent, its loss turned towards what is further from the aim."""
        still = 0
        for number in range(iterations):
            share = coarse * (self.fine / coarse) ** (number / max(1, iterations - 1))
            place = descend(known, place, tail, share)
            errors = self.judged.errors(place.method.tableau(known.model.schedule))
            median, rms = self.aim.short(errors)
            if math.isfinite(rms - median):
                tail = min(max(tail * math.exp(TURN * (rms - median)), TAILS[0]), TAILS[1])
            yield Step(place.method, errors), place, tail
            still = still + 1 if place.gain < GAIN else 0
            if still == STILL:
                return


def starts(known: Truth, calls: int, count: int, aim: Aim) -> list[Method]:
    """What comes closest and can be fitted: methods of so many calls, and of one more, whose first is left out."""
    known = known.rows(slice(0, LOOKED))
    schedule, begin = known.model.schedule, beginning(known.model)
    alike, longer = (list(_fittable(known, number)) for number in (calls, calls + 1))
    found = []
    for those in (alike, [one.later() for one in longer]):
        ranked = sorted(those, key=lambda one: aim(known.errors(one.tableau(schedule))))
        found.append(ranked)
    shared = [one for pair in zip(*found, strict=False) for one in pair] if all(found) else found[0] + found[1]
    plain = Adams().tableau(schedule, Angle(steps=calls, start=begin))
    return shared[:count] or [Method.of(plain)]


def _fittable(known: Truth, calls: int) -> Iterator[Method]:
    """Members of so many calls, as numbers."""
    for one in contenders(known, calls):
        try:
            method = Method.of(one.table)
        except InvalidArgument:
            continue
        if method.calls == calls and all(bool(part.isfinite().all()) for part in method):
            yield method
