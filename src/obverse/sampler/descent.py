"""One step down: a method's numbers moved so that it ends closer to the truth, by Gauss-Newton (T36)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.numerics import exact
from obverse.model import Model
from obverse.sampler.fitting import Method
from obverse.sampler.truth import Truth, beginning

TINY = 1e-7  # relative to the data: no error is taken for smaller
DAMPING, STIFF = 1e-2, 1e3  # of the first step, relative to the curvature, and beyond which it begins again
EASIER, HARDER = 5.0, 4.0  # what damping is divided by after a step, multiplied by without one
LEAST = 1e-8  # of the damping, and of the largest curvature, that every direction gets
TRIES = 8  # of a step, with more and more damping
AT_ONCE = 2**16  # numbers of a batch whose slopes are worked out together


class Loss(NamedTuple):
    """tail · log mean err² + (1 - tail) · mean log(err² + small²): the logarithms of rms and, nearly, of the median.

    Args:     tail: what the rms counts: it belongs to the few samples that end elsewhere.
              small: errors below count no less.
    """

    tail: float
    small: float

    def __call__(self, square: Tensor) -> float:
        """Of the samples' squared errors."""
        middle = float((square + self.small**2).log().mean())
        return self.tail * float(square.mean().clamp(min=TINY**2).log()) + (1 - self.tail) * middle

    def slope(self, square: Tensor) -> Tensor:
        """The loss's slope by each squared error, times the number of samples."""
        return self.tail / square.mean().clamp(min=TINY**2) + (1 - self.tail) / (square + self.small**2)


class Place(NamedTuple):
    """Where a descent is.

    Args:     method: reached.
              damping: of the next step.
              gain: of the last step; 0 if none was found.
    """

    method: Method
    damping: float = DAMPING
    gain: float = math.inf


def descend(known: Truth, place: Place, tail: float, share: float) -> Place:
    """A step of Levenberg and Marquardt on all of the noise.

    Args:     tail: see `Loss`.
              share: of the median error, what counts as small.
    """
    model, method = known.model, place.method
    square = _squares(known, method)
    loss = Loss(tail, share * max(float(square.median().sqrt()), TINY))
    before, damping = loss(square), place.damping
    if not math.isfinite(before):
        return Place(method, damping, 0.0)
    curvature, slope = _gathered(known, method, loss.slope(square))
    diagonal = curvature.diagonal()
    for _ in range(TRIES):
        bent = curvature + torch.diag(damping * diagonal + LEAST * diagonal.max().clamp(min=LEAST))
        other = _allowed(method.moved(-torch.linalg.solve(bent, slope)), model)
        if other is not None:
            now = loss(_squares(known, other))
            if now < before:
                return Place(other, max(damping / EASIER, LEAST), before - now)
        damping *= HARDER
    return Place(method, DAMPING if damping > STIFF else damping, 0.0)


def _squares(known: Truth, method: Method) -> Tensor:
    """The squared error of every sample; not finite where the method is not."""
    return known.each(known.run(method.tableau(known.model.schedule))).square()


def _gathered(known: Truth, method: Method, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gauss and Newton's matrix, and half the slope, over all samples; some at a time, for memory."""
    count, group = len(known.noise), max(16, AT_ONCE // known.noise[0].numel())
    free = method.free
    curvature, slope = torch.zeros(free, free, dtype=torch.float64), torch.zeros(free, dtype=torch.float64)
    for i in range(0, count, group):
        some, root = known.rows(slice(i, i + group)), (weight[i : i + group] / count).sqrt()[:, None]
        with torch.no_grad():
            ends, slopes = method.slopes(some.model, some.noise, some.cond)
        turned = (some.relative(slopes) * root).flatten(1).cpu()
        curvature += turned @ turned.T
        slope += turned @ (some.away(ends) * root).flatten().cpu()
    return curvature, slope


def _allowed(method: Method, model: Model) -> Method | None:
    """The method, begun no later than sampling begins, if its angles fall and are on the schedule."""
    most = float(exact(model.schedule.at(beginning(model)).theta))
    least = math.atan(math.exp(-model.schedule.range[1] / 2))
    angles = torch.cat([method.angles[:1].clamp(max=most), method.angles[1:]])
    good = bool((angles.diff() < 0).all()) and float(angles[-2]) >= least
    finite = all(bool(part.isfinite().all()) for part in method)
    return method._replace(angles=angles) if good and finite else None
