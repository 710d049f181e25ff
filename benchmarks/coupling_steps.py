"""What a coupling adds to a training step in the plane: the recipe of `couplings_2d`, method by method in turn.

In units of torchcfm's I-CFM at the same step: CPU time of the step ("line"), medians of the paired ratios. "ahead" is
exact-ot with the next batches paired on a second thread, as `recipes.Learning` does it: its wall time, CPU time of the
whole process, and of the main thread alone, which is what is left of the step where another core is free. All methods
are given data and source; ours draw a source besides.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

import obverse as ob
from couplings_2d import OURS, THEIRS, Net, moons, normals
from obverse.objective.noised import Noised
from obverse.train.ahead import ahead

WARM = 20


def learner() -> tuple[Net, Callable[[Tensor], None]]:
    """A network, and what a step does with a loss."""
    net = Net()
    adam = torch.optim.Adam(net.parameters(), 2e-3)

    def learn(loss: Tensor) -> None:
        adam.zero_grad()
        loss.backward()
        adam.step()

    return net, learn


def stepper(method: str) -> Callable[[int, Tensor, Tensor], None]:
    """A whole training step of a method."""
    net, learn = learner()
    if method in OURS:
        model, objective = ob.Network(net, "linear", predicts="flow"), ob.Objective(coupling=OURS[method])
        return lambda k, x, _: learn(objective(model, x, seed=0, step=k).mean)
    matcher = THEIRS[method](sigma=0.0)

    def step(_: int, x: Tensor, eps: Tensor) -> None:
        t, x_t, speed = matcher.sample_location_and_conditional_flow(eps, x)
        learn((net(x_t, t) - speed).square().mean())

    return step


def in_line(batch: int, steps: int) -> dict[str, list[float]]:
    """CPU seconds of each step, by method."""
    methods = {name: stepper(name) for name in ("I-CFM", *OURS, "OT-CFM")}
    spent: dict[str, list[float]] = {name: [] for name in methods}
    for k in range(steps + WARM):
        x, eps = moons(batch), normals(batch)
        for name, step in methods.items():
            begun = time.process_time()
            step(k, x, eps)
            spent[name].append(time.process_time() - begun)
    return {name: values[WARM:] for name, values in spent.items()}


def overlapped(batch: int, steps: int) -> dict[str, float]:
    """Milliseconds of a step with pairs made ahead: wall, process, main thread."""
    net, learn = learner()
    model, objective = ob.Network(net, "linear", predicts="flow"), ob.Objective(coupling="exact-ot")
    data = moons(batch * (steps + WARM)).split(batch)

    def noised() -> Iterator[Noised]:
        for k, x in enumerate(data):
            yield objective.noised(model, x, seed=0, step=k)

    clocks = {"wall": time.perf_counter, "process": time.process_time, "main": time.thread_time}
    begun: dict[str, float] = {}
    for k, ready in enumerate(ahead(noised())):
        if k == WARM:
            begun = {name: clock() for name, clock in clocks.items()}
        learn(objective.on(model, ready).mean)
    return {name: 1e3 * (clock() - begun[name]) / steps for name, clock in clocks.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    steps = 100 if options.quick else 500
    results: dict[str, Any] = {}
    for batch in (128, 256):
        spent = in_line(batch, steps)
        bare = 1e3 * median(spent["I-CFM"])
        for name, values in spent.items():
            ratio = median(a / b for a, b in zip(values, spent["I-CFM"], strict=True))
            results[f"{batch} {name}"] = {"line_ms": 1e3 * median(values), "ratio": ratio}
            print(f"{batch:4} {name:18} {1e3 * median(values):6.3f} ms {ratio:6.2f}", flush=True)
        runs = [overlapped(batch, steps) for _ in range(3)]
        found = {name: median(run[name] for run in runs) for name in runs[0]}
        results[f"{batch} ahead"] = found
        told = ", ".join(f"{name} {value:.3f} ms {value / bare:.2f}" for name, value in found.items())
        print(f"{batch:4} {'exact-ot ahead':18} {told}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
