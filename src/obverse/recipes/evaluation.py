"""How good a trained model's samples are, beside how good real data would look."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from obverse.data import Dataset
from obverse.ground.errors import InvalidArgument
from obverse.metrics import Measured, Metric, against, nearest_neighbour_accuracy, novelty
from obverse.recipes import build
from obverse.recipes.sampling import Sampling
from obverse.recipes.trained import Trained
from obverse.sampler import Step

METRICS = ("frechet", "mmd", "sliced-w2", "energy")


@dataclass(frozen=True)
class Evaluation:
    """What was measured on one set of samples.

    Args:     samples: network units; (count *data). labels: their classes, or None.
              measured: distances to held-out data, each with its interval and its real-against-real floor.
              accuracy: of a 3-nearest-neighbour classifier, fitted to all real data, on the samples.
              accuracy_of_real: the same for held-out data, fitted to the training data.
              novelty: median distance to the nearest training sample over that of held-out data; near 0 = copies.
              steps, calls, seconds: what drawing them took; calls of the network for each sample.
    """

    samples: Tensor
    labels: Tensor | None
    measured: tuple[Measured, ...]
    accuracy: float | None
    accuracy_of_real: float | None
    novelty: float
    steps: int
    calls: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Everything but the samples, as plain values."""
        numbers = {name: getattr(self, name) for name in ("accuracy", "accuracy_of_real", "novelty", "steps", "calls")}
        measured = [{**asdict(m), "ratio": m.ratio} for m in self.measured]
        return {"samples": len(self.samples), **numbers, "seconds": self.seconds, "measured": measured}


def evaluate(
    trained: Trained,
    sampling: Sampling | None = None,
    *,
    count: int | None = None,
    metrics: Sequence[str | Metric] = METRICS,
    bootstrap: int = 50,
    watch: Callable[[Step], object] | None = None,
) -> Evaluation:
    """Sample a trained model and measure the samples against the data it never saw.

    Args:     trained: the model.
              sampling: how; default Sampling().
              count: samples; default as many as are held out, at most 1,000; classes as frequent as in the data.
              metrics, bootstrap: see `metrics.against`.
              watch: called with every step of the sampler.
    Raises:   InvalidArgument when the recipe held nothing out.
    """
    sampling = sampling or Sampling()
    train, held = build.datasets(trained.recipe)
    if held is None:
        raise InvalidArgument("Nothing was held out to judge by; train with holdout=0.1.")
    count = min(len(held), 1000) if count is None else count
    labels = _as_frequent(held, count)
    begun = time.perf_counter()
    x = trained.sample(count, sampling, labels=labels, watch=watch)
    seconds = time.perf_counter() - begun
    real, unseen = (data.rows(torch.arange(len(data))) for data in (train, held))
    accuracy = accuracy_of_real = None
    if labels is not None and real.label is not None and unseen.label is not None and trained.recipe.conditional:
        everything = torch.cat([real.x, unseen.x]), torch.cat([real.label, unseen.label])
        accuracy = nearest_neighbour_accuracy(x, labels, *everything)
        accuracy_of_real = nearest_neighbour_accuracy(unseen.x, unseen.label, real.x, real.label)
    return Evaluation(
        samples=x,
        labels=labels,
        measured=tuple(against(x, unseen.x, real.x, metrics=metrics, bootstrap=bootstrap)),
        accuracy=accuracy,
        accuracy_of_real=accuracy_of_real,
        novelty=novelty(x, real.x, unseen.x),
        steps=sampling.steps if sampling.tableau is None else len(trained.tableau(sampling).rows) - 1,
        calls=trained.calls(sampling),
        seconds=seconds,
    )


def _as_frequent(held: Dataset, count: int) -> Tensor | None:
    """Labels as frequent as in the data: the held-out ones, evenly thinned or repeated."""
    if held.labels is None:
        return None
    return held.labels.sort().values[torch.arange(count) * len(held) // count]
