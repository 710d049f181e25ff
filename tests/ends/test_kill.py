"""kill -9 at 20 moments of training, half of them in the middle of saving: nothing is lost, no bit differs."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from obverse.train import Run

KILLS = 20

# One process imports everything once; each line it reads is a folder, in which a child of it trains.
SCRIPT = """
import os, sys, time, traceback
from pathlib import Path
from types import SimpleNamespace
import accelerate, safetensors.torch, torch, torch._dynamo
from obverse.data import Batch
from obverse.ground import noise
from obverse.train import Run, Training, train
import obverse.train.loop

torch.set_num_threads(1)
fsync = os.fsync
os.fsync = lambda handle: (time.sleep(0.004), fsync(handle))[1]  # a slow disk: most kills meet a save

def batches(step):
    while True:
        rows = torch.arange(8)
        x = noise.normal((8, 3), seed=1, purpose="x", step=step, samples=rows)
        yield Batch(x, None, rows, step, rows)
        step += 1

def loss(net, batch, step):
    eps = noise.normal(batch.x.shape, seed=2, purpose="eps", step=step, samples=batch.rows)
    each = (net(batch.x + eps) - batch.x).square().mean(1)
    return SimpleNamespace(mean=each.mean(), per_sample=each, logsnr=batch.x[:, 0])

def work(folder):
    settings = Training(steps=60, batch=8, log_every=2, save_every=3, sample_every=4, keep=2)
    run = Run.create(Path(folder), {"net": "toy"}, resume=True)
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 3))
    for progress in train(net, loss, batches, settings, run=run, start=run.newest()):
        if progress.draws:
            with progress.ema.applied(net), torch.no_grad():
                samples = net.eval()(noise.normal((2, 3), seed=5, purpose="start"))
            net.train()
            run.put(f"samples/{progress.step}.bin", samples.numpy().tobytes())

for line in sys.stdin:
    torch.manual_seed(0)
    child = os.fork()
    if child == 0:
        try:
            work(line.strip())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nursery:
    """Starts trainings and tells how they ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin and process.stdout
        self.orders: IO[str] = process.stdin
        self.answers: IO[str] = process.stdout

    def start(self, folder: Path) -> int:
        self.orders.write(f"{folder}\n")
        self.orders.flush()
        return int(self.answers.readline())

    def end(self) -> int:
        return int(self.answers.readline())


@contextmanager
def nursery() -> Iterator[Nursery]:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Nursery(process)
        assert process.stdin
        process.stdin.close()


def saving(folder: Path) -> bool:
    return any((folder / "checkpoints").glob(".writing-*"))


def wait_for_a_save(folder: Path, pid: int) -> None:
    with suppress(ProcessLookupError):  # it has ended
        while not saving(folder):
            os.kill(pid, 0)
            time.sleep(0.001)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "timing.jsonl"
    }


def test_a_run_killed_at_20_moments_ends_in_the_same_bits(tmp_path: Path) -> None:
    moments = random.Random(0)
    killed = interrupted_saves = rounds = code = 0
    with nursery() as children:
        children.start(tmp_path / "whole")
        assert children.end() == 0
        whole = digests(tmp_path / "whole")
        assert {name.partition("/")[0] for name in whole} == {"config.json", "metrics.jsonl", "samples", "checkpoints"}
        while killed < KILLS or code != 0:
            folder = tmp_path / f"killed-{rounds}"
            pid = children.start(folder)
            if killed < KILLS:
                if killed % 2:
                    wait_for_a_save(folder, pid)
                time.sleep(moments.uniform(0.0, 0.02 if killed % 2 else 0.2))
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            code = children.end()
            assert code in (0, -signal.SIGKILL)
            if code:
                killed += 1
                interrupted_saves += saving(folder)
            else:
                assert digests(folder) == whole
                rounds += 1
    assert interrupted_saves >= KILLS // 4
    assert Run.open(tmp_path / "killed-0").metrics()[-1]["step"] == 60
