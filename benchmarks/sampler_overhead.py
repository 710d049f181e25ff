"""What the sampling loop costs: CPU time over a bare loop of as many network calls, one thread, paired medians.

The network is an MLP of 3 x 64, batch 256 x 2, 45 to 75 microseconds a call by the machine: anything larger hides the
loop. A sampler's table is made once and its runs are whole, draws included; what a table keeps from run to run is kept.
Beside each ratio stand the microseconds that a step costs beyond its call: the loop's own, whatever the network.
What is written by hand is the least that anyone pays: Euler's step as one call of torch, as it is mostly written, and
with a draw.
"""

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

CALLS, ROUNDS = 48, 41
LIMITS = {
    "ddim": 1.05,
    "euler": 1.05,
    "dpmpp-2m": 1.10,
    "dpmpp-3m": 1.10,
    "deis": 1.10,
    "lms": 1.10,
    "unipc": 1.15,
    "heun": 1.10,
    "sde": 1.20,
    "ddpm": 1.20,
    "sde-dpmpp": 1.20,
    "er-sde": 1.20,
    "sa-solver": 1.20,
}


def cpu(one: Callable[[], object]) -> float:
    """CPU seconds of one run on this thread."""
    begun = time.thread_time()
    one()
    return time.thread_time() - begun


def peers(net: Callable[..., torch.Tensor], x: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Runs of as many calls by those of the peers that are installed."""
    runs: dict[str, Callable[[], object]] = {}
    try:
        import diffusers as d
    except ImportError:
        return runs
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    schedulers = {
        "diffusers FlowMatchEuler": d.FlowMatchEulerDiscreteScheduler(),
        "diffusers DDIM": d.DDIMScheduler(clip_sample=False),
        "diffusers DPM++2M": d.DPMSolverMultistepScheduler(**flow),
        "diffusers UniPC": d.UniPCMultistepScheduler(**flow),
        "diffusers SDE-DPM++2M": d.DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", **flow),
    }

    def run(scheduler: object) -> None:
        scheduler.set_timesteps(CALLS)  # type: ignore[attr-defined]
        state = x
        for t in scheduler.timesteps:  # type: ignore[attr-defined]
            state = scheduler.step(net(state, t.expand(256) / 1000), t, state).prev_sample  # type: ignore[attr-defined]

    return {name: partial(run, scheduler) for name, scheduler in schedulers.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[*LIMITS], choices=[*LIMITS], help="which; no peers then")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    layers = [torch.nn.Linear(3, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2)]
    mlp = torch.nn.Sequential(*layers)

    def net(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = mlp(torch.cat([x_t, t[:, None]], 1))
        return out

    model = ob.Network(net, "linear", predicts="flow", cond="none")
    x, times = torch.randn(256, 2), torch.rand(CALLS, 256).unbind()

    def bare() -> None:
        for t in times:
            net(x, t)

    def euler() -> None:
        state = x
        for t in times:
            state = state.add(net(state, t), alpha=-1 / CALLS)

    def plainly() -> None:
        state = x
        for t in times:
            state = state - net(state, t) / CALLS

    def drawing() -> None:
        state = x
        for t in times:
            state = state.mul(0.99).add_(net(state, t), alpha=-1 / CALLS).add_(torch.randn_like(x), alpha=0.1)

    runs: dict[str, Callable[[], object]] = {"bare again": bare}
    runs |= {"by hand, Euler in one call": euler, "by hand, Euler": plainly, "by hand, with draws": drawing}
    for name in options.only:
        table = next(
            table
            for steps in (CALLS, CALLS // 2, CALLS // 2 + 1, CALLS // 3)
            if (table := ob.solvers.Solver.of(name).tableau("linear", ob.grids.Angle(steps=steps))).calls <= CALLS
        )
        runs[f"{name} ({table.calls} calls)"] = partial(ob.Sampler(table).end, model, x)
    runs |= peers(net, x) if options.only == [*LIMITS] else {}
    results = {}
    with torch.no_grad():
        for name, one in runs.items():
            one()
            calls = int(name.split("(")[1].split()[0]) if "(" in name else CALLS
            pairs = [(cpu(one) / calls, cpu(bare) / CALLS) for _ in range(ROUNDS)]
            ratio, beyond = median(a / b for a, b in pairs), median(a - b for a, b in pairs) * 1e6
            results[name] = ratio
            limit = LIMITS.get(name.split()[0])
            asked = f"   (to be at most {limit})" if limit else ""
            print(f"{name:32} {ratio:.3f}   {beyond:6.1f} us a step{asked}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
