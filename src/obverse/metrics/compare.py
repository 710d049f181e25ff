"""A distance alone says little: each is measured beside the same distance between real data and real data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.noise import permutation
from obverse.ground.numerics import divide
from obverse.metrics.features import Features, Raw, features_of
from obverse.metrics.halves import interval, splits
from obverse.metrics.metric import Metric
from obverse.metrics.sets import pair

POOL = 10  # n real rows for those splits; more would cost features and add nothing
LEAST = 8  # rows a side: fewer say nothing


@dataclass(frozen=True)
class Measured:
    """A metric of samples against real data, beside the same of real against real.

    Args:     name: what the number is called: the metric's spec, or its title on features of a network.
              value: samples against held-out data.
              low, high: its 95 % interval, by half-sampling both sets; within what the metric can be.
              floor: the mean magnitude of real against real at the same sizes; what a perfect model would get. It is a
                floor for distances, which are not 0 between finite sets, and a ceiling for shares, which are not 1.
              sizes: rows on either side, of value and of floor alike.
              floor_spread: the standard deviation of those magnitudes over splits of the real data.
              better: "lower" than the floor is what a distance should be, "higher" a share; "equal" for what is wrong
                on either side.
    Example:
        >>> print(Measured("energy", 0.3, 0.25, 0.36, floor=0.2, sizes=(50, 50)))
        energy 0.3 [0.25, 0.36], real against real 0.2, ratio 1.5 (50 against 50)
        >>> print(Measured("recall", 0.45, 0.4, 0.5, floor=0.9, sizes=(50, 50), better="higher"))
        recall 0.45 [0.4, 0.5], real against real 0.9, ratio 0.5, higher is better (50 against 50)
    """

    name: str
    value: float
    low: float
    high: float
    floor: float
    sizes: tuple[int, int]
    better: str = "lower"
    floor_spread: float = 0.0

    @classmethod
    def of(
        cls, name: str, value: float, ends: Iterable[Tensor], floors: Tensor, sizes: tuple[int, int], better: str
    ) -> Self:
        """With the ends of its interval, and the floors of all splits."""
        low, high, floor, spread = map(float, (*ends, floors.mean(), floors.std()))
        return cls(name, value, low, high, floor, sizes, better, spread)

    @property
    def ratio(self) -> float:
        """value / floor: 1 is as good as real data, whichever way is better (mmd, whose mean is then 0: -2 to 3)."""
        return float(divide(self.value, self.floor))

    def __str__(self) -> str:
        n, m = self.sizes
        spread = f" ± {self.floor_spread:.2g}" if self.floor_spread else ""
        way = "" if self.better == "lower" else f", {self.better} is better"
        return (
            f"{self.name} {self.value:.4g} [{self.low:.4g}, {self.high:.4g}], "
            f"real against real {self.floor:.4g}{spread}, ratio {self.ratio:.3g}{way} ({n} against {m})"
        )


def against(
    samples: Tensor,
    held_out: Tensor,
    train: Tensor | None = None,
    *,
    metrics: Sequence[str | Metric] = ("frechet", "mmd", "sliced-w2", "energy"),
    features: str | Features | Callable[[Tensor], Tensor] = "raw",
    bootstrap: int = 100,
    seed: int = 0,
) -> list[Measured]:
    """Metrics of samples against held-out data, each with an interval and its real-against-real floor.

    Finite sets never agree, and most metrics fall with n; so n rows of samples are compared with n of held_out, and
    the floor is the same comparison inside real data: n against n other rows of held_out and train together, mean
    magnitude over 20 splits. n = min(samples, held_out, half of all real rows), or the most that a metric takes; which
    rows is a function of seed. Features are computed once for each row.

    Args:     samples: of the model; (n *data).
              held_out: real data it was not trained on; (m *data).
              train: more real data, for the floor alone; without it half of held_out sets n.
              metrics: names, specs or members of the family `metric`.
              features: what metrics that name none are measured on: "raw", "fashion" (28 x 28 grey images),
                "pairs" (clouds of points), "spectra" (sounds), "inception" (FID and KID proper), or any function of a
                batch.
              bootstrap: halves of both sides for the interval, drawn without replacement; at least 2.
              seed: of every choice of rows.
    Returns:  one Measured for each metric, in order.
    Raises:   InvalidArgument for sets that cannot be compared or leave n < 8; NonFinite for a NaN or an infinity;
              MissingExtra for features that need a package.
    Example:
        >>> from obverse.ground.noise import normal
        >>> x = normal((300, 2), seed=0, purpose="example")
        >>> good, = against(x[:100], x[100:200], x[200:], metrics=["energy"])
        >>> bad, = against(x[:100] + 1, x[100:200], x[200:], metrics=["energy"])
        >>> good.ratio < 2 < 10 < bad.ratio
        True

    Source:   Politis, Romano & Wolf (1999), chapter 2, for intervals without repeated rows.
    """
    seen = _Seen(samples, held_out, train, seed)
    asked = features_of(features)
    return [_measured(_on(Metric.of(metric), asked), seen, bootstrap) for metric in metrics]


def _on(metric: Metric, features: Features) -> Metric:
    """The metric on these features, unless it has its own."""
    return replace(metric, features=features) if metric.features == Raw() else metric


class _Seen:
    """The sets as features, each computed once, and the n at which both comparisons can be made."""

    def __init__(self, samples: Tensor, held_out: Tensor, train: Tensor | None, seed: int) -> None:
        pair(samples, held_out, names=("samples", "held_out"))
        real = held_out
        if train is not None:
            pair(train, held_out, names=("train", "held_out"), least=1)
            real = torch.cat([held_out, train.to(held_out)])
        self.n = n = min(len(samples), len(held_out), len(real) // 2)
        if n < LEAST:
            raise InvalidArgument(
                f"A comparison needs {LEAST} rows a side; {len(samples)} samples, {len(held_out)} of held_out and half "
                f"of all {len(real)} real rows leave {n} (draw more samples, or give train too)."
            )
        self.seed = seed
        self.sets = [
            rows[permutation(len(rows), seed=seed, purpose=f"metric-{purpose}")[:count]]
            for purpose, rows, count in (("samples", samples, n), ("held-out", held_out, n), ("real", real, POOL * n))
        ]
        self.known: list[tuple[Features, list[Tensor]]] = []

    def by(self, features: Features) -> list[Tensor]:
        """x, y and more real rows."""
        for known, sets in self.known:
            if known == features:
                return sets
        made = [features(rows) for rows in self.sets]
        self.known.append((features, made))
        return made


def _measured(metric: Metric, seen: _Seen, bootstrap: int) -> Measured:
    x, y, real = seen.by(metric.features)
    n, seed = min(seen.n, metric.most or seen.n), seen.seed
    if n // 2 < metric.least:
        raise InvalidArgument(
            f"{metric.title} needs {2 * metric.least} rows a side, of which its interval uses half; there are {n}."
        )
    x, y = x[:n], y[:n]
    value = metric.between(x, y)
    ends = interval(lambda i, j: metric.between(x[i], y[j]), (n, n), value, count=bootstrap, seed=seed)
    inside = (end.clamp(*metric.ends) for end in ends)
    return Measured.of(metric.title, value, inside, _floors(metric, real, n, seed), (n, n), metric.better)


def _floors(metric: Metric, real: Tensor, n: int, seed: int) -> Tensor:
    """The magnitudes of n real rows against n others, for each split."""
    found = [abs(metric.between(real[o[:n]], real[o[n : 2 * n]])) for o in splits(len(real), seed)]
    return torch.tensor(found, dtype=torch.float64)
