"""What a training step costs: CPU time over bare forward + backward + AdamW, one thread, paired medians."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch

import obverse as ob

OBJECTIVES = {
    "flow": ob.Objective(times="uniform", weighting="flow"),
    "edm": ob.Objective(times="log-normal-nsr", weighting="edm"),
    "exact-ot": ob.Objective(times="uniform", weighting="flow", coupling="exact-ot"),
}
ROUNDS, STEPS = 9, 10


class Bench:
    """A network, its optimiser and a batch, to take steps with."""

    def __init__(self, net: str, shape: tuple[int, ...]) -> None:
        self.net = ob.nets.Architecture.of(net).build(shape)
        self.adam = torch.optim.AdamW(self.net.parameters(), lr=1e-4, fused=True)
        self.model = ob.Network(self.net, "linear")
        self.x, self.eps, self.t = torch.randn(256, *shape), torch.randn(256, *shape), torch.rand(256)
        self.step = 0

    def seconds(self, objective: ob.Objective | None) -> float:
        """CPU time of some steps, bare or with an objective."""
        begun = time.thread_time()
        for _ in range(STEPS):
            self.step += 1
            if objective is None:
                loss = (self.net(self.x, self.t) - self.eps).square().mean()
            else:
                loss = objective(self.model, self.x, seed=0, step=self.step).mean
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()
        return time.thread_time() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for net, shape in (("mlp", (2,)), ("unet", (1, 8, 8))):
        bench = Bench(net, shape)
        bench.seconds(None)
        for name, objective in OBJECTIVES.items():
            bench.seconds(objective)
            ratio = median(bench.seconds(objective) / bench.seconds(None) for _ in range(ROUNDS))
            results[f"{net} {name}"] = ratio
            print(f"{net:5} {name:9} {ratio:.2f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
