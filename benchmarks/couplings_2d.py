"""Couplings in the plane, beside torchcfm: how near samples come in few Euler steps, and how straight the paths are.

torchcfm's recipe: 3 x 64 SELU, Adam 2e-3 falling along a cosine, batch 128, 2500 steps, fresh data at every step; the
same data, network and start for all methods. W2 is exact (POT) within ten disjoint blocks of 1,000 test points, root
mean square over the blocks; the floor is the same between two fresh test sets, with its 95 % interval over 10 pairs of
sets. NPE is |mean squared speed integrated over 100 steps - W2²(source, data)| / W2²(source, data), W2² being of 4,000
of the very points that set out and of those that they should meet: other points would add the chance of both laws'
second moments, which is as large as what transport leaves. `signed` is the same without the bars. Step times are CPU
times of whole training steps without the drawing of data, in units of I-CFM's. Intervals are standard deviations over
seeds; below each pair stand differences of methods seed by seed, with 95 % intervals of their mean (Student's t).

SB-CFM is torchcfm's class as it comes: pairs of exact transport with the noise of a bridge between them; "entropic" has
the pairs of its paper. Ours are `schrodinger-bridge`, and exact pairs with the same bridge, beside each.

--conditional: eight Gaussians to moons given the moon, and given the first coordinate, as Cheng & Schwing (2025) do it:
batches of 256 from pools of 1,024, one Euler step, squared W2 to 10,000 points of fresh data at once (their numbers are
squared: 0.05 and 0.08), by POT.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
import ot
import torch
import torchcfm
from scipy.stats import t as student
from torch import Tensor, nn

import obverse as ob
from obverse.data import Batch as Rows
from obverse.objective.couplings import ExactOT, FromData, pooled

TEST, BLOCK, REFERENCE = 10_000, 1_000, 4_000
STEPS, ENERGY = (1, 4, 20, 100), 100
COLUMNS = [*(f"W2@{n}" for n in STEPS), "NPE", "signed", "step_ms"]


def normals(n: int) -> Tensor:
    """A standard normal."""
    return torch.randn(n, 2)


def gaussians(n: int) -> Tensor:
    """torchcfm's eight Gaussians: radius 5, variance 0.1 ** 0.5."""
    turn = torch.randint(0, 8, (n,)) * (math.pi / 4)
    return 5 * torch.stack([turn.cos(), turn.sin()], 1) + 0.1**0.25 * torch.randn(n, 2)


def moons_with_labels(n: int) -> tuple[Tensor, Tensor]:
    """torchcfm's moons, and which of the two each point is on."""
    label, turn = torch.randint(0, 2, (n,)), torch.rand(n) * math.pi
    outer, inner = torch.stack([turn.cos(), turn.sin()], 1), torch.stack([1 - turn.cos(), 0.5 - turn.sin()], 1)
    return 3 * (torch.where(label[:, None] == 0, outer, inner) + 0.2 * torch.rand(n, 1)) - 1, label


def moons(n: int) -> Tensor:
    """torchcfm's moons."""
    return moons_with_labels(n)[0]


def scurve(n: int) -> Tensor:
    """An S in the plane, about as large as the moons."""
    turn = 3 * math.pi * (torch.rand(n) - 0.5)
    points = torch.stack([turn.sin(), turn.sign() * (turn.cos() - 1)], 1)
    return 1.5 * (points + 0.05 * torch.randn(n, 2))


PAIRS = {
    "N->8gaussians": (normals, gaussians),
    "8gaussians->moons": (gaussians, moons),
    "N->moons": (normals, moons),
    "N->scurve": (normals, scurve),
}
SIGMA = 0.5  # of bridges, as in torchcfm's examples
CUT = "cut:base=uniform,low=0.001,high=0.999"  # the target of a bridge has no finite variance at the ends


class ExactBridge(ExactOT, name="exact-bridge"):
    """The pairs of exact transport with a bridge between them, as torchcfm's class has it."""

    bridge = SIGMA


OURS = {"ours independent": "independent", "ours exact-ot": "exact-ot"}
BRIDGES = {"ours bridge": f"schrodinger-bridge:bridge={SIGMA}", "ours exact bridge": ExactBridge()}
THEIRS = {
    "I-CFM": torchcfm.ConditionalFlowMatcher,
    "OT-CFM": torchcfm.ExactOptimalTransportConditionalFlowMatcher,
    "SB-CFM": partial(torchcfm.SchrodingerBridgeConditionalFlowMatcher, ot_method="exact"),
    "SB-CFM entropic": partial(torchcfm.SchrodingerBridgeConditionalFlowMatcher, ot_method="sinkhorn"),
}
RIVALS = {  # ours, and what it is compared with
    "ours independent": "I-CFM",
    "ours exact-ot": "OT-CFM",
    "ours bridge": "SB-CFM entropic",
    "ours exact bridge": "SB-CFM",
}


class Net(nn.Module):
    """torchcfm's MLP, told the time and a condition as more coordinates."""

    def __init__(self, width: int = 64, cond: int = 0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 + cond, width),
            nn.SELU(),
            nn.Linear(width, width),
            nn.SELU(),
            nn.Linear(width, width),
            nn.SELU(),
            nn.Linear(width, 2),
        )

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        told = [x_t, t[:, None]] if cond is None else [x_t, t[:, None], cond.to(x_t).reshape(len(x_t), -1)]
        out: Tensor = self.layers(torch.cat(told, 1))
        return out


def ours(method: str) -> bool:
    """Whether it is one of ours, whose data is at t = 0."""
    return method in OURS or method in BRIDGES


def recipe(method: str) -> ob.Objective:
    """Our objective."""
    return ob.Objective(CUT, coupling=BRIDGES[method]) if method in BRIDGES else ob.Objective(coupling=OURS[method])


def train(method: str, source: Callable[[int], Tensor], data: Callable[[int], Tensor], seed: int, steps: int) -> Any:
    """A network, and the CPU time of a step in milliseconds."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # torchcfm draws its pairs from it
    net = Net()
    adam = torch.optim.Adam(net.parameters(), 2e-3)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    xs, sources = data(128 * steps), source(128 * steps)
    if ours(method):
        model, objective = ob.Network(net, "linear", predicts="flow"), recipe(method)
        if source is not normals:
            objective.source = FromData(sources)
    else:
        matcher = THEIRS[method](sigma=SIGMA if method.startswith("SB") else 0.0)
    spent = []
    for step in range(steps):
        x, eps = xs[128 * step :][:128], sources[128 * step :][:128]
        begun = time.thread_time()
        if ours(method):
            loss = objective(model, x, seed=seed, step=step).mean
        else:
            t, x_t, speed = matcher.sample_location_and_conditional_flow(eps, x)
            loss = (net(x_t, t) - speed).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        spent.append(time.thread_time() - begun)
        falling.step()
    return net, 1e3 * median(spent)


@torch.no_grad()
def carried(net: nn.Module, x: Tensor, steps: int, back: bool, cond: Tensor | None = None) -> tuple[Tensor, float]:
    """Euler from source to data, and the mean squared speed on the way. Our data is at t = 0, torchcfm's at t = 1."""
    energy = 0.0
    for k in range(steps):
        t = torch.full((len(x),), 1 - k / steps if back else k / steps)
        speed = -net(x, t, cond) if back else net(x, t, cond)
        energy += float(speed.square().sum(1).mean()) / steps
        x = x + speed / steps
    return x, energy


def squared(x: Tensor, y: Tensor) -> float:
    """Exact squared W2 of all points at once."""
    return float(ot.emd2([], [], torch.cdist(x.double(), y.double()).square().numpy(), numItermax=10**8))


def w2(x: Tensor, y: Tensor) -> float:
    """Exact W2 within blocks, root mean square over them."""
    return math.sqrt(mean(squared(a, b) for a, b in zip(x.split(BLOCK), y.split(BLOCK), strict=True)))


def measured(pair: str, seed: int, steps: int) -> dict[str, list[float]]:
    """One seed of all methods: a row of COLUMNS each."""
    source, data = PAIRS[pair]
    torch.manual_seed(2000 + seed)
    start, fresh = source(TEST), data(TEST)
    some = slice(0, REFERENCE)
    between, rows = squared(start[some], fresh[some]), {}
    for method in (*OURS, *BRIDGES, *THEIRS):
        net, spent = train(method, source, data, seed, steps)
        found = [w2(carried(net, start, n, ours(method))[0], fresh) for n in STEPS]
        energy = carried(net, start[some], ENERGY, ours(method))[1]
        signed = energy / between - 1
        rows[method] = [*found, abs(signed), signed, spent]
    return rows


def compared(pair: str, rows: dict[str, list[list[float]]]) -> dict[str, list[tuple[float, float]]]:
    """Ours less theirs, seed by seed, by column: mean and half of its 95 % interval; printed."""
    results = {}
    for mine, rival in RIVALS.items():
        cells = []
        for one, other in zip(zip(*rows[mine], strict=True), zip(*rows[rival], strict=True), strict=True):
            apart = [a - b for a, b in zip(one, other, strict=True)]
            n = len(apart)
            half = float(student.ppf(0.975, n - 1)) * stdev(apart) / math.sqrt(n) if n > 1 else math.inf
            cells.append((mean(apart), half))
        results[f"{mine} - {rival}"] = cells[:-1]
        shown = " ".join(f"{f'{m:+.3f}+-{h:.3f}':>13}" for m, h in cells[:-1])
        print(f"{pair:18} {mine + ' less its rival':31} {shown}", flush=True)
    return results


def table(pairs: list[str], seeds: int, steps: int) -> dict[str, Any]:
    """All methods on all pairs."""
    results: dict[str, Any] = {}
    print(f"{'':18} {'':31} " + " ".join(f"{name:>13}" for name in COLUMNS[:-1]) + f" {'step':>5}")
    for pair in pairs:
        torch.manual_seed(1000)
        floors = [w2(PAIRS[pair][1](TEST), PAIRS[pair][1](TEST)) for _ in range(10)]
        low, high = (mean(floors) + sign * 1.96 * stdev(floors) for sign in (-1, 1))
        print(f"{pair:18} {'floor':31} {mean(floors):.3f} in [{low:.3f}, {high:.3f}]", flush=True)
        each = [measured(pair, seed, steps) for seed in range(seeds)]
        rows = {method: [one[method] for one in each] for method in each[0]}
        bare = median(values[-1] for values in rows["I-CFM"])
        for method, row in rows.items():
            columns = list(zip(*row, strict=True))
            cells = [f"{mean(c):.3f}+-{(stdev(c) if seeds > 1 else 0):.3f}" for c in columns[:-1]]
            step = median(columns[-1]) / bare
            print(f"{pair:18} {method:31} " + " ".join(f"{c:>13}" for c in cells) + f" {step:5.2f}")
        results[pair] = {"floor": floors, "columns": COLUMNS, **rows, "less": compared(pair, rows)}
    return results


def conditional(seeds: int, steps: int) -> dict[str, Any]:
    """Squared W2 after one Euler step, by condition and coupling."""
    kinds = {
        "label": ("independent", "exact-ot", "within"),
        "first coordinate": ("independent", "exact-ot", "exact-ot:cost=(conditioned:ratio=0.05)"),
    }
    results: dict[str, Any] = {}
    for kind, couplings in kinds.items():
        for coupling in couplings:
            found = []
            for seed in range(seeds):
                torch.manual_seed(seed)
                net = Net(width=128, cond=1)
                adam = torch.optim.Adam(net.parameters(), 2e-3)
                falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
                model, objective = ob.Network(net, "linear", predicts="flow"), ob.Objective()

                def batches(kind: str = kind) -> Iterator[Rows]:
                    for step in range(steps):
                        x, label = moons_with_labels(256)
                        yield Rows(x, label if kind == "label" else x[:, 0], torch.arange(256), step, torch.arange(256))

                for batch, eps in pooled(batches(), coupling, count=4, source=lambda shape, **_: gaussians(shape[0])):
                    loss = objective(model, batch.x, batch.label, seed=seed, step=batch.step, eps=eps).mean
                    adam.zero_grad()
                    loss.backward()
                    adam.step()
                    falling.step()
                torch.manual_seed(2000 + seed)
                x, label = moons_with_labels(TEST)
                end, _ = carried(net, gaussians(TEST), 1, True, label if kind == "label" else x[:, 0])
                found.append(squared(end, x))
            results[f"{kind}: {coupling}"] = found
            print(f"{kind:18} {coupling:42} squared W2 after one step {mean(found):.3f}", flush=True)
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="one pair, one seed, 500 steps")
    parser.add_argument("--conditional", action="store_true", help="the conditional problems instead")
    parser.add_argument("--only", default="", help="pairs with this in their name")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="training steps; 2500, or 10000 with --conditional")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = 1 if options.quick else options.seeds
    if options.conditional:
        results = conditional(seeds, options.steps or (1000 if options.quick else 10_000))
    else:
        pairs = list(PAIRS)[:1] if options.quick else [pair for pair in PAIRS if options.only in pair]
        results = table(pairs, seeds, options.steps or (500 if options.quick else 2500))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
