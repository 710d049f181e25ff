"""Error against calls: our default beside the best of all peers, on exact models.

RMS distance per coordinate to the exact end of the probability flow from the same noise. A peer is handed the exact
noise levels, and its spacing and options are the best in hindsight for each number of calls, screened on the first
samples; ours is what `sample(model, shape, steps=N)` does without options, or one solver and grid for all budgets.
Every side counts its calls and makes at most N of them.

Command: python benchmarks/error_against_calls.py [--problems gmm2 gmm64 digits] [--schedules vp-linear edm ...]
         [--solver SPEC --grid SPEC] [--ours | --peers PART ...] [--quick] [--noises COUNT]
         [--repositories DIR] [--cache DIR] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import obverse as ob
import peers
import problems
from obverse.model.model import Around, Call
from peer import Ask, Peer
from problems import SCHEDULES, Problem, scores

CALLS = (4, 5, 6, 8, 10, 12, 16, 20, 32, 50)
TOPS = {"vp-cosine": 2e4, "condot": 999.0}  # where packages that cannot start from pure noise start
SCREEN, KEPT = 48, 10  # samples that all options see, at least; how many go on by RMS, and as many by median

Spacing = Callable[[int], list[float]]


@dataclass(frozen=True)
class Counted(Around):
    """A model that counts its calls."""

    model: ob.Model
    made: list[int]

    def at(self, level: ob.Level, like: Tensor) -> Call:
        call = self.model.at(level, like)

        def counted(x_t: Tensor, cond: Any = None) -> Tensor:
            self.made.append(1)
            return call(x_t, cond)

        return counted


def ours(problem: Problem, schedule: str, calls: int, eps: Tensor, **options: Any) -> tuple[Tensor, int]:
    """Where `sample` arrives with at most that many calls, and how many it made."""
    start = eps * float(SCHEDULES[schedule].at(1.0).sigma)
    for steps in range(calls, 0, -1):
        model = Counted(problem.model(schedule), [])
        x = ob.sample(model, tuple(eps.shape), steps=steps, start=start, dtype=torch.float64, **options)
        if len(model.made) <= calls:
            return x, len(model.made)
    raise ValueError(f"{options} makes more than {calls} calls in one step.")


def ours_scores(problem: Problem, schedule: str, calls: int, cache: Path, **options: Any) -> dict[str, float]:
    """RMS, median, share of flipped samples and true calls of `sample` on the test noise."""
    eps = problem.eps()
    truth = problem.reference(eps, float(SCHEDULES[schedule].at(1.0).theta), cache)
    x, made = ours(problem, schedule, calls, eps, **options)
    return scores(x, truth) | {"calls": made}


def spacings(peer: Peer, schedule: str, quick: bool) -> Iterator[tuple[str, Spacing]]:
    """Ways to space a peer's levels on a schedule, from its noisiest level to 0, or to little noise."""
    top = float(SCHEDULES[schedule].at(1.0).nsr)
    top = top if math.isfinite(top) or peer.pure else TOPS[schedule]
    lows = ((0.002, 0.03) if quick else (0.002, 0.01, 0.03, 0.1)) if peer.zero else (0.001, 0.004)
    for rho in () if peer.flow else (7.0, math.inf) if quick else (3.0, 5.0, 7.0, 10.0, math.inf):
        for low in lows:
            yield f"rho={rho:g} from {low:g}", _spaced(peer, lambda u, rho=rho, low=low: _warped(u, top, low, rho))
    ends = (0.0, 1e-3) if peer.zero else (1e-4, 1e-5) if schedule == "vp-linear" else (1e-2, 1e-3)
    for power in (1.0, 2.0) if quick else (0.7, 1.0, 1.5) if peer.flow else (1.0, 1.5, 2.0, 3.0):
        for shift in (1.0,) if quick or not peer.flow else (0.35, 0.5, 0.7, 1.0, 2.0):
            for end in ends:
                label = f"t^{power:g} to {end:g}" + (f" shift {shift:g}" if shift != 1 else "")
                more = {"power": power, "shift": shift, "end": end}
                yield label, _spaced(peer, _clocked(schedule, top, **more), trailing=end == 0)


def _spaced(peer: Peer, nsr: Callable[[float], float], trailing: bool = False) -> Spacing:
    """Levels at even places u; the last is 0 if the peer can, at once (trailing) or after the spacing's end."""

    def levels(steps: int) -> list[float]:
        inside = steps if trailing or not peer.zero else max(1, steps - 1)
        places = [nsr(i / inside) for i in range(steps if peer.zero else steps + 1)]
        return [*places, 0.0] if peer.zero else places

    return levels


def _warped(u: float, top: float, low: float, rho: float) -> float:
    if math.isinf(rho):
        return float(top ** (1 - u) * low**u)
    return float((top ** (1 / rho) + u * (low ** (1 / rho) - top ** (1 / rho))) ** rho)


def _clocked(schedule: str, top: float, *, power: float, shift: float, end: float) -> Callable[[float], float]:
    """Even in a power of the schedule's time; EDM's is the time of the VP path that reaches 80, as diff-sampler's."""
    path = ob.schedules.VP(0.004, 17.524) if schedule == "edm" else SCHEDULES[schedule]

    def nsr(u: float) -> float:
        if u == 0:
            return top
        t = (1 - u * (1 - end ** (1 / power))) ** power
        return float(path.at(shift * t / (1 + (shift - 1) * t)).nsr)

    return nsr


def run(peer: Peer, problem: Problem, eps: Tensor, levels: list[float], calls: int) -> Tensor:
    """Where a peer arrives; NaN where it cannot."""
    ask = Ask(problem)
    try:
        x = peer.run(ask, eps, levels)
    except (ArithmeticError, AssertionError, IndexError, RuntimeError, ValueError):
        return torch.full_like(eps, math.nan)
    if ask.calls > calls:
        raise AssertionError(f"{peer.name} made {ask.calls} calls with a budget of {calls}.")
    return x


def best(
    problem: Problem, schedule: str, field: Iterable[Peer], calls: int, quick: bool, cache: Path
) -> dict[str, dict[str, Any]]:
    """The best peer by RMS and by median, and the best RMS of each package."""
    eps = problem.eps()
    few = eps[: max(SCREEN, len(eps) // 16)]
    tried: list[tuple[float, float, str, Peer, list[float], Tensor]] = []
    for peer in field:
        steps = peer.steps(calls)
        if steps < 1 or (peer.flow != (schedule == "condot") and "azula" not in peer.name):
            continue
        for label, spacing in spacings(peer, schedule, quick):
            levels = spacing(steps)
            truth = problem.reference(eps, math.atan(levels[0]), cache)
            score = scores(run(peer, problem, few, levels, calls), truth[: len(few)])
            tried.append((score["rms"], score["median"], f"{peer.name}, {label}", peer, levels, truth))
    by_either = (sorted(tried, key=lambda one: one[0]), sorted(tried, key=lambda one: one[1]))
    chosen = {one[2]: one for order in by_either for one in order[:KEPT]}
    for package in {one[2].split()[0] for one in tried}:
        first = min((one for one in tried if one[2].split()[0] == package), key=lambda one: one[0])
        chosen[first[2]] = first
    full: list[dict[str, Any]] = [
        scores(run(peer, problem, eps, levels, calls), truth) | {"who": who}
        for _, _, who, peer, levels, truth in chosen.values()
    ]
    by_rms = sorted(full, key=lambda score: score["rms"])
    packages: dict[str, float] = {}
    for score in by_rms:
        packages.setdefault(score["who"].split()[0], score["rms"])
    by_median = min(full, key=lambda score: score["median"])
    return {"rms": by_rms[0], "median": by_median, "packages": packages}


def compare(options: argparse.Namespace, ask: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One row for each problem, schedule and number of calls."""
    field = [] if options.ours else peers.found(options.repositories)
    field = [peer for peer in field if any(part in peer.name for part in options.peers)]
    for name in options.problems:
        problem = problems.problem(name)
        problem = replace(problem, count=options.noises or problem.count)
        for schedule in options.schedules:
            for calls in options.calls:
                row: dict[str, Any] = {"problem": name, "schedule": schedule, "calls": calls, "noises": problem.count}
                row["ours"] = ours_scores(problem, schedule, calls, options.cache, **ask)
                if field:
                    row["peer"] = best(problem, schedule, field, calls, options.quick, options.cache)
                yield row


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    mine = row["ours"]
    text = f"{row['problem']:7}{row['schedule']:10}{row['calls']:3}  "
    text += f"ours {mine['rms']:8.2e} {mine['median']:8.2e} {mine['flipped']:6.1%}"
    if "peer" not in row:
        return text
    peer, median = row["peer"]["rms"], row["peer"]["median"]["median"]
    text += f"   peers {peer['rms']:8.2e} {median:8.2e} {peer['flipped']:6.1%}"
    return text + f"   ratio {_ratio(mine['rms'], peer['rms'])} {_ratio(mine['median'], median)}   {peer['who']}"


def _ratio(mine: float, best: float) -> str:
    """How many times the best; on separate points both may be exactly 0."""
    return "  0/0" if mine == best == 0 else f"{mine / best if best else math.inf:5.2f}"


def main() -> None:
    """Measure and print: RMS, median, share of flipped samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=["gmm2", "gmm64", "digits"])
    parser.add_argument("--schedules", nargs="+", default=list(SCHEDULES), choices=list(SCHEDULES))
    parser.add_argument("--calls", nargs="+", type=int, default=list(CALLS))
    parser.add_argument("--solver", help="a spec, in place of the default")
    parser.add_argument("--grid", help="a spec, in place of the default")
    parser.add_argument("--ours", action="store_true", help="leave the peers out")
    parser.add_argument("--peers", nargs="+", default=[""], help="parts of the names of those to be measured")
    parser.add_argument("--noises", type=int, help="test samples; with few, RMS is the error of one or two of them")
    parser.add_argument("--quick", action="store_true", help="fewer spacings for the peers")
    parser.add_argument("--repositories", type=Path, help="folder with checkouts named diff-sampler and UniPC")
    parser.add_argument("--cache", type=Path, default=problems.CACHE)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    ask = {key: getattr(options, key) for key in ("solver", "grid") if getattr(options, key)}
    rows = []
    for row in compare(options, ask):
        rows.append(row)
        print(line(row), flush=True)
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1))
    for name in options.problems:
        ends = {s: ours(problems.problem(name), s, 10, problems.problem(name).eps(8), **ask)[0] for s in SCHEDULES}
        apart = float((ends["condot"] - ends["vp-cosine"]).abs().max())
        print(f"{name}: ours on condot and on vp-cosine, which start alike, differ by {apart:.0e}", file=sys.stderr)


if __name__ == "__main__":
    main()
