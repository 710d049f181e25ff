"""Tuned samplers against the best untuned method, on noise that neither was chosen on.

For N network calls: the tuned table at N, and the best of all our deterministic members (default settings, several
grids, picked on the tuning's own held-out noise) at N, 1.5 N and 2 N. Errors are root mean squares per coordinate to
the exact end of the probability flow. The aim: the tuned median at N at or below the untuned one at 2 N, its rms at or
below the untuned one at 1.5 N.

Command: python benchmarks/tuned_samplers.py [--problems gmm2 gmm64 digits] [--run RUN] [--calls 4 6 8 10 12 16]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import obverse as ob
from obverse.ground import noise
from obverse.sampler.advice import race
from obverse.sampler.truth import Truth, truth
from obverse.sampler.tuned import Effort, Tuned, tune
from problems import problem

EXACT = Effort(iterations=40, batch=512)  # thousands of noises are cheap here, and strays need them
NETWORK = Effort()
NOISES = {"gmm2": 3072, "gmm64": 1536, "digits": 384}


def main() -> None:
    """Tune, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="*", default=["gmm2", "gmm64", "digits"])
    parser.add_argument("--run", type=Path, help="a trained run, such as `obverse train digits --recipe digits` makes")
    parser.add_argument("--calls", nargs="*", type=int, default=[4, 6, 8, 10, 12, 16])
    parser.add_argument("--schedule", default="condot")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: list[dict[str, Any]] = []
    for name in options.problems:
        known = exact(name, options.schedule)
        count, shape = NOISES[name], known.noise.shape[1:]
        start = noise.normal((count, *shape), seed=0, purpose="tune", dtype=torch.float64)
        found += measure(name, known, start, None, with_iterations(EXACT, options.iterations), options.calls)
    if options.run:
        known, start, cond = trained(options.run)
        found += measure("network", known, start, cond, with_iterations(NETWORK, options.iterations), options.calls)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def measure(
    name: str, known: Truth, start: Tensor, cond: Tensor | None, effort: Effort, calls: Iterable[int]
) -> list[dict[str, Any]]:
    """Tuned and untuned at every number of calls, on the test noise of `known`."""
    found = []
    for budget in calls:
        begun = time.process_time()
        tuned = tune(known.model, start, budget, cond=cond, effort=effort)
        seconds = time.process_time() - begun
        rows = {"tuned": known.errors(tuned.tableau)}
        for share in (1, 1.5, 2):
            best = untuned(tuned, math.ceil(share * budget))
            rows[f"untuned x{share:g}"] = known.errors(best)
        print(f"{name:8}{budget:3}  {seconds:4.0f} s  start: {tuned.start}")
        for what, errors in rows.items():
            print(f"            {what:13}{errors}", flush=True)
        ok = rows["tuned"].median <= rows["untuned x2"].median, rows["tuned"].rms <= rows["untuned x1.5"].rms
        said = ["reached" if reached else "missed" for reached in ok]
        print(f"            median at 2 N: {said[0]}, rms at 1.5 N: {said[1]}", flush=True)
        numbers = {what: errors._asdict() for what, errors in rows.items()}
        found.append({"problem": name, "calls": budget, "seconds": seconds, "start": tuned.start, **numbers})
    return found


def untuned(tuned: Tuned, calls: int) -> ob.Tableau:
    """The best member with so many calls, on the noise that the tuning held out."""
    best, _ = race(tuned.truth, calls)
    return best[0].table


def exact(name: str, schedule: str) -> Truth:
    """A problem's test noise and its exact ends."""
    one = problem(name)
    model, eps = one.model(schedule), one.eps()
    ends = one.reference(eps, float(model.schedule.at(1.0).theta))
    return Truth(model, eps, None, ends, float(ends.square().mean().sqrt()), 0, 0.0)


def trained(folder: Path) -> tuple[Truth, Tensor, Tensor | None]:
    """A trained model's test noise and ends, and the noise to tune on."""
    from obverse.recipes import Trained
    from obverse.recipes.tuning import noise_for

    run = Trained.open(folder, "cpu")
    start, cond = noise_for(run, 128, 0, "test")
    return truth(run.model, start, cond), *noise_for(run, 192, 0, "tune")


def with_iterations(effort: Effort, iterations: int | None) -> Effort:
    """The effort, shorter or longer."""
    return effort if iterations is None else replace(effort, iterations=iterations)


if __name__ == "__main__":
    main()
