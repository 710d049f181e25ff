"""Whichever file call of a training fails, and however: nothing that was saved is lost, and the run goes on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from failing import CHANGES, Disk
from torch import Tensor, nn

from obverse.data import Batch
from obverse.ground import noise
from obverse.ground.errors import CheckpointError
from obverse.train import Run, Training, train

EVERY = 2  # steps between checkpoints
GROWS = ("open", "write", "fsync", "replace", "mkdir")  # what a full disk refuses; deleting goes on


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug here, so that nothing has to reach the platter."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def batches(step: int) -> Iterator[Batch]:
    while True:
        rows = torch.arange(4)
        x = noise.normal((4, 2), seed=1, purpose="x", step=step, samples=rows)
        yield Batch(x, None, rows, step, rows)
        step += 1


def loss(net: nn.Module, batch: Batch, step: int) -> Any:
    eps = noise.normal(batch.x.shape, seed=2, purpose="eps", step=step, samples=batch.rows)
    each = (net(batch.x + eps) - batch.x).square().mean(1)
    return SimpleNamespace(mean=each.mean(), per_sample=each, logsnr=batch.x[:, 0])


def work(folder: Path, steps: int, seen: Callable[[int], object] = lambda _: None) -> None:
    """Train as a verb does, from wherever the folder has got to: lines, pictures, checkpoints."""
    settings = Training(steps=steps, batch=4, log_every=1, save_every=EVERY, sample_every=3, keep=2, accumulate=2)
    run = Run.create(folder, {"net": "toy"}, resume=True)
    torch.manual_seed(0)
    net = nn.Linear(2, 2)
    for progress in train(net, loss, batches, settings, run=run, start=run.newest()):
        seen(progress.step)
        if progress.draws:
            with progress.ema.applied(net), torch.no_grad():
                run.put(f"samples/{progress.step}.png", net(torch.eye(2)).numpy().tobytes())


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "timing.jsonl"
    }


def whole(folder: Path, steps: int, among: tuple[str, ...] = CHANGES) -> tuple[dict[str, str], int]:
    """What an undisturbed run leaves, and how many calls it makes."""
    work(folder.with_name("warm"), 1)  # what is imported late, and makes calls of its own, now is
    with Disk(among=among).watched() as disk:
        work(folder, steps)
    return digests(folder), len(disk.calls)


def suffers(folder: Path, steps: int, disk: Disk, wanted: dict[str, str]) -> str:
    """Train on a disk that fails, look at what is left, go on without the fault; the refusal, "" for none."""
    reached, refusal = [0], ""
    with disk.watched():
        try:
            work(folder, steps, reached.append)
        except CheckpointError as error:
            refusal = str(error)
    assert disk.failed, "the fault was never met"
    if refusal:
        assert str(folder) in refusal
        assert "untouched" in refusal and "resume" in refusal
    newest = Run.open(folder).newest() if (folder / "config.json").exists() else None
    saved = (max(reached) - 1) // EVERY * EVERY if refusal else steps  # steps whose save had ended before the fault
    assert (newest.step if newest else 0) >= saved
    work(folder, steps)
    assert digests(folder) == wanted
    return refusal


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EINTR"])
def test_a_run_survives_a_failing_call(error: str, tmp_path: Path) -> None:
    wanted, count = whole(tmp_path / "whole", 6)
    refusals = [suffers(tmp_path / str(n), 6, Disk(n, error), wanted) for n in range(1, count + 1, 7)]
    stopped = sum(map(bool, refusals))
    assert stopped == 0 if error == "EINTR" else stopped >= 0.7 * len(refusals)  # what is left over may wait


def test_a_run_does_not_notice_short_writes(tmp_path: Path) -> None:
    wanted, count = whole(tmp_path / "whole", 6, ("write",))
    for n in range(1, count + 1, 5):
        assert suffers(tmp_path / str(n), 6, Disk(n, "short", ("write",)), wanted) == ""


def test_a_run_survives_a_disk_that_fills_up_and_stays_full(tmp_path: Path) -> None:
    wanted, count = whole(tmp_path / "whole", 6, GROWS)
    for n in range(1, count + 1, 7):
        assert "No space left" in suffers(tmp_path / str(n), 6, Disk(n, "ENOSPC", GROWS, persists=True), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EINTR", "short"])
def test_a_run_survives_each_of_two_hundred_failing_calls(error: str, tmp_path: Path) -> None:
    among, steps = (("write",), 44) if error == "short" else (CHANGES, 10)
    wanted, count = whole(tmp_path / "whole", steps, among)
    assert count >= 200
    for n in range(1, count + 1):
        refusal = suffers(tmp_path / str(n), steps, Disk(n, error, among), wanted)
        assert not (refusal and error in ("EINTR", "short"))


def test_what_breaks_off_between_two_parts_of_a_step_is_taken_again_whole(tmp_path: Path) -> None:
    wanted, _ = whole(tmp_path / "whole", 6)
    calls = [0]

    def breaking(net: nn.Module, batch: Batch, step: int) -> Any:
        calls[0] += 1
        if calls[0] == 10:  # the second part of the fifth step
            raise KeyboardInterrupt
        return real(net, batch, step)

    real = loss
    with pytest.MonkeyPatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setitem(globals(), "loss", breaking)
        work(tmp_path / "broken", 6)
    assert calls[0] == 10
    work(tmp_path / "broken", 6)
    assert digests(tmp_path / "broken") == wanted


@pytest.mark.skipif(os.name == "nt", reason="no limit on files here")
def test_a_file_that_the_system_itself_cuts_short_is_refused_by_name(tmp_path: Path) -> None:
    import resource

    run = Run.create(tmp_path / "run", {})
    tensors: dict[str, dict[str, Tensor]] = {"net": {"weight": torch.ones(50_000)}}
    run.save(1, tensors, {}, keep=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CheckpointError, match=r"net\.safetensors"):
            run.save(2, tensors, {}, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    found = run.newest()
    assert found is not None and found.step == 1
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000001"]
