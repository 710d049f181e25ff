"""Samplers fitted to one model: the numbers of a table moved until it ends where the model's own flow ends (T36)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from obverse.ground.errors import require
from obverse.model import Cond, Model
from obverse.sampler.advice import Watch, race, tell
from obverse.sampler.search import Aim, Search, no_worse, starts
from obverse.sampler.tableau import Tableau
from obverse.sampler.truth import Errors, Truth, check_noise, truth


@dataclass(frozen=True)
class Effort:
    """How long and how `tune` works.

    Args:     iterations: of Gauss and Newton for the method that is fitted to the end; a third of them for others.
              starts: methods that a fit begins from, each fitted to a quarter of the noise; the better two to all.
              held: share of the noise that is held out, to choose by and to report.
              coarse, fine: what counts as a small error at first and at last, in medians of the errors there are.
              tail: what the rms counts at first, and the median the rest; then whatever is further from its aim more.
    """

    iterations: int = 24
    starts: int = 8
    held: float = 1 / 3
    coarse: float = 1.7
    fine: float = 0.3
    tail: float = 0.3

    def __post_init__(self) -> None:
        require(self.iterations >= 0, f"iterations >= 0, got {self.iterations} (0 returns the start).")
        require(self.starts >= 1, f"starts >= 1, got {self.starts} (8).")
        require(0 < self.held < 1, f"held is a share of the noise, got {self.held} (1/3).")
        require(0 < self.fine <= self.coarse, f"0 < fine <= coarse, got {self.fine}, {self.coarse} (0.3, 1.7).")
        require(0 <= self.tail <= 1, f"0 <= tail <= 1, got {self.tail} (0.3; 0 fits the median alone).")


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

    The start is the most exact analytic method with as many calls on noise held out from the fit. The aim is the least
    rms of such methods with half as many calls more, and the least median of those with twice as many. Damped
    Gauss-Newton steps move the angles and weights of several methods: the most exact with as many calls, and with one
    more, whose first is left out. They reduce a mean of the logarithms of rms and median errors; what is further from
    its aim counts more. Only the method that comes closest is fitted to the end. What is returned is, on the held-out
    noise, better than the start in median and rms, or is the start. A step costs about calls³/6 calls of the model for
    every noise it is fitted to, fewer for data of few numbers.

    Args:     model: guided and on the schedule as it will be sampled.
              noise: standard normal; (batch *data); some hundreds for networks, thousands for exact models.
              steps: network calls for a sample.
              cond: one row for each sample.
              effort: how long.
              watch: called with (what is done, how much of it, of how much, errors of the best so far or None).
    Raises:   InvalidArgument for steps < 1, noise or an effort that cannot be.
    Example:
        >>> import torch
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
    aim = Aim.of(judged, steps)
    best = start = race(judged, steps)[0][0]
    errors = start.errors
    search = Search(judged, fitted, aim, effort.iterations, effort.tail, effort.coarse, effort.fine)
    begun = starts(judged, steps, effort.starts, aim) if effort.iterations else []
    looks = search.looks(len(begun))
    tell(watch, "fit", 0, looks, errors)
    for number, (method, now) in enumerate(search.run(begun)):
        if aim(now) < aim(errors) and no_worse(now, start.errors):
            best, errors = start._replace(table=method.tableau(model.schedule)), now
        tell(watch, "fit", number + 1, looks, errors)
    tell(watch, "fit", looks, looks, errors)
    more = ((calls, start.make(calls)) for calls in (steps, math.ceil(1.5 * steps), 2 * steps, 3 * steps))
    curve = tuple((made[1].calls, judged.errors(made[1])) for _, made in more if made is not None)
    return Tuned(best.table, errors, start.label, start.errors, curve, judged)
