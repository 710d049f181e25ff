"""What a second process brings: samples a second of two processes over one, a thread each, on the digits U-Net.

By the clock, which needs two idle cores; and by the processor time of a process, which does not, and leaves out only
what the two wait for each other. Beside them the most that the machine gives: two trainings of half the batch each, at
once, which know nothing of each other.
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
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

ROUNDS, STEPS, WARM = 5, 60, 10  # trainings of each kind, taken in turn; steps of one; those not counted


def worker(out: Path, batch: int) -> None:
    """Train a little, and leave the other process once the net is gone: one in use may hold up its connections."""
    from obverse.train.processes import part

    trained(out, batch)
    part()


def trained(out: Path, batch: int) -> None:
    """Train a little, and write down what each step took."""
    import torch

    from obverse.recipes import Recipe, fit
    from obverse.train import Training

    torch.set_num_threads(1)
    training = Training(steps=STEPS, batch=batch, save_every=0, sample_every=0, log_every=STEPS)
    fitting = fit(Recipe(data="digits", net="unet", training=training), out / "run")
    marks = [(time.perf_counter(), time.process_time()) for _ in fitting.steps]
    if fitting.main:
        (out / "marks.json").write_text(json.dumps(marks))


def apart(batch: int) -> tuple[float, float]:
    """The same of two trainings that run at once, each by itself: the slower one's."""
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: seconds(1, batch), range(2)))
    return max(both)


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
    rounds: list[dict[str, tuple[float, float]]] = []
    loads = []
    for number in range(options.rounds):
        loads.append(os.getloadavg()[0])  # of the last minute, ours included
        one, two, alone = seconds(1, options.batch), seconds(2, options.batch), apart(options.batch // 2)
        rounds.append({"one": one, "two": two, "apart": alone})
        times = " -> ".join(f"{1e3 * clock:.0f}" for clock, _ in (one, two))
        print(f"round {number}: {times} ms a step, {1e3 * alone[0]:.0f} apart (load {loads[-1]:.1f})", flush=True)
    gains = {
        f"{kind}, {how}": statistics.median(each["one"][i] / each[kind][i] for each in rounds)
        for kind in ("two", "apart")
        for i, how in enumerate(("clock", "processor"))
    }
    for name, gain in gains.items():
        print(f"{name:18} {gain:.2f} x one process")
    if options.json:
        found = {"batch": options.batch, "gains": gains, "rounds": rounds, "loads": loads}
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
