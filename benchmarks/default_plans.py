"""The default sampler beside itself with one number changed: whether another plan or grid would do better.

On random mixtures, which no number of it was chosen on (`--seed`), for each number of calls: geometric means over
mixtures of rms and median error with one number changed, over those of the default, and how many more samples end in
another mode. So were its plans found: `--walk` takes the best change, and goes on from there until none gains 2 %.

What mixtures cannot say: networks are rougher than they near the data. With `--runs` trained networks with as many
numbers a sample are asked too, and count as much as all mixtures together.

Command: python benchmarks/default_plans.py [--sizes 2 3 4] [--calls 4 6 8 10 16] [--walk] [--runs RUN ...]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from obverse.ground import noise
from obverse.path import Level
from obverse.recipes import Trained
from obverse.recipes.tuning import noise_for
from obverse.sampler import Scales, Thrifty
from obverse.sampler.solvers.solver import Solver
from obverse.sampler.solvers.symbols import Combination, Trace
from obverse.sampler.solvers.thrifty import Plan
from obverse.sampler.truth import Errors, Truth, truth
from problems import random_mixture

GAIN = 0.98  # of a score, for a change to be taken
WITHIN, STRETCH, COMPONENTS = (0.01, 0.5), (0.0, 2.0), (2, 13)  # of mixtures: from where to where


@dataclass(frozen=True)
class Planned(Solver):
    """The default's method by another plan."""

    plan: Plan

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        return self.plan.step(trace, x_t, t, s)


class Setting(NamedTuple):
    """A plan and its grid."""

    plan: Plan
    grid: Scales

    def errors(self, known: Truth) -> Errors:
        """Of one mixture."""
        return known.errors(Planned(self.plan).tableau(known.model.schedule, self.grid))

    def __str__(self) -> str:
        grid, words = self.grid, ", ".join(f"{name} {value:g}" for name, value in self.plan._asdict().items())
        return f"{words}; fine {grid.fine:.3g}, coarse {grid.coarse:.3g}, power {grid.power:.3g}"


def default(size: int, steps: int) -> Setting:
    """What `sample` does for so many numbers and steps, all said."""
    fine, coarse, power = Scales(steps, size=size).reach
    return Setting(Thrifty(size).plan(steps), Scales(steps, fine, coarse, power=power))


def changes(setting: Setting) -> Iterator[tuple[str, Setting]]:
    """The setting with one number changed, each a little up and down."""
    plan, grid = setting
    for name, by, least in (("memory", 1, 2), ("first", 0.15, 0.05), ("last", 0.15, 0.0), ("tail", 1, 1)):
        for step in (by, -by):
            if (value := getattr(plan, name) + step) >= least:
                yield f"{name} {value:g}", Setting(plan._replace(**{name: value}), grid)
    for step in (0.5, -0.5):
        if plan.ease + step >= 0:
            yield f"ease {plan.ease + step:g}", Setting(plan._replace(ease=plan.ease + step), grid)
    for name, by in (("fine", 1.4), ("coarse", 1.2), ("power", 1.15)):
        for factor in (by, 1 / by):
            value = getattr(grid, name) * factor
            if name == "power" or 0 < (value if name == "fine" else grid.fine) < (
                value if name == "coarse" else grid.coarse
            ):
                yield f"{name} {value:.3g}", Setting(plan, replace(grid, **{name: value}))


def mixtures(sizes: Sequence[int], count: int, noises: int, seed: int) -> list[Truth]:
    """Random mixtures with the ends of their flows."""
    u = noise.uniform((count, 3), seed=seed, purpose="mixtures").tolist()
    found = []
    for number, (a, b, c) in enumerate(u):
        within, stretch = WITHIN[0] * (WITHIN[1] / WITHIN[0]) ** a, STRETCH[0] + b * (STRETCH[1] - STRETCH[0])
        components, size = COMPONENTS[0] + int(c * (COMPONENTS[1] - COMPONENTS[0])), sizes[number % len(sizes)]
        oracle = random_mixture(size, components, within, stretch, seed=10_000 * (seed + 1) + number)
        eps = noise.normal((noises, size), seed=seed, purpose=f"mixture {number}", dtype=torch.float64)
        found.append(truth(oracle, eps, tolerance=1e-6))
    return found


def networks(folders: Sequence[Path], noises: int, seed: int) -> list[Truth]:
    """Trained networks with the ends of their own flows."""
    runs = [Trained.open(folder, "cpu") for folder in folders]
    return [truth(run.model, *noise_for(run, noises, seed, "plans")) for run in runs]


class Ratio(NamedTuple):
    """Errors over others, geometric means over mixtures; and the difference of the shares of strays."""

    rms: float
    median: float
    flipped: float

    @property
    def score(self) -> float:
        """To be small."""
        return math.sqrt(self.rms * self.median)

    def __str__(self) -> str:
        return f"rms {self.rms:.2f}  median {self.median:.2f}  strays {self.flipped:+.2%}"


def over(those: Sequence[Errors], others: Sequence[Errors]) -> Ratio:
    """Errors over other errors on the same mixtures."""

    def mean(name: str) -> float:
        pairs = zip(those, others, strict=True)
        logs = [math.log(max(getattr(a, name), 1e-12) / max(getattr(b, name), 1e-12)) for a, b in pairs]
        return math.exp(sum(logs) / len(logs))

    strays = sum(a.flipped - b.flipped for a, b in zip(those, others, strict=True)) / len(those)
    return Ratio(mean("rms"), mean("median"), strays)


def told(setting: Setting, groups: Sequence[Sequence[Truth]], before: Sequence[Sequence[Errors]]) -> tuple[Any, ...]:
    """The score of a setting, its errors and their ratios to others, by group."""
    errors = [[setting.errors(one) for one in group] for group in groups]
    ratios = [over(*pair) for pair in zip(errors, before, strict=True)]
    return math.prod(ratio.score for ratio in ratios) ** (1 / len(ratios)), errors, ratios


def main() -> None:
    """Change, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[2, 3, 4], help="numbers of a sample, in turn")
    parser.add_argument("--calls", nargs="+", type=int, default=[4, 5, 6, 8, 10, 12, 16, 20, 32, 50])
    parser.add_argument("--mixtures", type=int, default=18)
    parser.add_argument("--noises", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--walk", action="store_true", help="go on from the best change")
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="trained networks, counting half")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    groups = [mixtures(options.sizes, options.mixtures, options.noises, options.seed)]
    groups += [networks(options.runs, options.noises // 4, options.seed)] if options.runs else []
    rows: list[dict[str, Any]] = []
    for steps in options.calls:
        here = default(max(options.sizes), steps)
        first = now = [[here.errors(one) for one in group] for group in groups]
        print(f"{steps} calls: {here}", flush=True)
        while True:
            best, score = (here, now), GAIN if options.walk else 0.0
            for name, other in changes(here):
                reached, errors, ratios = told(other, groups, now)
                print(f"    {name:14}{'   networks: '.join(map(str, ratios))}", flush=True)
                numbers = [ratio._asdict() for ratio in ratios]
                rows.append({"calls": steps, "from": str(here), "change": name, "ratios": numbers})
                if reached < score:
                    best, score = (other, errors), reached
            if best[0] is here:
                break
            here, now = best
            ratios = told(here, groups, first)[2]
            print(f"  {here}\n    over the default: {'   networks: '.join(map(str, ratios))}", flush=True)
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
