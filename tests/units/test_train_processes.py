"""Two processes take the steps of one, and resume to the last bit."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

SCRIPT = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
import torch
from accelerate import Accelerator
from obverse.data import Batch
from obverse.ground import noise
from obverse.train import Run, Training, train

torch.set_num_threads(1)
folder, leave = Path(sys.argv[1]), int(sys.argv[2])
accelerator = Accelerator(cpu=True)
rank, count = accelerator.process_index, accelerator.num_processes

def batches(step):
    while True:
        rows = torch.arange(12)[rank::count]
        x = noise.normal((len(rows), 3), seed=1, purpose="x", step=step, samples=rows)
        yield Batch(x, None, rows, step, rows)
        step += 1

def loss(net, batch, step):
    eps = noise.normal(batch.x.shape, seed=2, purpose="eps", step=step, samples=batch.rows)
    each = (net(batch.x + eps) - batch.x).square().mean(1)
    return SimpleNamespace(mean=each.mean(), per_sample=each, logsnr=batch.rows.float())

if rank == 0:
    Run.create(folder, {}, resume=True)
accelerator.wait_for_everyone()
run = Run.open(folder)
torch.manual_seed(rank)  # the processes need not agree; they begin with the weights of the first
net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(float(sys.argv[3])), torch.nn.Linear(8, 3))
settings = Training(steps=12, batch=12, accumulate=2, log_every=5, save_every=4, lr=0.01)
for progress in train(net, loss, batches, settings, run=run, start=run.newest(), accelerator=accelerator):
    assert progress.logsnr.sort().values.tolist() == list(range(12)), "every row once, from whichever process"
    if progress.step == leave:
        break
accelerator.wait_for_everyone()
accelerator.end_training()
"""


def run(folder: Path, processes: int, leave: int = 0, dropout: float = 0.0) -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    if processes > 1:
        common |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    command = [sys.executable, "-c", SCRIPT, str(folder), str(leave), str(dropout)]
    children = [
        subprocess.Popen(
            command, env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else common
        )
        for rank in range(processes)
    ]
    assert [child.wait(120) for child in children] == [0] * processes
    files = [folder / "metrics.jsonl", *(folder / "checkpoints").rglob("*.safetensors")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_two_processes_resume_to_the_last_bit(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 2, dropout=0.2)
    run(tmp_path / "left", 2, leave=7, dropout=0.2)
    assert run(tmp_path / "left", 2, dropout=0.2) == whole


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    for count in (1, 2):
        run(tmp_path / str(count), count)
    one, two = (
        safetensors.torch.load_file(tmp_path / name / "checkpoints/step-00000012/net.safetensors")
        for name in ("1", "2")
    )
    assert all(torch.allclose(one[name], two[name], rtol=1e-4, atol=1e-6) for name in one)
