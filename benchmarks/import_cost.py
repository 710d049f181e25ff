"""What importing costs beyond torch, in CPU milliseconds, peers in the same run; and what --help costs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

PEERS = ("obverse", "zuko", "azula", "torchdiffeq", "flow_matching", "torchcfm", "diffusers")
EVERYTHING = (
    "import obverse as o; o.sample; o.Objective; o.Network; o.Guided; o.nets; o.schedules; o.solvers; o.oracles"
)
ROUNDS = 9


def milliseconds(statement: str) -> float | None:
    """Median CPU time of a statement after `import torch`, each in a fresh process; None if it fails."""
    code = f"import torch, time; a = time.process_time(); {statement}; print(1000 * (time.process_time() - a))"
    times = []
    for _ in range(ROUNDS):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        if done.returncode:
            return None
        times.append(float(done.stdout))
    return median(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = {name: milliseconds(f"import {name}") for name in PEERS}
    results["obverse, everything in use"] = milliseconds(EVERYTHING)
    helping = "import time; a = time.process_time(); from obverse.cli import main; main(['--help']); "
    code = helping + "import sys; print(1000 * (time.process_time() - a), 'torch' in sys.modules)"
    lines = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(ROUNDS)]
    results["obverse --help"] = median(float(line.split()[-2]) for line in lines)
    for name, value in results.items():
        print(f"{name:28}" + ("not installed" if value is None else f"{value:8.1f} ms"))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
