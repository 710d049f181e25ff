"""What a second process brings: samples a second of two processes over one, a thread each, on the digits U-Net.

By the clock, which needs two idle cores; and by the processor time of a process, which does not, and leaves out only
what the two wait for each other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

ROUNDS, STEPS, WARM = 5, 60, 10  # trainings of each kind, taken in turn; steps of one; those not counted


def worker(out: Path, batch: int) -> None:
    """Train a little, and write down what each step took."""
    import torch

    from obverse.recipes import Recipe, fit
    from obverse.train import Training
    from obverse.train.processes import part

    torch.set_num_threads(1)
    training = Training(steps=STEPS, batch=batch, save_every=0, sample_every=0, log_every=STEPS)
    fitting = fit(Recipe(data="digits", net="unet", training=training), out / "run")
    marks = [(time.perf_counter(), time.process_time()) for _ in fitting.steps]
    if fitting.main:
        (out / "marks.json").write_text(json.dumps(marks))
    part()


def seconds(processes: int, batch: int) -> tuple[float, float]:
    """Medians over the steps of a training: by the clock, and of the processor in the first process."""
    with tempfile.TemporaryDirectory() as place:
        code = f"from obverse.train.processes import launch; launch('two_processes', {['--worker', place]!r} + "
        code += f"['--batch', '{batch}'], {processes})"
        paths = [str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        marks = json.loads((Path(place) / "marks.json").read_text())[WARM:]
    steps = [[b - a for a, b in zip(before, now, strict=True)] for before, now in pairwise(marks)]
    clock, processor = (statistics.median(values) for values in zip(*steps, strict=True))
    return clock, processor


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        worker(options.worker, options.batch)
        return
    rounds = []
    for number in range(options.rounds):
        load = os.getloadavg()[0]  # of the last minute, ours included
        one, two = seconds(1, options.batch), seconds(2, options.batch)
        rounds.append({"clock": one[0] / two[0], "processor": one[1] / two[1], "one": one, "two": two, "load": load})
        by = f"{one[0] / two[0]:.2f} x by the clock, {one[1] / two[1]:.2f} x by processor time"
        print(f"round {number}: {1e3 * one[0]:.0f} -> {1e3 * two[0]:.0f} ms a step, {by} (load {load:.1f})", flush=True)
    clock, processor = (statistics.median(each[name] for each in rounds) for name in ("clock", "processor"))
    print(f"median: {clock:.2f} x by the clock, {processor:.2f} x by processor time")
    if options.json:
        found = {"batch": options.batch, "clock": clock, "processor": processor, "rounds": rounds}
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
