"""What each metric costs at 10,000 rows a side: seconds for one number, for it with interval and floor, and memory.

Features of 128 numbers, as the shipped network makes them. Memory is the most that tensors made inside hold at once,
in MB (10^6 bytes); the metrics bound it by blocks of 2^24 distances (128 MiB).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from obverse.ground.noise import normal
from obverse.metrics import Features, Metric, against
from sampler_memory import Alive

FEATURES = 128
BOOTSTRAP = 50  # as `obverse evaluate`


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--metrics", nargs="*", default=list(Metric.members))
    parser.add_argument("--whole", action="store_true", help="time interval and floor too (minutes)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    n = options.rows
    x, y, real = (normal((n, FEATURES), seed=0, purpose=purpose).relu() for purpose in ("x", "y", "real"))
    found = {}
    print(f"{n:,} rows of {FEATURES}, {torch.get_num_threads()} threads")
    print(f"{'metric':<12}{'seconds':>9}{'MB':>8}{'whole':>9}")
    for metric in map(Metric.of, options.metrics):
        rows = min(n, metric.most or n)
        with Alive() as alive:
            metric(x[:200], y[:200])
            alive.peak = 0
            begun = time.perf_counter()
            metric(x[:rows], y[:rows])
            seconds = time.perf_counter() - begun
        whole = None
        if options.whole:
            begun = time.perf_counter()
            against(x, y, real, metrics=[metric], bootstrap=BOOTSTRAP)
            whole = time.perf_counter() - begun
        found[metric.spec] = {"rows": rows, "seconds": seconds, "megabytes": alive.peak / 1e6, "whole": whole}
        note = f"  ({rows:,} rows)" if rows < n else ""
        print(
            f"{metric.spec:<12}{seconds:>9.2f}{alive.peak / 1e6:>8.0f}{whole or float('nan'):>9.1f}{note}", flush=True
        )
    images = normal((n, 1, 28, 28), seed=0, purpose="images").tanh()
    begun = time.perf_counter()
    Features.of("fashion")(images)
    found["features"] = {"rows": n, "seconds": time.perf_counter() - begun}
    print(f"features of {n:,} images: {found['features']['seconds']:.1f} s")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
