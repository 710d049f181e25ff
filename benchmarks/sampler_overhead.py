"""What the sampling loop costs: CPU time over a bare loop of as many network calls, one thread, paired medians."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch

import obverse as ob

SOLVERS = ("ddim", "euler", "dpmpp-2m", "heun", "sde")
CALLS, ROUNDS = 48, 21


def cpu(one: Callable[[], object]) -> float:
    """CPU seconds of one run on this thread."""
    begun = time.thread_time()
    one()
    return time.thread_time() - begun


def run(sampler: ob.Sampler, model: ob.Model, x: torch.Tensor) -> None:
    """All steps, none kept."""
    for _ in sampler.steps(model, x):
        pass


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    layers = [torch.nn.Linear(3, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2)]
    mlp = torch.nn.Sequential(*layers)

    def net(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return mlp(torch.cat([x_t, t[:, None]], 1))

    model = ob.Network(net, "linear", predicts="flow", cond="none")
    x, t = torch.randn(256, 2), torch.rand(CALLS, 256)
    runs = {"bare": lambda: [net(x, t[k]) for k in range(CALLS)]}
    for name in SOLVERS:
        steps = CALLS // 2 if name == "heun" else CALLS
        table = ob.solvers.Solver.of(name).tableau("linear", ob.grids.Angle(steps=steps))
        runs[name] = partial(run, ob.Sampler(table), model, x)
    results = {}
    with torch.no_grad():
        for name, one in runs.items():
            one()
            results[name] = median(cpu(one) / cpu(runs["bare"]) for _ in range(ROUNDS))
            print(f"{name:10} {results[name]:.2f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
