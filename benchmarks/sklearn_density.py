"""FlowDensity beside scikit-learn's KernelDensity and GaussianMixture: held-out log-density, samples, seconds.

Two tables of 10,000 rows whose exact density is known: two moons in the plane (noise 0.05), and a chain of waves in 8
columns of different units, x_k = 1.5 sin(2 x_(k-1)) + noise. The peers choose bandwidth and number of components on a
fifth of the training rows. Log-densities are means over 10,000 held-out rows, in nats; their truth is a quadrature over
the arcs, and a closed form. 2,500 samples are compared with held-out rows (standardised) by energy distance, beside the
same of real against real. Seconds are those of the clock and of all processors, for a fit, 10,000 samples and 10,000
log-densities; choosing is not counted.

Command: python benchmarks/sklearn_density.py [--table moons chain] [--rows 10000] [--threads 2] [--steps N]
             [--seed 0] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

import obverse as ob

Rows = NDArray[np.float64]
WIDE = 0.05  # noise of the moons
UNITS = np.array([1.0, 50.0, 0.01, 1.0, 1000.0, 1.0, 3.0, 0.2])
NOISE = 0.4  # of the chain
COMPARED = 2500  # rows of a side in the energy distance, whose cost is their square


def moons(count: int, seed: int) -> Rows:
    """Two arcs with noise across and along them."""
    draw = np.random.default_rng(seed)
    return arcs(draw.uniform(0, math.pi, count), draw.integers(0, 2, count)) + WIDE * draw.normal(size=(count, 2))


def arcs(angle: Rows, which: Any) -> Rows:
    """Points of the two arcs."""
    x, y = np.cos(angle), np.sin(angle)
    return np.stack([np.where(which, 1 - x, x), np.where(which, 0.5 - y, y)], 1)


def moons_density(rows: Rows) -> Rows:
    """By quadrature at the middles of 2,000 pieces of each arc."""
    angle = (np.arange(2000) + 0.5) / 2000 * math.pi
    points = np.concatenate([arcs(angle, 0), arcs(angle, 1)])
    away = np.concatenate(
        [((part[:, None] - points) ** 2).sum(2) for part in np.array_split(rows, max(1, len(rows) // 200))]
    ) / (2 * WIDE**2)
    least = away.min(1)
    return -least + np.log(np.exp(least[:, None] - away).mean(1)) - math.log(2 * math.pi * WIDE**2)


def chain(count: int, seed: int) -> Rows:
    """Each column a wave of the one before, with noise."""
    draws = np.random.default_rng(seed).normal(size=(count, len(UNITS)))
    columns = [draws[:, 0]]
    for k in range(1, len(UNITS)):
        columns.append(bend(columns[-1]) + NOISE * draws[:, k])
    return np.stack(columns, 1) * UNITS


def bend(column: Rows) -> Rows:
    """What follows a value, on average."""
    return 1.5 * np.sin(2 * column)


def chain_density(rows: Rows) -> Rows:
    """Closed form: one normal after the other."""
    columns = rows / UNITS
    away = np.concatenate([columns[:, :1], (columns[:, 1:] - bend(columns[:, :-1])) / NOISE], 1)
    size = len(UNITS)
    return -(away**2).sum(1) / 2 - size / 2 * math.log(2 * math.pi) - (size - 1) * math.log(NOISE) - np.log(UNITS).sum()


class Standardised:
    """A peer on standardised columns, which its own users would give it."""

    def __init__(self, model: Any, rows: Rows) -> None:
        self.mean, self.scale, self.model = rows.mean(0), rows.std(0), model
        self.model.fit((rows - self.mean) / self.scale)

    def score_samples(self, rows: Rows) -> Rows:
        """Log-density per unit of the rows."""
        found: Rows = self.model.score_samples((rows - self.mean) / self.scale) - np.log(self.scale).sum()
        return found

    def sample(self, count: int) -> Rows:
        """Rows drawn."""
        drawn = self.model.sample(count)
        rows: Rows = (drawn[0] if isinstance(drawn, tuple) else drawn) * self.scale + self.mean
        return rows


def chosen(make: Callable[[float], Any], options: list[float], rows: Rows) -> Callable[[Rows], Standardised]:
    """A way to fit a peer, with the option that is best on a fifth of the rows."""
    cut = len(rows) * 4 // 5
    scores = [Standardised(make(option), rows[:cut]).score_samples(rows[cut:]).mean() for option in options]
    best = options[int(np.argmax(scores))]
    print(f"    chose {best:.3g} of {options[0]:.3g} ... {options[-1]:.3g}", flush=True)
    return lambda rows: Standardised(make(best), rows)


def mixture(count: float) -> GaussianMixture:
    """So many Gaussians."""
    return GaussianMixture(int(count), random_state=0, reg_covar=1e-5)


def measured(name: str, fit: Callable[[Rows], Any], train: Rows, held: Rows) -> dict[str, Any]:
    """One estimator on one table."""
    start, busy = time.perf_counter(), time.process_time()
    model = fit(train)
    fitted = time.perf_counter()
    drawn = np.asarray(model.sample(len(train)))
    sampled = time.perf_counter()
    nats = model.score_samples(held)
    scored, busy = time.perf_counter(), time.process_time() - busy
    unit = [torch.as_tensor((part[:COMPARED] - held.mean(0)) / held.std(0)) for part in (drawn, held, train)]
    [energy] = ob.metrics.against(*unit, metrics=["energy"], bootstrap=20)
    return {
        "name": name, "nats": float(nats.mean()), "error": float(nats.std() / math.sqrt(len(nats))),
        "energy": energy.value, "floor": energy.floor, "fit": fitted - start, "sample": sampled - fitted,
        "score": scored - sampled, "seconds": scored - start, "busy": busy,
    }  # fmt: skip


def main() -> None:
    """Print a table for each set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", nargs="+", default=["moons", "chain"], choices=["moons", "chain"])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found: dict[str, Any] = {}
    tables = {"moons": (moons, moons_density), "chain": (chain, chain_density)}
    for table, (make, density) in ((name, tables[name]) for name in options.table):
        train, held = (make(options.rows, 2 * options.seed + part) for part in range(2))
        print(f"{table}: truth {density(held).mean():.3f} nats", flush=True)
        widths = np.geomspace(0.02, 0.6, 9).tolist()
        parts = [2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
        makers: dict[str, Callable[[], Callable[[Rows], Any]]] = {
            "FlowDensity": lambda: ob.sklearn.FlowDensity(random_state=options.seed, max_iter=options.steps).fit,
            "KernelDensity": partial(chosen, lambda width: KernelDensity(bandwidth=width), widths, train),
            "GaussianMixture": partial(chosen, mixture, parts, train),
        }
        found[table] = {"truth": float(density(held).mean()), "rows": []}
        for name, maker in makers.items():
            row = measured(name, maker(), train, held)
            found[table]["rows"].append(row)
            print(
                f"  {name:16} nats {row['nats']:8.3f} ± {row['error']:.3f}"
                f"  energy {row['energy']:.4f} (real {row['floor']:.4f})"
                f"  fit {row['fit']:.1f} s, sample {row['sample']:.1f} s, score {row['score']:.1f} s"
                f"; processors {row['busy']:.1f} s", flush=True,
            )  # fmt: skip
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
