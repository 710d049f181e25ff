"""Rounds that parallel-in-time runs need on a trained network, and how far their ends lie from the calls one by one.

obverse train digits --recipe digits --out runs/digits
python benchmarks/parallel_in_time.py runs/digits
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

import obverse as ob
from obverse.ground import noise
from obverse.recipes import Trained
from obverse.recipes.build import labels_for

SOLVERS = ("ddim", "dpmpp-2m", "heun", "sde:eta=0.3")
TOLERANCES = (1e-3, 1e-4, 2e-5)
CALLS, COUNT = 64, 16


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    trained = Trained.open(options.run)
    model, cond = trained.model, labels_for(trained.recipe, trained.facts, COUNT)
    start = noise.normal((COUNT, *trained.facts.shape), seed=0, purpose="start")
    results = []
    for solver in SOLVERS:
        steps = CALLS // 2 if solver == "heun" else CALLS
        table = ob.solvers.Solver.of(solver).tableau(model.schedule, ob.grids.Angle(steps=steps))
        with torch.no_grad():
            want = ob.Sampler(table).end(model, start, cond=cond)
        for tolerance in TOLERANCES:
            run = ob.solvers.parallel(table, model, start, tolerance=tolerance, cond=cond)
            off = float((run.x - want).abs().max())
            fewer = table.calls / run.rounds
            results.append({"solver": solver, "tolerance": tolerance, "rounds": run.rounds, "fewer": fewer, "off": off})
            print(f"{solver:12} tolerance {tolerance:.0e}  {run.rounds:3} rounds for {table.calls} calls", end="")
            print(f"  {fewer:4.1f}x fewer  largest difference {off:.1e}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
