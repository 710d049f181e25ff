"""Two processes take the steps of one, and resume to the last bit."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from together import together
from torch import Tensor, nn

from obverse.data import batches, load
from obverse.ground.errors import InvalidArgument
from obverse.recipes import Recipe, build
from obverse.train import processes
from obverse.train.outcome import exchanged

SCRIPT = """
from pathlib import Path
from types import SimpleNamespace
import accelerate, safetensors.torch, torch, torch._dynamo
from obverse.data import Batch
from obverse.ground import noise
from obverse.train import Run, Training, train
from obverse.train.processes import here
import obverse.train.loop

torch.set_num_threads(1)

def work(folder, leave, dropout):
    group = here()
    rank, count = group.process_index, group.num_processes

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

    with group.main_process_first():
        run = Run.create(Path(folder), {}, resume=True)
    torch.manual_seed(rank)  # the processes need not agree; they begin with the weights of the first
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(dropout), torch.nn.Linear(8, 3))
    settings = Training(steps=12, batch=12, accumulate=2, log_every=5, save_every=4, lr=0.01)
    for progress in train(net, loss, batches, settings, run=run, start=run.newest()):
        assert progress.logsnr.sort().values.tolist() == list(range(12)), "every row once, from whichever process"
        if progress.step == leave:
            break
    group.wait_for_everyone()
"""
Training = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def training() -> Iterator[Training]:
    """Trains in a folder, in so many processes, up to a step; the hashes of what must not differ by a bit."""
    with together(SCRIPT) as work:

        def train(folder: Path, count: int, leave: int = 0, dropout: float = 0.0) -> dict[str, str]:
            work(count, {}, folder=str(folder), leave=leave, dropout=dropout)
            files = [folder / "metrics.jsonl", *(folder / "checkpoints").rglob("*.safetensors")]
            return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

        yield train


def weights(folder: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(folder / "checkpoints/step-00000012/net.safetensors")


def apart(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    return max(float((one[name] - two[name]).abs().max()) for name in one)


def test_two_processes_resume_to_the_last_bit(training: Training, tmp_path: Path) -> None:
    whole = training(tmp_path / "whole", 2, dropout=0.2)
    training(tmp_path / "left", 2, leave=7, dropout=0.2)
    assert training(tmp_path / "left", 2, dropout=0.2) == whole


def test_the_number_of_processes_changes_nothing_but_roundings_also_on_the_way(
    training: Training, tmp_path: Path
) -> None:
    for count in (1, 2):
        training(tmp_path / str(count), count)
        training(tmp_path / f"{count}-{3 - count}", count, leave=7)
        training(tmp_path / f"{count}-{3 - count}", 3 - count)
    one, two, there, back = (weights(tmp_path / name) for name in ("1", "2", "1-2", "2-1"))
    assert max(apart(one, other) for other in (two, there, back)) <= 1e-6
    assert apart(one, {name: torch.zeros_like(value) for name, value in one.items()}) > 0.1


def test_a_step_is_exchanged_where_the_processes_do_wherever_its_loss_is() -> None:
    """NCCL refuses tensors on the CPU; "meta" stands for its device, of which nothing can be read."""
    each = torch.arange(3.0)
    loss: Any = SimpleNamespace(mean=each.mean(), per_sample=each, logsnr=10 * each)

    def gather(sent: Tensor) -> Tensor:
        assert sent.device.type == "meta", "No backend type associated with device type cpu"
        return torch.tensor([1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0, 10.0, 2.0, 20.0]).repeat(2)

    group: Any = SimpleNamespace(num_processes=2, device=torch.device("meta"), gather=gather)
    step = exchanged(group, [loss], torch.tensor(2.0), 0.0, 0, None, shards=False)
    assert (step.loss, step.norm) == (1.0, 2.0)
    assert step.per_sample.tolist() == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]


class Witness(nn.Module):
    """Keeps what it is asked, and answers with what depends on all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Tensor, ...]] = []

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        assert cond is not None
        self.asked.append((x, t, cond))
        return x * t.reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("count", [2, 4])
def test_a_row_meets_the_same_sample_time_noise_and_hiding_in_whichever_process(count: int) -> None:
    recipe = Recipe(data="digits", drop=0.4)
    data, objective = load("digits"), build.objective(recipe)

    def asked(rank: int, count: int) -> tuple[Tensor, ...]:
        witness = Witness()
        stream = batches(data, 32, seed=5, start=9, rank=rank, processes=count)
        for step in (9, 10):
            batch = next(stream)
            model = build.model(recipe, witness)
            objective(model, batch.x, batch.label, seed=5, step=step, samples=batch.rows)
        return tuple(torch.stack(values) for values in zip(*witness.asked, strict=True))

    parts = [asked(rank, count) for rank in range(count)]
    hidden = 0
    for whole, *shared in zip(asked(0, 1), *parts, strict=True):
        together = torch.stack(shared, 2).reshape(whole.shape)  # row i is in process i mod count
        assert torch.equal(together, whole)
        hidden = len(whole.unique())
    assert hidden == 11  # ten classes and the hidden one


def test_a_count_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgument, match="processes is"):
        processes.launch("obverse", [], 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InvalidArgument, match=r"1 \.\.\. 1, a GPU each, got 2"):
        processes.launch("obverse", [], 2)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A module of these lines, importable by what is launched."""

    def made(lines: str) -> str:
        (tmp_path / "worker.py").write_text(f"import os, sys, time, signal\nrank = int(os.environ['RANK'])\n{lines}\n")
        return "worker"

    paths = [str(tmp_path), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return made


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("assert os.environ['WORLD_SIZE'] == '2'", 0),
        ("sys.exit(2 if rank == 1 else 0)", 2),
        (
            "import atexit; from obverse.train import processes; atexit.register(os.abort); processes.leave(0)",
            0,
        ),  # what else would end now has no say
        ("import atexit; from obverse.train import processes; atexit.register(os.abort); processes.leave(5)", 5),
        (
            "import atexit; from obverse.cli import main; atexit.register(os.abort)\n"
            "sys.exit(main(['train', 'two-moons', '--augment', 'flip']))",
            2,
        ),
        ("time.sleep(60) if rank == 0 else sys.exit(3)", 3),  # the first is ended because the second has
        ("os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else time.sleep(60)", 137),
        ("os.kill(os.getppid(), signal.SIGTERM) if rank == 1 else None\ntime.sleep(60)", 143),
        ("os.kill(os.getppid(), signal.SIGINT) if rank == 1 else None\ntime.sleep(60)", 130),
        ("os.kill(os.getppid(), signal.SIGHUP) if rank == 1 else None\ntime.sleep(60)", 129),
    ],
)
def test_the_exit_code_is_that_of_the_process_that_failed_or_of_the_signal(
    lines: str, code: int, module: Callable[[str], str]
) -> None:
    launch = f"import sys; from obverse.train.processes import launch; sys.exit(launch({module(lines)!r}, [], 2))"
    found = subprocess.run([sys.executable, "-c", launch], timeout=120, check=False, capture_output=True, text=True)
    assert found.returncode == code
    assert ("process 1 of 2 was ended by SIGKILL" in found.stderr) == (code == 137)
    assert "torch/distributed" not in found.stderr


@pytest.mark.parametrize("named", [True, False])
def test_processes_of_a_torch_for_gpus_share_a_cpu_where_there_is_none(
    named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch for CUDA names one all the same; torch 2.6 raises."""

    def current() -> torch.device:
        if named:
            return torch.device("cuda")
        raise RuntimeError("Cannot access accelerator device when none is available.")

    asked: list[bool] = []
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", current)
    monkeypatch.setattr("accelerate.PartialState", lambda *, cpu: asked.append(cpu))
    monkeypatch.setattr(processes, "launched", lambda: 2)
    processes.here()
    assert asked == [True]
