"""Stochastic samplers: sliced Wasserstein-2 distance to fresh data, ours beside the peers and the floor.

Distances are to four times as much fresh data as there are samples. The floor is what data itself scores: nothing
real lies below it, what does is the noise of few seeds, so spreads over seeds are printed too. Peers get exact noise
levels on the VP path and the spacing that is best in hindsight; ours is one solver and one grid for every budget.

Command: python benchmarks/stochastic_samplers.py [--problems gmm2 gmm64] [--solvers SPEC ...] [--grid SPEC]
         [--calls 10 16 20] [--samples 4000] [--seeds 4] [--schedule vp-linear] [--ours | --peers PART ...] [--quick]
         [--json FILE]
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor

import obverse as ob
import peers
import problems
from error_against_calls import Counted, run, spacings
from peer import Peer
from problems import Problem

SCHEDULE = "vp-linear"  # where the peers' stochastic samplers live
DENSER, PROJECTIONS = 4, 128  # data for each sample, which lowers the floor; directions
SCREEN, KEPT = 1000, 2  # samples on which spacings are ranked; how many of them go on


@functools.cache
def fresh(problem: Problem, count: int, seed: int) -> Tensor:
    """The data that samples of one seed are compared with, DENSER times as many."""
    return problem.oracle.sample(DENSER * count, seed=1000 + seed)


def distance(problem: Problem, x: Tensor, seed: int) -> float:
    """Sliced W2 of samples to fresh data; NaN counts as 10."""
    if not bool(x.isfinite().all()):
        return 10.0
    return ob.metrics.sliced_w2(x.double(), fresh(problem, len(x), seed), projections=PROJECTIONS)


def floor(problem: Problem, samples: int, pairs: int) -> list[float]:
    """Sliced W2 between pairs of fresh data sets."""
    return [distance(problem, problem.oracle.sample(samples, seed=2000 + seed), seed) for seed in range(pairs)]


def ours(
    problem: Problem, schedule: str, calls: int, samples: int, seeds: int, **options: Any
) -> tuple[list[float], int]:
    """Sliced W2 for every seed, and the calls made."""
    found = []
    shape = (samples, *problem.oracle.shape)
    for steps in range(calls, 0, -1):
        model = Counted(problem.model(schedule), [])
        ob.sample(model, (2, *shape[1:]), steps=steps, **options)
        if len(model.made) <= calls:
            break
    top = float(problems.SCHEDULES[schedule].at(1.0).sigma)
    for seed in range(seeds):
        more = {"start": top * problem.eps(samples, seed=seed), "seed": seed, "dtype": torch.float64}  # as the peers'
        x = ob.sample(problem.model(schedule), shape, steps=steps, **more, **options)
        found.append(distance(problem, x, seed))
    return found, len(model.made)


def theirs(problem: Problem, peer: Peer, calls: int, samples: int, seeds: int, quick: bool) -> tuple[list[float], str]:
    """Sliced W2 for every seed, with the spacing that is best in hindsight."""

    def one(levels: list[float], count: int, seed: int) -> float:
        torch.manual_seed(seed)  # peers draw from the global state
        return distance(problem, run(peer, problem, problem.eps(count, seed=seed), levels, calls), seed)

    steps = peer.steps(calls)
    options = [(label, spacing(steps)) for label, spacing in spacings(peer, SCHEDULE, quick)]
    ranked = sorted(options, key=lambda option: one(option[1], SCREEN, 0))[:KEPT]
    full = [([one(levels, samples, seed) for seed in range(seeds)], label) for label, levels in ranked]
    return min(full, key=lambda row: mean(row[0]))


def rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The floor, then ours, then the peers, for each problem and number of calls."""
    field = [] if options.ours else peers.found(None, stochastic=True)
    field = [peer for peer in field if any(part in peer.name for part in options.peers)]
    grid = {} if options.grid is None else {"grid": options.grid}
    for name in options.problems:
        problem = problems.problem(name)
        base = {"problem": name, "calls": 0, "samples": options.samples}
        yield base | {"who": "data against data", "w2": floor(problem, options.samples, 8)}
        for calls in options.calls:
            row = base | {"calls": calls}
            for solver in options.solvers:
                asked = grid | {"solver": solver}
                w2, made = ours(problem, options.schedule, calls, options.samples, options.seeds, **asked)
                yield row | {"who": f"obverse {solver}", "w2": w2, "calls": made}
            for peer in field:
                w2, label = theirs(problem, peer, calls, options.samples, options.seeds, options.quick)
                yield row | {"who": peer.name, "w2": w2, "spacing": label}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=["gmm2", "gmm64"])
    parser.add_argument("--solvers", nargs="+", default=["sde"], help="specs of stochastic solvers")
    parser.add_argument("--grid", help="a spec, in place of the default")
    parser.add_argument("--schedule", default=SCHEDULE, choices=list(problems.SCHEDULES), help="for ours")
    parser.add_argument("--calls", nargs="+", type=int, default=[10, 16, 20])
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="fewer spacings for the peers")
    parser.add_argument("--ours", action="store_true", help="leave the peers out")
    parser.add_argument("--peers", nargs="+", default=[""], help="parts of the names of those to be measured")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    measured = []
    for row in rows(options):
        measured.append(row)
        spread = stdev(row["w2"]) if len(row["w2"]) > 1 else math.nan
        text = f"{row['problem']:7}{row['calls']:3} {row['who']:32} {mean(row['w2']):.4f} +- {spread:.4f}"
        print(text, row.get("spacing", ""), flush=True)
        if options.json:
            options.json.write_text(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
