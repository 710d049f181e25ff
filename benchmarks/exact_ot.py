"""Exact transport of a batch beside POT's `emd`: time of the assignment alone, and from samples to pairs.

The same float32 samples, one thread, CPU time, median of the ratios of paired runs; the optimum is checked each time.
"alone" starts from a matrix of costs (emd's float64, ours as it makes it); "whole" starts from x and eps, as torchcfm
does it: cdist squared, emd. Problems: a normal source to normal data, to eight Gaussians (d = 2), and to data of ten
dimensions in d (d > 2).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import ot
import torch
from torch import Tensor

from obverse import noise
from obverse.objective.couplings import Batch, ExactOT, Squared, assignment

SIZES, DIMENSIONS = (256, 512, 1024, 2048), (2, 784, 3072)


def problems(n: int, d: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Data and source of one size, by name."""
    draw = lambda what, *shape: noise.normal(shape, seed=n, purpose=what)  # noqa: E731
    eps = draw("eps", n, d)
    yield "normal", draw("x", n, d), eps
    if d == 2:
        turn = torch.arange(n) % 8 * (math.pi / 4)
        yield "8 gaussians", 5 * torch.stack([turn.cos(), turn.sin()], 1) + 0.56 * draw("x", n, 2), eps
    else:
        yield "10 of d", draw("low", n, 10) @ draw("axes", 10, d) / 3 + 0.1 * draw("x", n, d), eps


def seconds(call: Callable[[], Any]) -> float:
    """CPU time of a call."""
    begun = time.process_time()
    call()
    return time.process_time() - begun


def row(x: Tensor, eps: Tensor, rounds: int) -> dict[str, float]:
    """What one problem measures."""
    n, uniform = len(x), ot.unif(len(x))
    squares = lambda: (torch.cdist(x, eps) ** 2).double().numpy()  # noqa: E731
    emd = lambda cost: ot.emd(uniform, uniform, cost, numItermax=10**7)  # noqa: E731
    theirs, ours = squares(), Squared().between(Batch(x, eps))
    order, plan = assignment(ours), torch.from_numpy(emd(theirs))
    true = torch.cdist(x.double(), eps.double()).square()
    best, found = float((plan * n * true).sum()), float(true[torch.arange(n), order].sum())
    alone = [(seconds(lambda: emd(theirs)), seconds(lambda: assignment(ours))) for _ in range(rounds)]
    whole = [(seconds(lambda: emd(squares())), seconds(lambda: ExactOT().pair(x, eps))) for _ in range(rounds)]
    return {
        "emd_ms": 1e3 * median(a for a, _ in alone),
        "ours_ms": 1e3 * median(b for _, b in alone),
        "alone": median(b / a for a, b in alone),
        "whole": median(b / a for a, b in whole),
        "excess": found / best - 1,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="two sizes, two dimensions")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    print(f"{'d':>5} {'n':>5} {'problem':12} {'emd ms':>8} {'ours ms':>8} {'alone':>6} {'whole':>6} {'excess':>8}")
    for d in DIMENSIONS[: 2 if options.quick else None]:
        for n in SIZES[: 2 if options.quick else None]:
            for name, x, eps in problems(n, d):
                got = row(x, eps, rounds=15 if n <= 512 else 3)
                results[f"{d} {n} {name}"] = got
                times = f"{got['emd_ms']:8.1f} {got['ours_ms']:8.1f} {got['alone']:6.2f} {got['whole']:6.2f}"
                print(f"{d:5} {n:5} {name:12} {times} {got['excess']:8.0e}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
