"""What a training step costs: CPU time over bare forward + backward + AdamW, one thread, paired medians."""

from __future__ import annotations

import argparse
import json
import time
from itertools import count
from pathlib import Path
from statistics import median

import torch

import obverse as ob

OBJECTIVES = {
    "flow": ob.Objective(times="uniform", weighting="flow"),
    "edm": ob.Objective(times="log-normal-nsr", weighting="edm"),
    "exact-ot": ob.Objective(times="uniform", weighting="flow", coupling="exact-ot"),
}
ROUNDS, STEPS = 15, 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for net_name, shape in (("mlp", (2,)), ("unet", (1, 8, 8))):
        net = ob.nets.Architecture.of(net_name).build(shape)
        adam = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)
        model = ob.Network(net, "linear")
        x, eps, t = torch.randn(256, *shape), torch.randn(256, *shape), torch.rand(256)
        steps = count()

        def take(loss: torch.Tensor, adam: torch.optim.AdamW = adam) -> None:
            adam.zero_grad()
            loss.backward()
            adam.step()

        def bare() -> None:
            for _ in range(STEPS):
                take((net(x, t) - eps).square().mean())

        for name, objective in OBJECTIVES.items():

            def run(objective: ob.Objective = objective) -> None:
                for _ in range(STEPS):
                    take(objective(model, x, seed=0, step=next(steps)).mean)

            bare(), run()
            ratios = []
            for _ in range(ROUNDS):
                begun = time.thread_time()
                run()
                middle = time.thread_time()
                bare()
                ratios.append((middle - begun) / (time.thread_time() - middle))
            results[f"{net_name} {name}"] = median(ratios)
            print(f"{net_name:5} {name:9} {median(ratios):.2f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
