"""Log-densities of exact models: error against calls and time, this package beside flow_matching and torchdiffeq.

gmm2 (128 points) and gmm64 (32 points) of `problems.py` on the linear path, one velocity for all: a callable in float64
through which torch differentiates. Errors are root mean square over the points, in nats, against the closed form. Calls
are evaluations of the velocity: of the whole batch for the peers, the mean over points for ours, whose points step on
their own. Peers run dopri5 with rtol = atol = tolerance; ours takes its tolerance in nats. Milliseconds are CPU time of
the thread, median over rounds in which all take turns. Hutchinson's estimate is printed with the error it tells of.

Peers that are not installed are left out (pip install flow-matching torchdiffeq).

Command: python benchmarks/likelihood.py [--problem gmm2 gmm64] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import obverse as ob
from obverse.model.oracles import Oracle
from problems import problem

COUNT = {"gmm2": 128, "gmm64": 32}
TOLERANCES = {"gmm2": (1e-2, 1e-3, 1e-4, 1e-5, 1e-6), "gmm64": (1e-2, 1e-3, 1e-4, 1e-5)}
Found = tuple[Tensor, float, str]  # log-densities, calls, a remark


class Velocity:
    """eps - x of an oracle, at one t or one for each row; counts its calls."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle, self.rows = oracle, 0

    def __call__(self, x_t: Tensor, t: Tensor, cond: None = None) -> Tensor:
        """(batch, d) to the same."""
        self.rows += len(x_t)
        t = t.reshape(-1, 1) if t.ndim else t
        one = torch.ones_like(t)
        known = self.oracle.posterior(x_t, ob.Level(t, 1 - t, t, -one, one))
        return known.noise - known.data


def ours(velocity: Velocity, x: Tensor, tolerance: float, probes: int | None = None) -> Found:
    """This package."""
    model = ob.Network(velocity, ob.schedules.Linear(), predicts="flow")
    found = ob.likelihood.log_density(model, x, tolerance=tolerance, probes=probes)
    told = found.standard_error if probes else found.error
    return found.nats, float(found.calls.double().mean()), f"told {rms(told):.1e}"


def flow_matching(velocity: Velocity, x: Tensor, tolerance: float, exact: bool = True) -> Found:
    """flow_matching's ODESolver; its data is at t = 1."""
    from flow_matching.solver import ODESolver  # type: ignore[import-not-found]
    from flow_matching.utils import ModelWrapper  # type: ignore[import-not-found]

    class Wrapped(ModelWrapper):  # type: ignore[misc]
        def forward(self, x: Tensor, t: Tensor, **extras: object) -> Tensor:
            return -velocity(x, 1 - t)

    velocity.rows = 0
    _, nats = ODESolver(Wrapped(torch.nn.Identity())).compute_likelihood(
        x, normal, step_size=None, method="dopri5", atol=tolerance, rtol=tolerance,
        time_grid=torch.tensor([1.0, 0.0], dtype=x.dtype), exact_divergence=exact,
    )  # fmt: skip
    return nats.detach(), velocity.rows / len(x), ""


def torchdiffeq(velocity: Velocity, x: Tensor, tolerance: float) -> Found:
    """torchdiffeq's odeint, the trace by vmap of jacfwd."""
    from torch.func import jacfwd, vmap
    from torchdiffeq import odeint  # type: ignore[import-not-found]

    def slope(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        def alone(row: Tensor) -> tuple[Tensor, Tensor]:
            out = velocity(row[None], t)[0]
            return out, out

        slopes, values = vmap(jacfwd(alone, has_aux=True))(state[0])
        return values, slopes.diagonal(dim1=1, dim2=2).sum(1)

    velocity.rows = 0
    times = torch.tensor([0.0, 1.0], dtype=x.dtype)
    end, grown = odeint(slope, (x, x.new_zeros(len(x))), times, rtol=tolerance, atol=tolerance, method="dopri5")
    return normal(end[-1]) + grown[-1], float(velocity.rows), ""


def normal(x: Tensor) -> Tensor:
    """Log-density of standard normal rows."""
    return -(x**2).sum(1) / 2 - x.shape[1] / 2 * math.log(2 * math.pi)


def rms(values: Tensor) -> float:
    """Root mean square."""
    return float(values.double().square().mean().sqrt())


def main() -> None:
    """Print a line for each peer and tolerance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problem", nargs="+", default=["gmm2", "gmm64"], choices=list(COUNT))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # flow_matching draws and keeps time in the default
    peers: dict[str, Callable[[Velocity, Tensor, float], Found]] = {"obverse": ours}
    peers |= {"flow_matching": flow_matching} if find_spec("flow_matching") else {}
    peers |= {"torchdiffeq": torchdiffeq} if find_spec("torchdiffeq") else {}
    lines: list[dict[str, Any]] = []
    for name in options.problem:
        oracle = problem(name).oracle
        x = oracle.sample(COUNT[name], seed=5)
        truth = oracle.log_prob(x)
        for tolerance in TOLERANCES[name]:
            spent: dict[str, list[float]] = {peer: [] for peer in peers}
            for _ in range(options.rounds):
                for peer, run in peers.items():
                    if peer == "torchdiffeq" and name == "gmm64":
                        continue  # its vmap of jacfwd takes minutes here, for the errors of flow_matching
                    begun = time.thread_time()
                    nats, calls, remark = run(Velocity(oracle), x, tolerance)
                    spent[peer].append(1e3 * (time.thread_time() - begun))
                    off = rms(nats - truth)
                    if len(spent[peer]) == options.rounds:
                        line = {"problem": name, "tolerance": tolerance, "peer": peer, "calls": calls, "rms": off}
                        lines.append({**line, "ms": statistics.median(spent[peer])})
                        print(f"{name:6} {tolerance:.0e} {peer:14} {calls:6.0f} calls  rms {off:.1e}"
                              f"  {lines[-1]['ms']:8.0f} ms  {remark}", flush=True)  # fmt: skip
        for probes in (2, 16):
            nats, calls, remark = ours(Velocity(oracle), x, 1e-3, probes)
            print(f"{name:6} 1e-03 obverse, {probes} probes {calls:6.0f} calls  rms {rms(nats - truth):.1e}  {remark}")
    if options.json is not None:
        options.json.write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    main()
