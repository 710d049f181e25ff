"""End error against requested tolerance and network calls: this package beside torchdiffeq's and scipy's dopri5.

Problems of `problems.py`, from pure noise to the clean end. The peers integrate dx_t/dt = velocity from t = 1 to
t = 1e-5 in the schedule's own time and go on to the data estimate there, all samples as one system, as they are used
in practice: their calls are calls of the batch, ours the mean over samples. Errors are root mean square and median
over samples, per coordinate.

Command: python benchmarks/adaptive.py [--problem gmm2 gmm64 digits] [--schedule condot] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import obverse as ob
from obverse.sampler import adaptive
from problems import SCHEDULES, Problem, problem, scores

TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
NEAR = 1e-5  # the last level of the peers: velocities are not determined at t = 0 in general
Reached = tuple[Tensor, float, float]  # samples, mean calls of a sample, error it told of


def ours(pair: str, eta: float = 0.0) -> Callable[[ob.Model, Tensor, float], Reached]:
    """A pair of this package."""

    def run(model: ob.Model, start: Tensor, tolerance: float) -> Reached:
        done = adaptive(
            model, start.shape, start=start, rtol=tolerance, atol=0.0, pair=pair, eta=eta, max_calls=5000,
            dtype=torch.float64,
        )  # fmt: skip
        return done.x, float(done.calls.double().mean()), float(done.error.median())

    return run


def scipy(model: ob.Model, start: Tensor, tolerance: float) -> Reached:
    """scipy's RK45, the batch as one system."""

    def slope(t: float, x: Any) -> Any:
        return model(torch.as_tensor(x).reshape(start.shape), t).velocity.flatten().numpy()

    run = solve_ivp(slope, (1.0, NEAR), start.flatten().numpy(), "RK45", rtol=tolerance, atol=tolerance)
    x = torch.as_tensor(run.y[:, -1]).reshape(start.shape)
    return model(x, NEAR).data, float(run.nfev + 1), float("nan")


def torchdiffeq(model: ob.Model, start: Tensor, tolerance: float) -> Reached:
    """torchdiffeq's dopri5, the batch as one system."""
    from torchdiffeq import odeint  # type: ignore[import-not-found]

    calls = 0

    def slope(t: Tensor, x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        velocity: Tensor = model(x, t.clamp(NEAR, 1)).velocity
        return velocity

    ends = torch.tensor([1.0, NEAR], dtype=torch.float64)
    x = odeint(slope, start, ends, rtol=tolerance, atol=tolerance, method="dopri5")[-1]
    return model(x, NEAR).data, float(calls + 1), float("nan")


METHODS: dict[str, Callable[[ob.Model, Tensor, float], Reached]] = {
    "dopri5": ours("dopri5"),
    "bs32": ours("bs32"),
    "scipy RK45": scipy,
    "torchdiffeq dopri5": torchdiffeq,
}


def measure(case: Problem, schedule: str, count: int) -> list[dict[str, Any]]:
    """All methods on one problem."""
    model = case.model(schedule)
    level = model.schedule.at(1.0)
    eps = case.eps(count)
    truth = case.reference(eps, float(level.theta))
    rows = []
    for name, run in METHODS.items():
        for tolerance in TOLERANCES:
            began = time.perf_counter()
            try:
                x, calls, told = run(model, eps * float(level.sigma), tolerance)
            except ImportError:
                break
            found = scores(x, truth)
            row = {"problem": case.name, "schedule": schedule, "method": name, "tolerance": tolerance, "calls": calls}
            rows.append(row | found | {"told": told, "seconds": time.perf_counter() - began})
            print(
                f"{case.name:7}{schedule:10}{name:20}{tolerance:8.0e}{calls:8.1f} calls  rms {found['rms']:.1e}  "
                f"median {found['median']:.1e} ({found['median'] / tolerance:7.3f} x tolerance)  told {told:.1e}",
                flush=True,
            )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problem", nargs="+", default=["gmm2", "gmm64", "digits"])
    parser.add_argument("--schedule", nargs="+", default=["condot"], choices=SCHEDULES)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [row for p in options.problem for s in options.schedule for row in measure(problem(p), s, options.count)]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
