"""Samplers fitted to one model: the numbers of a table moved until it ends where the model's own flow ends (T36)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from obverse.ground import noise as draws
from obverse.ground.errors import InvalidArgument, require
from obverse.ground.numerics import exact
from obverse.model import Cond, Model
from obverse.sampler.advice import Contender, Watch, race, tell
from obverse.sampler.fitting import Method
from obverse.sampler.grids import Angle
from obverse.sampler.solvers.multistep import Adams
from obverse.sampler.tableau import Tableau
from obverse.sampler.truth import Errors, Truth, beginning, check_noise, truth

STARTS = 2  # methods that a fit begins from; after a quarter of the iterations the better one goes on
FAR = 10.0  # medians of the start's errors: large errors are those beyond
TINY = 1e-7  # relative to the data: no error is taken for smaller
DAMPING = 1e-2  # of the first step, relative to the curvature; then divided by 5 or multiplied by 4 as steps do
TRIES = 8  # of a step, with more and more damping


@dataclass(frozen=True)
class Effort:
    """How long and how `tune` works.

    Args:     iterations: of Gauss and Newton; most of the gain comes in the first ten.
              batch: noises of an iteration; 64 suit networks, hundreds small exact models.
              held: share of the noise that is held out, to choose by and to report.
              coarse, fine: what counts as a small error at first and at last, in medians of the errors there are.
              tail: what the few large errors count beside the many small ones.
              seed: of the batches.
    """

    iterations: int = 24
    batch: int = 64
    held: float = 1 / 3
    coarse: float = 3.0
    fine: float = 0.5
    tail: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.iterations >= 0, f"iterations >= 0, got {self.iterations} (0 returns the start).")
        require(self.batch >= 1, f"batch >= 1, got {self.batch} (64).")
        require(0 < self.held < 1, f"held is a share of the noise, got {self.held} (1/3).")
        require(0 < self.fine <= self.coarse, f"0 < fine <= coarse, got {self.fine}, {self.coarse} (0.5, 3).")
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

    The start is the most exact analytic method with as many calls on noise held out from the fit. Damped Gauss-Newton
    steps then move its angles and weights. They reduce the mean of log(1 + err²/d²), d falling with the errors, and 20
    times the same at ten times the start's median: the squared error belongs to the few samples that end elsewhere.
    Constant data stays exact. What is returned is, on the held-out noise, better than its start in median and rms, or
    is the start. A Gauss-Newton step costs about calls³/6 calls of the model for every noise in its batch.

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
        >>> tuned = tune(two, noise, 4, effort=Effort(iterations=6))
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
    begun = _fittable(places, model, steps)
    looks = effort.iterations + (len(begun) - 1) * (effort.iterations // 4)
    tell(watch, "fit", 0, looks, errors)
    for number, method in enumerate(_fit(fitted, begun, start.errors.median, effort)):
        table = method.tableau(model.schedule)
        now = judged.errors(table)
        if now.score < errors.score and now.median <= start.errors.median and now.rms <= start.errors.rms:
            best, errors = start._replace(table=table), now
        tell(watch, "fit", number + 1, looks, errors)
    more = ((calls, start.make(calls)) for calls in (steps, math.ceil(1.5 * steps), 2 * steps, 3 * steps))
    curve = tuple((made[1].calls, judged.errors(made[1])) for _, made in more if made is not None)
    return Tuned(best.table, errors, start.label, start.errors, curve, judged)


def _fittable(places: Sequence[Contender], model: Model, steps: int) -> list[Method]:
    """The first few that can be fitted; else an Adams method, which always can."""
    found = []
    for one in places:
        try:
            method = Method.of(one.table)
        except InvalidArgument:
            continue
        if method.calls == steps:
            found.append(method)
    plain = Adams().tableau(model.schedule, Angle(steps=steps, start=beginning(model)))
    return found[:STARTS] or [Method.of(plain)]


def _fit(known: Truth, starts: Sequence[Method], median: float, effort: Effort) -> Iterator[Method]:
    """Methods, better and better on the noise: some from every start, the others from the best of these."""
    searches, reached = [_descend(known, start, FAR * max(median, TINY), effort) for start in starts], []
    for start, search in zip(starts, searches, strict=True):
        method = start
        for method in islice(search, effort.iterations // 4):
            yield method
        reached.append(known.errors(method.tableau(known.model.schedule)).score)
    yield from searches[reached.index(min(reached))]


def _descend(known: Truth, method: Method, large: float, effort: Effort) -> Iterator[Method]:
    """Levenberg and Marquardt's steps on the loss, each on another batch."""
    damping = DAMPING
    for number in range(effort.iterations):
        which = draws.permutation(len(known.noise), seed=effort.seed, purpose="tune", step=number)[: effort.batch]
        batch, done = known.rows(which), number / max(1, effort.iterations - 1)
        with torch.no_grad():
            ends, slopes = method.slopes(batch.model, batch.noise, batch.cond)
        away = batch.away(ends)
        square = away.square().sum(1)
        small = effort.coarse * (effort.fine / effort.coarse) ** done * max(float(square.median().sqrt()), TINY)
        weight = 1 / (square + small**2) + effort.tail / (square + large**2)  # half the loss's slope in err²
        turned = (batch.relative(slopes) * weight.sqrt()[:, None]).flatten(1).cpu()
        curvature, slope = turned @ turned.T, turned @ (away * weight.sqrt()[:, None]).flatten().cpu()

        def loss(square: Tensor, small: float = small) -> float:
            return float(((square / small**2).log1p() + effort.tail * (square / large**2).log1p()).mean())

        before = loss(square)
        for _ in range(TRIES):
            diagonal = curvature.diagonal()
            bent = curvature + torch.diag(damping * diagonal + TINY * diagonal.max())
            other = _allowed(method.moved(-torch.linalg.solve(bent, slope)), known.model)
            if other is not None:
                now = loss(batch.each(batch.run(other.tableau(known.model.schedule))).double().square())
                if now < before:
                    method, damping = other, max(damping / 5, TINY)
                    break
            damping = min(4 * damping, 1 / TINY)
        yield method


def _allowed(method: Method, model: Model) -> Method | None:
    """The method, begun no later than sampling begins, if its angles fall and are on the schedule."""
    most = float(exact(model.schedule.at(beginning(model)).theta))
    least = math.atan(math.exp(-model.schedule.range[1] / 2))
    angles = torch.cat([method.angles[:1].clamp(max=most), method.angles[1:]])
    good = bool((angles.diff() < 0).all()) and float(angles[-2]) >= least and bool(method.weights.isfinite().all())
    return method._replace(angles=angles) if good else None
