"""The loop: it learns as a plain one does, and resumes, stops and refuses without losing a bit."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from obverse.data import Batch
from obverse.ground import noise
from obverse.ground.errors import CheckpointError, DataError, InvalidArgument, NonFinite
from obverse.train import Run, Stopped, Training, train

ROWS = torch.arange(12)
QUICK = Training(steps=12, batch=12, lr=0.01, log_every=3, save_every=4, warmup=0)


@dataclass
class Loss:
    mean: Tensor
    per_sample: Tensor
    logsnr: Tensor


def batches(step: int) -> Iterator[Batch]:
    while True:
        yield Batch(noise.normal((12, 3), seed=1, purpose="x", step=step), None, ROWS + 100, step, ROWS)
        step += 1


def denoise(net: nn.Module, batch: Batch, step: int) -> Loss:
    eps = noise.normal(batch.x.shape, seed=2, purpose="eps", step=step, samples=batch.rows)
    each = (net(batch.x + eps) - batch.x).square().mean(1)
    return Loss(each.mean(), each, 10 * batch.x[:, 0])


def toy(dropout: float = 0.0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Dropout(dropout), nn.Linear(16, 3))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def contents(run: Run) -> dict[str, bytes]:
    last = run.newest()
    assert last is not None
    files = [run.folder / "metrics.jsonl", *sorted(last.path.iterdir())]
    return {path.name: path.read_bytes() for path in files}


def finish(run: Run, settings: Training, net: nn.Module) -> dict[str, bytes]:
    for _ in train(net, denoise, batches, settings, run=run, start=run.newest()):
        pass
    return contents(run)


@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_it_takes_the_steps_of_a_plain_loop(clip: float) -> None:
    settings = replace(QUICK, steps=100, clip=clip, weight_decay=0.1, betas=(0.8, 0.9), decay="constant")
    ours, plain = toy(), toy()
    losses = [progress.loss for progress in train(ours, denoise, batches, settings)]
    groups = [
        {"params": [p for p in plain.parameters() if p.ndim == 2], "weight_decay": 0.1},
        {"params": [p for p in plain.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.9), foreach=False)
    for step, batch in zip(range(100), batches(0), strict=False):
        optimizer.zero_grad()
        loss = denoise(plain, batch, step).mean
        torch.autograd.backward(loss)
        if clip:
            nn.utils.clip_grad_norm_(plain.parameters(), clip)
        optimizer.step()
        assert losses[step] == pytest.approx(loss.item(), rel=1e-4)
    assert all(torch.allclose(p, q, atol=1e-4) for p, q in zip(ours.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("accumulate", [2, 12])
def test_accumulation_changes_memory_and_nothing_else(accumulate: int) -> None:
    whole, parts = toy(), toy()
    settings = replace(QUICK, steps=1, lr=1e-6)
    one, many = (
        next(iter(train(net, denoise, batches, s)))
        for net, s in ((whole, settings), (parts, replace(settings, accumulate=accumulate)))
    )
    assert many.loss == pytest.approx(one.loss, rel=1e-6)
    assert many.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-5)
    assert torch.allclose(many.per_sample, one.per_sample, rtol=1e-5)


def test_conditions_by_name_are_worked_through_with_their_rows() -> None:
    @dataclass(frozen=True)
    class Named(Batch):
        cond: dict[str, Tensor | tuple[Tensor, str]]

    def named(step: int) -> Iterator[Named]:
        for batch in batches(step):
            yield Named(batch.x, None, batch.index, batch.step, batch.rows, {"mean": (batch.x.mean(1), "of x")})

    def loss(net: nn.Module, batch: Named, step: int) -> Loss:
        assert torch.equal(batch.cond["mean"][0], batch.x.mean(1))
        return denoise(net, batch, step)

    assert len(list(train(toy(), loss, named, replace(QUICK, steps=2, accumulate=3)))) == 2


@pytest.mark.parametrize("stop", [1, 4, 5, 11])
@pytest.mark.parametrize(
    "settings",
    [QUICK, replace(QUICK, precision="bf16", accumulate=3), replace(QUICK, precision="fp16", ema=3.0, ema_rampup=1.0)],
    ids=["fp32", "bf16 in parts", "fp16"],
)
def test_a_run_left_and_resumed_ends_in_the_same_bits(tmp_path: Path, settings: Training, stop: int) -> None:
    whole = finish(Run.create(tmp_path / "whole", {}), settings, toy(dropout=0.2))
    left = Run.create(tmp_path / "left", {})
    for progress in train(toy(dropout=0.2), denoise, batches, settings, run=left):
        if progress.step == stop:
            break
    torch.manual_seed(stop)  # what happens elsewhere in the meantime is of no account
    assert finish(left, settings, toy(dropout=0.2)) == whole


def test_a_checkpoint_asked_for_is_where_the_run_goes_on(tmp_path: Path) -> None:
    whole = finish(Run.create(tmp_path / "whole", {}), QUICK, toy())
    left = Run.create(tmp_path / "left", {})
    for progress in train(toy(), denoise, batches, QUICK, run=left):
        if progress.step == 7:
            progress.save()
            break
    found = left.newest()
    assert found is not None
    assert found.step == 7
    assert finish(left, QUICK, toy()) == whole


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    before = finish(run, QUICK, toy())
    assert list(train(toy(), denoise, batches, QUICK, run=run, start=run.newest())) == []
    assert contents(run) == before


def test_only_the_asked_number_of_checkpoints_stays(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    finish(run, replace(QUICK, save_every=1, keep=3), toy())
    assert sorted(path.name[-2:] for path in run.checkpoints.iterdir()) == ["10", "11", "12"]


def test_a_run_is_not_begun_over_another(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    finish(run, QUICK, toy())
    with pytest.raises(InvalidArgument, match="has got to step-00000012"):
        train(toy(), denoise, batches, QUICK, run=run)


def test_the_checkpoint_of_another_net_is_refused(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    finish(run, QUICK, toy())
    with pytest.raises(CheckpointError, match=r"another net: '0\.weight'"):
        train(nn.Sequential(nn.Linear(3, 4)), denoise, batches, QUICK, start=run.newest())


def test_a_run_goes_on_in_fp16(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    finish(run, replace(QUICK, steps=2), toy())
    steps = list(train(toy(), denoise, batches, replace(QUICK, precision="fp16"), run=run, start=run.newest()))
    assert [step.step for step in steps] == list(range(3, QUICK.steps + 1))


def test_an_average_that_a_run_has_not_kept_is_named(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    finish(run, replace(QUICK, steps=2), toy())
    with pytest.raises(CheckpointError, match="does not hold the average 'power-0_1'"):
        train(toy(), denoise, batches, replace(QUICK, ema_power=(0.1,)), run=run, start=run.newest())


def test_a_net_with_nothing_to_train_is_refused() -> None:
    for net in (nn.Identity(), nn.Linear(3, 3).requires_grad_(False)):
        with pytest.raises(InvalidArgument, match="has no parameter to train"):
            train(net, denoise, batches, QUICK)


def test_a_loss_that_teaches_nothing_is_refused() -> None:
    def tensor(net: nn.Module, batch: Batch, step: int) -> Any:
        return denoise(net, batch, step).mean

    detached = torch.no_grad()(denoise)
    for loss, words in ((tensor, r"mean \(\), per_sample and logsnr .*, got a Tensor"), (detached, "has no gradient")):
        with pytest.raises(InvalidArgument, match=words):
            next(train(toy(), loss, batches, QUICK))


class Noting(nn.Linear):
    """Keeps what is no tensor."""

    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}


def test_a_net_whose_state_is_no_tensor_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"'0\._extra_state' of this net is of type dict"):
        train(nn.Sequential(Noting(3, 3)), denoise, batches, QUICK)


def test_saved_weights_load_into_a_plain_net(tmp_path: Path) -> None:
    run, net = Run.create(tmp_path, {}), toy()
    finish(run, QUICK, net)
    found, other = run.newest(), toy()
    assert found is not None
    other.load_state_dict(found.tensors["net"])
    assert same(net, other)
    other.load_state_dict(found.tensors["ema"])
    assert not same(net, other)


def test_a_compiled_net_is_saved_under_its_own_names(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    net = toy()
    finish(run, replace(QUICK, steps=2), cast(nn.Module, torch.compile(net, backend="eager")))
    found = run.newest()
    assert found is not None
    assert found.tensors["ema"].keys() == toy().state_dict().keys()


def test_metrics_sum_up_all_steps_since_the_last_line(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    steps = list(train(toy(), denoise, batches, QUICK, run=run))
    lines = run.metrics()
    assert [line["step"] for line in lines] == [3, 6, 9, 12]
    for i, line in enumerate(lines):
        part = steps[3 * i : 3 * i + 3]
        assert line["loss"] == pytest.approx(np.mean([step.loss for step in part]))
        assert line["gradient_norm"] == pytest.approx(np.mean([step.gradient_norm for step in part]))
        assert line["lr"] == part[-1].lr
        logsnr = torch.cat([step.logsnr for step in part]).double().numpy()
        losses = torch.cat([step.per_sample for step in part]).double().numpy()
        edges = np.linspace(-20, 20, 21)
        counts, sums = (np.histogram(logsnr.clip(-19.9, 19.9), edges, weights=w)[0] for w in (None, losses))
        for centre, mean, count in line["loss_by_logsnr"]:
            place = int(np.searchsorted(edges, centre)) - 1
            assert (mean, count) == (pytest.approx(sums[place] / counts[place]), counts[place])
        assert sum(count for _, _, count in line["loss_by_logsnr"]) == 36


def test_samples_are_due_when_asked_and_at_the_end() -> None:
    due = [p.step for p in train(toy(), denoise, batches, replace(QUICK, sample_every=5)) if p.draws]
    assert due == [5, 10, 12]
    early = replace(QUICK, sample_every=9, sample_early=9)
    assert [p.step for p in train(toy(), denoise, batches, early) if p.draws] == [1, 2, 4, 9, 12]
    assert not any(p.draws for p in train(toy(), denoise, batches, replace(QUICK, sample_every=0)))


def spoil(step: int, how: Callable[[Tensor, nn.Module], Tensor]) -> Callable[[nn.Module, Batch, int], Loss]:
    def loss(net: nn.Module, batch: Batch, now: int) -> Loss:
        found = denoise(net, batch, now)
        if now != step:
            return found
        each = how(found.per_sample, net)
        return Loss(each.mean(), each, found.logsnr)

    return loss


def nan_in_row_7(each: Tensor, _: nn.Module) -> Tensor:
    return torch.where(ROWS == 7, each + math.nan, each)


def infinite_slope(each: Tensor, net: nn.Module) -> Tensor:
    return each + (net.get_parameter("3.bias").sum() * 0).sqrt()  # 0, but its derivative is not


@pytest.mark.parametrize(
    ("how", "culprit"), [(nan_in_row_7, "row 7 of its batch, sample 107"), (infinite_slope, r"gradient of '3\.bias'")]
)
def test_a_step_that_is_not_finite_is_not_taken(
    tmp_path: Path, how: Callable[[Tensor, nn.Module], Tensor], culprit: str
) -> None:
    net, run, kept, emas = toy(), Run.create(tmp_path, {}), toy(), []
    with pytest.raises(NonFinite, match=f"Step 9.*{culprit}"):  # noqa: PT012
        for progress in train(net, spoil(9, how), batches, QUICK, run=run):
            kept.load_state_dict(net.state_dict())
            emas.append((progress.ema, progress.ema.count))
    assert same(net, kept)
    assert emas[-1][0].count == emas[-1][1] == 9
    found = run.newest()
    assert found is not None
    assert found.step == 8


def test_fp16_overflow_skips_steps_counts_them_and_recovers() -> None:
    def steep(net: nn.Module, batch: Batch, step: int) -> Loss:
        found = denoise(net, batch, step)
        return Loss(found.mean * 1e4, found.per_sample * 1e4, found.logsnr)

    net, before = toy(), toy()
    skipped = []
    for progress in train(net, steep, batches, replace(QUICK, steps=40, precision="fp16")):
        skipped.append(progress.skipped)
        assert same(net, before) == (progress.skipped == progress.step)
    assert 0 < skipped[-1] < 40
    assert progress.ema.count == 40 - skipped[-1]


def test_fp16_does_not_hide_a_loss_that_is_never_finite() -> None:
    def broken(net: nn.Module, batch: Batch, step: int) -> Loss:
        found = denoise(net, batch, step)
        return Loss(found.mean * math.nan, found.per_sample, found.logsnr)

    with pytest.raises(NonFinite):
        list(train(toy(), broken, batches, replace(QUICK, steps=1000, precision="fp16")))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops_and_the_run_goes_on_in_the_same_bits(tmp_path: Path, signum: signal.Signals) -> None:
    whole = finish(Run.create(tmp_path / "whole", {}), QUICK, toy())
    handler = signal.getsignal(signum)
    left = Run.create(tmp_path / "left", {})
    with pytest.raises(Stopped, match="after step 7") as stopped:  # noqa: PT012
        for progress in train(toy(), denoise, batches, QUICK, run=left):
            if progress.step == 7:
                os.kill(os.getpid(), signum)
    found = left.newest()
    assert found is not None
    assert (stopped.value.signum, found.step) == (signum, 7)
    assert signal.getsignal(signum) is handler
    assert finish(left, QUICK, toy()) == whole


def test_a_second_ctrl_c_does_not_wait() -> None:
    def twice() -> None:
        for _ in train(toy(), denoise, batches, QUICK):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        twice()


def test_dropout_draws_anew_at_every_step() -> None:
    def masks(net: nn.Module, batch: Batch, step: int) -> Loss:
        found = denoise(net, batch, step)
        each = nn.functional.dropout(torch.ones(12), 0.5)
        return Loss(found.mean, each, found.logsnr)

    drawn = {tuple(progress.per_sample.tolist()) for progress in train(toy(), masks, batches, QUICK)}
    assert len(drawn) == QUICK.steps


def test_mixed_precision_ends_where_the_network_does() -> None:
    def dtypes(net: nn.Module, batch: Batch, step: int) -> Loss:
        found = denoise(net, batch, step)
        seen.append((net(batch.x) @ batch.x.T).dtype)
        return found

    seen: list[torch.dtype] = []
    net = toy()
    net[0].register_forward_hook(lambda _module, _args, answer: seen.append(answer.dtype))
    list(train(net, dtypes, batches, replace(QUICK, steps=1, precision="bf16")))
    assert seen == [torch.bfloat16, torch.bfloat16, torch.float32]  # two calls within, one product around
    assert all(parameter.dtype == torch.float32 for parameter in net.parameters())


def test_mixed_precision_ends_even_when_the_network_fails() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        list(train(nn.Linear(5, 5), denoise, batches, replace(QUICK, precision="bf16")))
    assert not torch.is_autocast_enabled("cpu")


def test_the_callers_generator_is_left_alone() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    for _ in train(toy(dropout=0.5), denoise, batches, QUICK):
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_that_end_are_refused() -> None:
    def three(step: int) -> Iterator[Batch]:
        return (batch for batch, _ in zip(batches(step), range(3), strict=False))

    with pytest.raises(DataError, match="ended before step 3 of 12"):
        list(train(toy(), denoise, three, QUICK))


def test_a_batch_that_is_no_dataclass_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="dataclass"):
        next(train(toy(), denoise, lambda _: iter([(ROWS, ROWS)]), QUICK))
