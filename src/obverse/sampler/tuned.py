"""Samplers fitted to one model: the angles and weights of a table, by gradients through the model (T36)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from obverse.ground import noise as draws
from obverse.ground.errors import InvalidArgument, require
from obverse.ground.numerics import exact
from obverse.model import Cond, Model
from obverse.sampler.advice import Contender, Watch, race, tell
from obverse.sampler.fitting import Method, adams, kept_of, totals_of
from obverse.sampler.grids import Angle
from obverse.sampler.solvers.multistep import Adams
from obverse.sampler.tableau import Tableau
from obverse.sampler.truth import AT_ONCE, Errors, Truth, beginning, check_noise, truth

BASE = 2  # order of the Adams method that learnt weights stand on: they carry over as angles move
LOOK = 5  # iterations between looks at the held-out noise
FAR = 10.0  # medians of the start's errors: large errors are those beyond
TINY = 1e-7  # relative to the data: no error is taken for smaller
LEAST_GAPS = 0.02, 1e-3  # of the whole turn, before the first call and between calls: a fit moves logarithms


@dataclass(frozen=True)
class Effort:
    """How long and how `tune` works.

    Args:     phases: of the fit; in each, what counts as a small error is smaller, and the noise another batch.
              iterations: of L-BFGS in a phase.
              batch: noises of a phase; 64 suit networks, thousands exact models.
              held: share of the noise that is held out, to choose by and to report.
              coarse, fine: small errors of the first and of the last phase, in medians of the errors there are.
              tail: what the few large errors count beside the many small ones.
              seed: of the batches.
    """

    phases: int = 6
    iterations: int = 15
    batch: int = 64
    held: float = 1 / 3
    coarse: float = 5.0
    fine: float = 0.5
    tail: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(min(self.phases, self.iterations) >= 0, f"phases, iterations >= 0, got {self} (0: the start).")
        require(self.batch >= 1, f"batch >= 1, got {self.batch} (64).")
        require(0 < self.held < 1, f"held is a share of the noise, got {self.held} (1/3).")
        require(0 < self.fine <= self.coarse, f"0 < fine <= coarse, got {self.fine}, {self.coarse} (0.5, 5).")
        require(self.tail >= 0, f"tail >= 0, got {self.tail} (20; 0 fits the median alone).")


@dataclass(frozen=True)
class Tuned:
    """A fitted table and what it is worth, all on noise held out from the fit.

    Args:     tableau: to run, or to save.
              errors: of the table.
              start: the method that the fit began from, in words.
              started: its errors with as many calls.
              curve: its errors with more calls, (calls, Errors), for comparison.
              truth: what errors are distances to.
    """

    tableau: Tableau
    errors: Errors
    start: str
    started: Errors
    curve: tuple[tuple[int, Errors], ...]
    truth: Truth

    @property
    def improved(self) -> bool:
        """Whether the fit found anything better than its start; else the table is the start's."""
        return self.errors != self.started

    def to_json(self) -> dict[str, Any]:
        """Everything but the table and the model, as plain values."""
        curve = [{"calls": calls, **errors._asdict()} for calls, errors in self.curve]
        reference = {"calls": self.truth.calls, "gap": self.truth.gap, "samples": len(self.truth.noise)}
        return {
            "calls": self.tableau.calls,
            "improved": self.improved,
            "errors": self.errors._asdict(),
            "start": {"method": self.start, "curve": curve},
            "reference": reference,
        }

    def save(self, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
        """Write the table's JSON with the measurements, and what else there is to know, beside it.

        `Tableau.load` reads it back.
        """
        path = Path(path)
        self.tableau.save(path)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"tuned": {**self.to_json(), **(about or {})}}))


def tune(
    model: Model,
    noise: Tensor,
    steps: int,
    *,
    cond: Cond = None,
    effort: Effort | None = None,
    watch: Watch | None = None,
) -> Tuned:
    """Fit angles and weights of a method to one model, to end where its probability flow ends.

    The start is the most exact analytic method with as many calls on noise held out from the fit. L-BFGS then moves
    the angles, the first one too, and weights on top of exponential Adams' at these angles, through the model. The loss
    is the mean of log(1 + err²/d²), d falling with the errors, and 20 times the same at ten times the start's median:
    the squared error belongs to the few samples that end elsewhere. Constant data stays exact. What is returned is, on
    the held-out noise, better than its start in median and rms, or is the start.

    Args:     model: guided and on the schedule as it will be sampled.
              noise: standard normal; (batch *data); some hundreds for networks, thousands for exact models.
              steps: network calls for a sample.
              cond: one row for each sample.
              effort: how long.
              watch: called with (what is done, how much of it, of how much, errors of the best so far or None).
    Raises:   InvalidArgument for steps < 1, noise or an effort that cannot be.
    Example:
        >>> from obverse.model import Mixture
        >>> two = Mixture(torch.tensor([[-1.0], [1.0]]), 0.04, None, "linear")
        >>> noise = torch.randn(192, 1, generator=torch.manual_seed(0), dtype=torch.float64)
        >>> tuned = tune(two, noise, 4, effort=Effort(phases=2))
        >>> tuned.tableau.calls, tuned.errors.median < tuned.started.median
        (4, True)
    """
    effort = effort or Effort()
    require(isinstance(steps, int) and steps >= 1, f"steps is a whole number >= 1, got {steps} (try 8).")
    check_noise(noise, 12)
    tell(watch, "reference", 0, 1)
    known, held = truth(model, noise, cond), math.ceil(len(noise) * effort.held)
    judged, fitted = known.rows(slice(0, held)), known.rows(slice(held, len(noise)))
    tell(watch, "start", 0, 1)
    places, _ = race(judged, steps)
    best = start = places[0]
    errors = start.errors
    looks = effort.phases * math.ceil(effort.iterations / LOOK)
    tell(watch, "fit", 0, looks, errors)
    for number, method in enumerate(_fit(fitted, _fittable(places, model, steps), effort)):
        table = method.tableau(model.schedule)
        now = judged.errors(table)
        if now.score < errors.score and now.median <= start.errors.median and now.rms <= start.errors.rms:
            best, errors = start._replace(table=table), now
        tell(watch, "fit", number + 1, looks, errors)
    more = ((calls, start.make(calls)) for calls in (steps, math.ceil(1.5 * steps), 2 * steps, 3 * steps))
    curve = tuple((made[1].calls, judged.errors(made[1])) for _, made in more if made is not None)
    return Tuned(best.table, errors, start.label, start.errors, curve, judged)


def _fittable(places: Sequence[Contender], model: Model, steps: int) -> Method:
    """The first that can be fitted; else an Adams method, which always can."""
    for one in places:
        try:
            method = Method.of(one.table)
        except InvalidArgument:
            continue
        if method.calls == steps:
            return method
    return Method.of(Adams().tableau(model.schedule, Angle(steps=steps, start=beginning(model))))


def _fit(known: Truth, start: Method, effort: Effort) -> Iterator[Method]:
    """The method, better and better on noise that it is fitted to."""
    model = known.model
    least = math.atan(math.exp(-model.schedule.range[1] / 2))
    free = _Free(start, float(exact(model.schedule.at(beginning(model)).theta)), least)
    large = FAR * _median(known, start)
    for phase in range(effort.phases):
        done = phase / max(1, effort.phases - 1)
        which = draws.permutation(len(known.noise), seed=effort.seed, purpose="tune", step=phase)[: effort.batch]
        batch = known.rows(which)
        small = effort.coarse * (effort.fine / effort.coarse) ** done * _median(batch, free.method())
        search: Any = torch.optim.LBFGS(
            free.parameters(), max_iter=LOOK, history_size=50, line_search_fn="strong_wolfe", tolerance_change=0.0
        )

        def slope(batch: Truth = batch, small: float = small, search: Any = search) -> float:
            """The loss, a part of the batch at a time, and its gradient."""
            search.zero_grad()
            total = 0.0
            for i in range(0, len(batch.noise), AT_ONCE):
                part = batch.rows(slice(i, i + AT_ONCE))
                square = part.each(free.method().run(model, part.noise, part.cond)).double().square()
                loss = (square / small**2).log1p().sum() + effort.tail * (square / large**2).log1p().sum()
                torch.autograd.backward(loss / len(batch.noise))
                total += float(loss.detach()) / len(batch.noise)
            return total

        for _ in range(0, effort.iterations, LOOK):
            search.step(slope)
            if not math.isfinite(slope()):  # lost; what was found before stands
                return
            yield free.method()


def _median(known: Truth, method: Method) -> float:
    """The error in the middle, never quite 0."""
    return max(known.errors(method.tableau(known.model.schedule)).median, TINY)


class _Free(nn.Module):
    """A method in free numbers: whatever they are, angles fall from `most` to `least` and constant data is exact."""

    def __init__(self, start: Method, most: float, least: float) -> None:
        super().__init__()
        self.least, self.turn = least, most - least
        gaps = -torch.cat([exact([most]), start.angles[:-1], exact([least])]).diff() / self.turn
        gaps = gaps.maximum(exact(LEAST_GAPS)[(torch.arange(len(gaps)) > 0).long()])
        self.gaps = nn.Parameter(gaps.log())
        angles = self.angles()
        extra = start.weights / totals_of(start.angles)[:, None] - adams(angles, BASE) / totals_of(angles)[:, None]
        self.extra = nn.Parameter(extra.detach())
        self.stretch = nn.Parameter((start.kept[:-1] / kept_of(start.angles)[:-1] - 1).detach())

    def angles(self) -> Tensor:
        """Of the calls, and the clean end."""
        left = self.gaps.softmax(0).flip(0).cumsum(0).flip(0)[1:]
        return torch.cat([self.least + self.turn * left, exact([0.0])])

    def method(self) -> Method:
        """Exponential Adams at these angles and what was learnt on top, which sums to 0 in the last step."""
        angles = self.angles()
        kept = kept_of(angles) * (1 + torch.cat([self.stretch, exact([0.0])]))
        extra = torch.cat([self.extra[:-1].tril(), self.extra[-1:] - self.extra[-1:].mean()])
        return Method(angles, kept, adams(angles, BASE) + extra * totals_of(angles)[:, None])
