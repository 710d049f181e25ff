"""Averages made afterwards, and the choice of weights out of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from obverse.data import Batch
from obverse.ground.errors import CheckpointError, InvalidArgument
from obverse.train import Run, Training, posthoc, train
from obverse.train.ema import PowerEMA
from obverse.train.snapshots import Profile, averages, combine, snapshot, weights

KEPT = (0.05, 0.1)


def walked(run: Run, path: Callable[[int], float], steps: int, every: int, kept: tuple[float, ...] = KEPT) -> nn.Module:
    """A run whose single weight took a known path."""
    net = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    named = averages(net, Training(ema_power=kept))
    for step in range(1, steps + 1):
        nn.init.constant_(net.weight, path(step))
        for average in named.values():
            average.update(net)
        if step % every == 0:
            snapshot(run, step, named)
    return net


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", {})


@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_the_average_of_a_monomial_is_its_integral(run: Run, power: int) -> None:
    steps = 1000
    walked(run, lambda k: ((k - 0.5) / steps) ** power, steps, every=100)
    for sigma_rel in (0.05, 0.075, 0.1, 0.15):
        # E of u^p under the density (gamma + 1) u^gamma on [0, 1], gamma such that its deviation is sigma_rel
        gamma = 10.0
        for _ in range(60):
            u = [(gamma + 1) / (gamma + 1 + p) for p in (1, 2)]
            gamma *= math.sqrt(u[1] - u[0] ** 2) / sigma_rel
        exact = (gamma + 1) / (gamma + 1 + power)
        assert posthoc(run, sigma_rel)["weight"].item() == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("at", [600, 1000])
def test_it_is_the_average_that_would_have_been_kept(run: Run, at: int) -> None:
    wanted = PowerEMA(nn.Linear(1, 1, bias=False, dtype=torch.float64), 0.08)

    def path(step: int) -> float:
        return math.sin(step / 40) + math.sin(step * 2.3)

    walked(run, path, 1000, every=50)
    other = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    for step in range(1, at + 1):
        nn.init.constant_(other.weight, path(step))
        wanted.update(other)
    made, nearest = posthoc(run, 0.08, at=at)["weight"], posthoc(run, 0.1, at=at)["weight"]
    off = abs(float(made - wanted.weights["weight"]))
    assert off < 0.01
    assert off < 0.1 * abs(float(nearest - wanted.weights["weight"]))


def test_the_missing_share_is_the_distance_of_the_profiles() -> None:
    have = [Profile(4.0, 50.0), Profile(12.0, 80.0), Profile(6.0, 100.0)]
    want = Profile(9.0, 100.0)
    shares, missed = combine(have, want)
    u = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 4000

    def drawn(profile: Profile) -> Tensor:
        inside = (u < profile.steps).double()
        return inside * (profile.gamma + 1) * (u / profile.steps) ** profile.gamma / profile.steps

    def apart(with_shares: list[float]) -> float:
        mixed = sum(share * drawn(profile) for share, profile in zip(with_shares, have, strict=True))
        return float(((mixed - drawn(want)) ** 2).sum() / (drawn(want) ** 2).sum()) ** 0.5

    assert apart(shares) == pytest.approx(missed, rel=1e-3)
    assert sum(shares) == pytest.approx(1, abs=1e-12)
    for i in range(3):  # and no other mixture is nearer
        for step in (-0.01, 0.01):
            other = [s + step * (j == i) - step * (j == (i + 1) % 3) for j, s in enumerate(shares)]
            assert apart(other) > missed


def test_more_snapshots_miss_less() -> None:
    want = Profile(9.0, 100.0)
    counts = [[100.0 * (k + 1) / n for k in range(n)] for n in (4, 16, 64)]
    missed = [combine([Profile(g, c) for c in some for g in (6.94, 16.97)], want)[1] for some in counts]
    assert all(few > 5 * many for few, many in pairwise(missed))


def test_too_few_snapshots_are_said_to_be_too_few(run: Run) -> None:
    walked(run, float, 100, every=100, kept=(0.05,))
    with pytest.warns(UserWarning, match="miss .*power-0_05"):
        posthoc(run, 0.2)


def test_what_cannot_be_made_is_refused(run: Run) -> None:
    with pytest.raises(CheckpointError, match="no snapshots"):
        posthoc(run, 0.1)
    walked(run, float, 100, every=20)
    with pytest.raises(InvalidArgument, match="got 95; the nearest is 100 of 5"):
        posthoc(run, 0.1, at=95)
    with pytest.raises(InvalidArgument, match="sigma_rel lies in"):
        posthoc(run, 0.5)


def test_a_damaged_snapshot_is_passed_over(run: Run) -> None:
    walked(run, float, 100, every=20)
    with open(run.folder / "snapshots/step-00000040/power-0_1.safetensors", "ab") as file:
        file.write(b"?")
    with pytest.warns(UserWarning, match="Passed over"):
        assert posthoc(run, 0.1)["weight"].isfinite()


ROWS = torch.arange(8)
SETTINGS = Training(
    steps=12, batch=8, lr=0.01, log_every=3, save_every=4, warmup=0, ema=(3.0, 0.5), ema_rampup=1.0,
    ema_power=KEPT, snapshot_every=3,
)  # fmt: skip


def batches(step: int) -> Iterator[Batch]:
    while True:
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        yield Batch(x, None, ROWS, step, ROWS)
        step += 1


def loss(net: nn.Module, batch: Batch, _step: int) -> SimpleNamespace:
    each = (net(batch.x) - batch.x).square().mean(1)
    return SimpleNamespace(mean=each.mean(), per_sample=each, logsnr=torch.zeros(8))


def toy() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 3))


def files(folder: Path) -> dict[str, bytes]:
    found = [p for p in folder.rglob("*") if p.is_file() and p.name not in ("timing.jsonl", "sessions.jsonl")]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


@pytest.mark.parametrize("stop", [2, 7, 11])
def test_all_averages_and_snapshots_survive_a_break(tmp_path: Path, stop: int) -> None:
    whole, left = Run.create(tmp_path / "whole", {}), Run.create(tmp_path / "left", {})
    for _ in train(toy(), loss, batches, SETTINGS, run=whole):
        pass
    for progress in train(toy(), loss, batches, SETTINGS, run=left):
        if progress.step == stop:
            break
    for _ in train(toy(), loss, batches, SETTINGS, run=left, start=left.newest()):
        pass
    assert files(left.folder) == files(whole.folder)
    assert len(list((whole.folder / "snapshots").iterdir())) == 4


def test_a_checkpoint_asked_for_has_the_snapshot_of_its_step(tmp_path: Path) -> None:
    whole, left = Run.create(tmp_path / "whole", {}), Run.create(tmp_path / "left", {})
    for run, stop in ((whole, 0), (left, 6), (left, 0)):
        for progress in train(toy(), loss, batches, SETTINGS, run=run, start=run.newest()):
            if progress.step == stop:
                progress.save()
                break
    assert files(left.folder) == files(whole.folder)


def test_complex_weights_are_mixed_as_real_ones_are(tmp_path: Path) -> None:
    run, net = Run.create(tmp_path, {}), nn.Module()
    net.both = nn.Parameter(torch.zeros(1, dtype=torch.complex64))
    net.real = nn.Parameter(torch.zeros(1))
    kept = averages(net, SETTINGS)
    for step in range(1, 65):
        with torch.no_grad():
            net.both += 1 + 2j
            net.real += 1
        for average in kept.values():
            average.update(net)
        if step % 8 == 0:
            snapshot(run, step, kept)
    mixed = posthoc(run, 0.08)
    assert torch.allclose(mixed["both"], mixed["real"] * (1 + 2j)) and float(mixed["real"]) < 64


def test_averages_never_leak_into_training() -> None:
    plain, watched = toy(), toy()
    for _ in train(plain, loss, batches, replace(SETTINGS, ema=0.0, ema_power=())):
        pass
    for progress in train(watched, loss, batches, SETTINGS):
        for average in progress.averages.values():
            with average.applied(watched):
                watched(torch.ones(1, 3))
            for value in average.weights.values():
                value.fill_(math.nan)
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), watched.parameters(), strict=True))


def test_the_weights_of_a_run_are_chosen_by_name(run: Run) -> None:
    net = toy()
    for progress in train(net, loss, batches, SETTINGS, run=run):
        last = {name: {k: v.clone() for k, v in a.weights.items()} for name, a in progress.averages.items()}
    start = run.newest()
    assert start is not None
    for which, truth in {
        None: last["ema"],
        "3": last["ema"],
        "0.5": last["ema-0_5"],
        "none": net.state_dict(),
        "power-0_1": last["power-0_1"],
    }.items():
        found = weights(run, start, which)
        assert all(torch.equal(found[name], truth[name]) for name in truth), which
    made = weights(run, start, "sigma=0.1")
    assert all(torch.allclose(made[name], last["power-0_1"][name], atol=1e-6) for name in made)
    with pytest.raises(InvalidArgument, match=r"one of none, 3, 0\.5, sigma=\.\.\. in this run, got '7'"):
        weights(run, start, "7")
    for group in ("optimizer", "objective", "counters", "noise"):  # what else a checkpoint may hold
        held = replace(start, tensors={**start.tensors, group: {"times": torch.zeros(2, 64)}})
        with pytest.raises(InvalidArgument, match=f"got '{group}'"):
            weights(run, held, group)
    with pytest.raises(InvalidArgument, match="sigma is a number"):
        weights(run, start, "sigma=long")
