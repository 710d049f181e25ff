"""RMS distance to the exact end of the probability flow, by solver, grid and network calls, on exact mixtures.

The problem: eight Gaussians of standard deviation 0.15 on a ring of radius 1.3, in 2 dimensions; the reference is
Heun with 2,000 steps. One ODE has many schedules, so every schedule is tried: a grid that suits one only is no default.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch

import obverse as ob
from obverse.ground import noise

SCHEDULES = ("linear", "cosine", "vp", "edm")
SOLVERS = ("ddim", "heun", "dpmpp-2m")
GRIDS = ("uniform", "angle:power=1", "angle:power=2", "angle:power=3", "logsnr", "karras")
CALLS = (5, 10, 20, 40)


def ring() -> ob.oracles.Mixture:
    """The problem on the linear path."""
    turn = torch.arange(8) * (math.pi / 4)
    return ob.oracles.Mixture(1.3 * torch.stack([turn.cos(), turn.sin()], 1), 0.15**2, None, "linear")


def end(model: ob.Model, solver: str, grid: str, steps: int, eps: torch.Tensor) -> tuple[int, torch.Tensor]:
    """Calls made and states reached, from the noise eps."""
    table = ob.solvers.Solver.of(solver).tableau(model.schedule, ob.grids.Grid.of(grid).resized(steps))
    x = eps * float(table.levels.sigma[0])
    for step in ob.Sampler(table).steps(model, x):
        x = step.x_t
    return table.calls, x


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    oracle = ring()
    eps = noise.normal((500, 2), seed=0, purpose="benchmark", dtype=torch.float64)
    rows = []
    for schedule in SCHEDULES:
        model = oracle.on(schedule)
        _, truth = end(model, "heun", "angle:power=2", 2000, eps)
        for solver in SOLVERS:
            for grid in GRIDS:
                errors = []
                for calls in CALLS:
                    steps = (calls + 1) // 2 if solver == "heun" else calls
                    _, x = end(model, solver, grid, steps, eps)
                    errors.append(float((x - truth).square().sum(1).mean().sqrt()))
                rows.append({"schedule": schedule, "solver": solver, "grid": grid, "calls": CALLS, "rms": errors})
                print(f"{schedule:8}{solver:10}{grid:15}", *(f"{error:9.2e}" for error in errors), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
