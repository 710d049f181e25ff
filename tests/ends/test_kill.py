"""kill -9 at random moments of training, half of them in the middle of saving: nothing is lost, no bit differs."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

from obverse.train import Run

# One process imports everything once; each line it reads is a folder, in which a child of it trains, and which of the
# file calls of its saving it does not live to see; 0 for none.
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
calls = [0, 0]  # of this process so far; the last

def saving(call):
    def instead(*args, **kwargs):
        frame = sys._getframe()
        while frame is not None and frame.f_code is not Run.save.__code__:
            frame = frame.f_back
        if frame is not None:
            calls[0] += 1
            if calls[0] == calls[1]:
                os.kill(os.getpid(), 9)
        return call(*args, **kwargs)
    return instead

for name in ("open", "fsync", "replace", "mkdir", "unlink", "rmdir"):
    setattr(os, name, saving(getattr(os, name)))

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
        folder, last = line.split()
        calls[1] = int(last)
        try:
            work(folder)
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

    def start(self, folder: Path, last: int = 0) -> int:
        self.orders.write(f"{folder} {last}\n")
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


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "timing.jsonl"
    }


@pytest.mark.parametrize("kills", [20, pytest.param(60, marks=pytest.mark.slow)])
def test_every_run_that_is_killed_and_resumed_ends_in_the_same_bits(kills: int, tmp_path: Path) -> None:
    moments, left = random.Random(kills), {"saving": kills // 2, "anywhere": kills // 2}
    rounds = code = 0
    with nursery() as children:
        children.start(tmp_path / "whole")
        assert children.end() == 0
        whole = digests(tmp_path / "whole")
        assert {name.partition("/")[0] for name in whole} == {"config.json", "metrics.jsonl", "samples", "checkpoints"}
        while any(left.values()) or code != 0:
            folder = tmp_path / f"killed-{rounds}"
            where = moments.choice([place for place, more in left.items() if more] or ["nowhere"])
            pid = children.start(folder, moments.randint(1, 150) if where == "saving" else 0)  # a save is 30 calls
            if where == "anywhere":
                time.sleep(moments.uniform(0.0, 0.5))
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            code = children.end()
            assert code in (0, -signal.SIGKILL)
            if code:
                left[where] -= 1
                with warnings.catch_warnings():
                    warnings.simplefilter("error")  # a damaged checkpoint would be passed over with a warning
                    if (folder / "config.json").exists():
                        Run.open(folder).newest()
            else:
                assert digests(folder) == whole
                rounds += 1
    assert Run.open(tmp_path / "killed-0").metrics()[-1]["step"] == 60
