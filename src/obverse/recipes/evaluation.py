"""How good a trained model's samples are, beside how good real data would look."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from obverse.data import Batch, Dataset, evenly
from obverse.ground.errors import InvalidArgument, require
from obverse.metrics import Features, Measured, Metric, against, fashion, memorisation, nearest_neighbour_accuracy
from obverse.metrics.compare import LEAST
from obverse.recipes import build
from obverse.recipes.recipe import Recipe
from obverse.recipes.sampling import Sampling
from obverse.recipes.trained import Trained
from obverse.sampler import Round, Step

METRICS = ("frechet", "mmd", "sliced-w2", "energy")
MOST = 1000  # samples that are drawn unless asked for more
_HELD = 2**28  # numbers of a data set that are held at once, 1 GiB in float32


@dataclass(frozen=True)
class Evaluation:
    """What was measured on one set of samples.

    Args:     samples: network units, as `Facts.settled`; (count *data). labels: their classes, or None.
              measured: comparisons with held-out data, each with its interval and its real-against-real floor.
              features: the name of what they were measured on; "raw" for the data themselves.
              accuracy: of a 3-nearest-neighbour classifier, fitted to all real data, on the samples.
              accuracy_of_real: the same for held-out data, fitted to the training data.
              garments, garments_of_real: the same by the shipped network, for classes called as in Fashion-MNIST.
              memorisation: median distance to the nearest training sample over that of held-out data; near 0 = copies;
                None where held-out data are mostly copies themselves, as rows of a few words are.
              steps, calls, evaluations, seconds: what drawing them took; calls of the network for each sample, at most,
                and for all; steps of an adaptive solver are None.
              looked: training samples that were looked at, and how many there are: fewer, evenly spread, where the
                set is too large to hold; copies of the others are then not seen.
    """

    samples: Tensor
    labels: Tensor | None
    measured: tuple[Measured, ...]
    features: str
    accuracy: float | None
    accuracy_of_real: float | None
    garments: float | None
    garments_of_real: float | None
    memorisation: Measured | None
    steps: int | None
    calls: int
    evaluations: int
    seconds: float
    looked: tuple[int, int]

    @property
    def novelty(self) -> float | None:
        """The value of memorisation."""
        return None if self.memorisation is None else self.memorisation.value

    def to_json(self) -> dict[str, Any]:
        """Everything but the samples, as plain values."""
        scores = ("accuracy", "accuracy_of_real", "garments", "garments_of_real", "novelty")
        taken = ("steps", "calls", "evaluations", "seconds")
        numbers = {name: getattr(self, name) for name in (*scores, *taken)} | {"looked": list(self.looked)}
        measured = [{**asdict(m), "ratio": m.ratio} for m in self.measured]
        memorised = None if self.memorisation is None else asdict(self.memorisation)
        return {
            "samples": len(self.samples),
            **numbers,
            "features": self.features,
            "measured": measured,
            "memorisation": memorised,
        }


def evaluate(
    trained: Trained,
    sampling: Sampling | None = None,
    *,
    count: int | None = None,
    metrics: Sequence[str | Metric] = METRICS,
    features: str = "auto",
    bootstrap: int = 50,
    watch: Callable[[Step | Round], object] | None = None,
) -> Evaluation:
    """Sample a trained model and measure the samples against the data it never saw.

    Args:     trained: the model.
              sampling: how; default Sampling().
              count: samples; default as many as are held out, at most 1,000; classes as frequent as in the data.
              metrics, bootstrap: see `metrics.against`.
              features: what they are measured on, see `metrics.against`; "auto" is "fashion" for grey images of 28 x
                28, "pairs" for clouds of points, "spectra" for sounds, and "raw" for all else.
              watch: called with every Step of the sampler, or Round of an adaptive one; both know what is `behind`.
    Raises:   InvalidArgument for fewer than 8 samples, or held out, as by a recipe that holds nothing out.
    """
    sampling = sampling or Sampling()
    metrics = [Metric.of(metric) for metric in metrics]  # refused before anything is drawn
    features = features_for(trained.recipe, trained.facts) if features == "auto" else Features.of(features).spec
    train, held = _judged_by(trained.recipe)
    count = min(len(held), MOST) if count is None else count
    require(count >= LEAST, f"count is samples >= {LEAST}, as many as judging takes; got {count} (or leave it out).")
    facts, told = trained.facts, trained.recipe.told
    labels = told(_as_frequent(held, count))
    begun = time.perf_counter()
    run = trained.sampled(count, sampling, labels=labels, watch=watch)
    seconds = time.perf_counter() - begun
    x = facts.settled(run.x)
    real, unseen = (look(data, count) for data in (train, held))
    made, known, new = map(neighbours_by(trained.recipe, facts), (x, real.x, unseen.x))
    return Evaluation(
        samples=x,
        labels=labels,
        measured=tuple(against(x, unseen.x, real.x, metrics=metrics, features=features, bootstrap=bootstrap)),
        features=features,
        accuracy=_by_neighbours(made, labels, (known, real.label), (new, unseen.label)),
        accuracy_of_real=_by_neighbours(new, told(unseen.label), (known, real.label)),
        garments=_by_network(facts, x, labels),
        garments_of_real=_by_network(facts, unseen.x, told(unseen.label)),
        memorisation=_memorised(made, known, new),
        steps=_steps(trained, sampling),
        calls=run.ledger.calls,
        evaluations=run.ledger.evaluations,
        seconds=seconds,
        looked=(len(real.x), len(train)),
    )


def look(data: Dataset, count: int) -> Batch:
    """All of a data set; of one too large to hold, rows that are evenly spread, at least as many as asked for.

    Example:
        >>> look(Dataset("ten", torch.arange(10.0)[:, None]), count=4).x.flatten().tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    """
    most = max(count, _HELD // math.prod(data.shape))
    return data.rows(evenly(len(data), most))


def features_for(recipe: Recipe, facts: build.Facts) -> str:
    """What metrics are measured on unless it is said: garments by a network, clouds by shape, sounds by spectrum."""
    if facts.kind == "images" and facts.shape == fashion.SHAPE:
        return "fashion"
    return "spectra" if facts.rate else neighbours_by(recipe, facts).spec


def neighbours_by(recipe: Recipe, facts: build.Facts) -> Features:
    """What makes samples neighbours: their numbers, or of clouds, as they have no order, distances between points."""
    return Features.of("pairs" if build.unordered(recipe, facts) and facts.shape[1] > 1 else "raw")


def _judged_by(recipe: Recipe) -> tuple[Dataset, Dataset]:
    """The data learnt from and the data held out, if these are enough."""
    train, held = build.datasets(recipe)
    many = 0 if held is None else len(held)
    if held is None or many < LEAST:
        whole = len(train) + many
        share = f"holdout={math.ceil(100 * LEAST / whole) / 100:g}, or more data"
        how = share if whole >= 2 * LEAST else f"holdout=0.5 and {2 * LEAST} samples or more (now {whole})"
        raise InvalidArgument(f"{many or 'No'} samples were held out, and judging takes {LEAST}: train with {how}.")
    return train, held


def _by_neighbours(x: Tensor, labels: Tensor | None, *real: tuple[Tensor, Tensor | None]) -> float | None:
    """The share of samples that their nearest real neighbours give their class; None without classes."""
    known = [label for _, label in real if label is not None]
    if labels is None or not known:
        return None
    return nearest_neighbour_accuracy(x, labels, torch.cat([rows for rows, _ in real]), torch.cat(known))


def _by_network(facts: build.Facts, x: Tensor, labels: Tensor | None) -> float | None:
    """The share that the shipped network gives its class, found by its name; None where it does not know one."""
    known = fashion.classes()
    if labels is None or facts.shape != fashion.SHAPE or not set(facts.classes) <= set(known):
        return None
    return fashion.class_accuracy(x, torch.tensor([known.index(name) for name in facts.classes])[labels])


def _memorised(made: Tensor, known: Tensor, new: Tensor) -> Measured | None:
    try:
        return memorisation(made, known, new)
    except InvalidArgument:  # all has been compared by now: half of what is held out are copies
        return None


def _steps(trained: Trained, sampling: Sampling) -> int | None:
    """Of the grid, the same for all samples; None for a solver that chooses its own."""
    if trained.adapts(sampling) is not None:
        return None
    return sampling.steps if sampling.tableau is None else len(trained.tableau(sampling).rows) - 1


def _as_frequent(held: Dataset, count: int) -> Tensor | None:
    """Labels as frequent as in the data: the held-out ones, evenly thinned or repeated."""
    if held.labels is None:
        return None
    return held.labels.sort().values[torch.arange(count) * len(held) // count]
