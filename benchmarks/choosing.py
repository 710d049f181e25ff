"""Fill in what docs/choosing.md and docs/tables.md show: what their code prints, their tables, their figures.

A ```text block below a ```python one is what the latter prints. Between `<!-- NAME -->` and `<!-- end -->` stands a
table made here, and docs/NAME.svg is a figure made here. Errors are measured on the exact problems of `problems.py`;
peers are shown beside them where files that `error_against_calls.py --json` wrote are named.

Command: python benchmarks/choosing.py [--peers FILE ...] [--pages choosing tables]
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import json
import math
import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch

import obverse as ob
import problems
import stochastic_samplers as stochastic
from error_against_calls import ours_scores
from obverse.report.figures import Line, chart, written
from obverse.sampler import propagate
from problems import SCHEDULES

DOCS = Path(__file__).parents[1] / "docs"
CALLS = (4, 6, 8, 10, 12, 16, 20, 32, 50)
SHOWN = ("gmm2", "gmm64")
SCHEDULE = "condot"  # of the errors; the default's do not depend on it
OTHERS = {  # as they are usually run
    "ddim": {"solver": "ddim", "grid": "uniform"},
    "dpmpp-2m": {"solver": "dpmpp-2m", "grid": "karras"},
    "heun": {"solver": "heun", "grid": "karras"},
}
NOISY = ("ddim", "ddpm", "sde:eta=0.5", "er-sde", "sde-adams", "sa-solver", "sde-dpmpp", "churn", "restart")
SPREAD = 0.3  # of the normal data whose spread is carried through tables
BUDGETS = (8, 16, 32, 64)  # of stochastic methods
DRAWN, SEEDS = 4000, 2  # samples that distances are measured on
STEPS = 100  # of the methods in the weights figure


def main() -> None:
    """Fill in the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="*", type=Path, default=[], help="what error_against_calls.py --json wrote")
    parser.add_argument("--pages", nargs="+", default=["choosing", "tables"], choices=["choosing", "tables"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    peers = [row for file in options.peers for row in json.loads(file.read_text())]
    for name in options.pages:
        page = DOCS / f"{name}.md"
        page.write_text(made(printed(page.read_text()), {"errors": partial(errors, peers), **MADE}))
    if "tables" in options.pages:
        written(DOCS / "weights.svg", weights_figure(), "Share of each prediction in the result, along a run")


def printed(page: str) -> str:
    """The page with every ```text block replaced by what the ```python block above it prints."""
    names: dict[str, Any] = {"__name__": "page"}

    def ran(match: re.Match[str]) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(match["code"], "page", "exec"), names)
        shown = f"\n```text\n{out.getvalue()}```\n" if match["shown"] is not None else ""
        return f"```python\n{match['code']}```\n{shown}"

    block = r"^```python\n(?P<code>.*?)^```\n(?P<shown>\n```text\n.*?^```\n)?"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return re.sub(block, ran, page, flags=re.M | re.S)


def made(page: str, tables: dict[str, Callable[[], str]]) -> str:
    """The page with every marked table made anew."""

    def filled(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{tables[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- ([\w-]+) -->\n.*?<!-- end -->", filled, page, flags=re.S)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def defaults() -> tuple[str, str]:
    """Solver and grid of `sample` when nothing is said."""
    settings = inspect.signature(ob.sample).parameters
    return settings["solver"].default, settings["grid"].default


def default() -> str:
    """The same, in a sentence."""
    solver, grid = defaults()
    return f'The default is `solver="{solver}"` on `grid="{grid}"`; both are told how many numbers a sample has.'


def errors(peers: list[dict[str, Any]]) -> str:
    """RMS distance to the exact end of the ODE, by budget; and the figure."""
    beside = [row for row in peers if "peer" in row and row["schedule"] == SCHEDULE]
    best = {(row["problem"], row["calls"]): row["peer"]["rms"]["rms"] for row in beside}
    noises = {row["problem"]: row["noises"] for row in beside}
    packages = sorted({name for row in beside for name in row["peer"]["packages"]})
    columns, parts = ["default", *OTHERS, *(["best peer"] if best else [])], []
    for problem in SHOWN:
        exact = problems.problem(problem)
        exact = replace(exact, count=noises.get(problem, exact.count))  # the peers' noise
        found = {
            name: [ours_scores(exact, SCHEDULE, calls, problems.CACHE, **asked)["rms"] for calls in CALLS]
            for name, asked in {"default": {}, **OTHERS}.items()
        }
        if best:
            found["best peer"] = [best.get((problem, calls), math.nan) for calls in CALLS]
        rows = zip(CALLS, *found.values(), strict=True)
        cells = [[str(calls), *("" if one != one else f"{one:.2g}" for one in row)] for calls, *row in rows]
        parts += [f"**{problem}**", table(["calls", *columns], cells)]
        if problem == SHOWN[0]:
            lines = [Line(name, CALLS, row) for name, row in found.items()]
            errors = chart("errors", lines, x="network calls", y="distance to the exact end", log=True)
            written(DOCS / "errors.svg", errors, f"Error against network calls, on {problem}")
    if best:
        names = ", ".join(packages)
        parts.append(f"Best peer: of {names}, the method and spacing that were best in hindsight of those tried.")
    return "\n\n".join(parts)


def spread() -> str:
    """The standard deviation that samplers make of normal data, exactly."""
    data = ob.oracles.Gaussian(torch.zeros(1), SPREAD**2, SCHEDULES[SCHEDULE])
    rows = []
    for solver in NOISY:
        found = [propagate(largest(solver, calls), data, source=True).covariance for calls in BUDGETS]
        rows.append([f"`{solver}`", *(f"{100 * (float(one.sqrt()) / SPREAD - 1):+.2g} %" for one in found)])
    return table(["solver", *(f"{calls} calls" for calls in BUDGETS)], rows)


def distances() -> str:
    """Sliced W2 of samples to fresh data."""
    problem, rows = problems.problem(SHOWN[0]), []
    for solver in NOISY:
        found = [stochastic.ours(problem, SCHEDULE, calls, DRAWN, SEEDS, solver=solver)[0] for calls in BUDGETS]
        rows.append([f"`{solver}`", *(f"{mean(one):.3f}" for one in found)])
    rows.append(["floor", *[f"{mean(stochastic.floor(problem, DRAWN, 2 * SEEDS)):.3f}"] * len(BUDGETS)])
    return table(["solver", *(f"{calls} calls" for calls in BUDGETS)], rows)


def largest(solver: str, calls: int) -> ob.Tableau:
    """The table of the most steps that the calls allow."""
    for steps in range(calls, 0, -1):
        grid = ob.grids.Grid.of(defaults()[1]).resized(steps)
        found = ob.solvers.Solver.of(solver).tableau(SCHEDULES[SCHEDULE], grid)
        if found.calls <= calls:
            return found
    raise ValueError(f"{solver} needs more than {calls} calls.")


def weights_figure() -> str:
    """Which share every data prediction has in the result, along the run."""
    grid = ob.grids.Uniform(STEPS)  # even in the angle, on this path
    lines = []
    for name, solver in (("DDIM", "ddim"), ("DDPM", "ddpm"), ("churn", "churn:base=(euler:face=noise),s_churn=8")):
        made_of = ob.solvers.Solver.of(solver).tableau("cosine", grid)
        theta = made_of.called.theta
        shares = made_of.weights("v")[0].abs()
        done = 1 - torch.as_tensor(theta) / (torch.pi / 2)
        lines.append(Line(name, done.tolist(), (shares / shares.sum()).tolist()))
    return chart("weights", lines, x="how far the run is, in angle (0 noise, 1 data)", y="share of |weights|", bottom=0)


MADE: dict[str, Callable[[], str]] = {"default": default, "spread": spread, "distances": distances}

if __name__ == "__main__":
    main()
