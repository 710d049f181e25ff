"""Optimisers, saved and restored; memory for time; compiled nets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from obverse.data import Batch
from obverse.ground import noise
from obverse.ground.errors import CheckpointError, InvalidArgument
from obverse.nets import Architecture
from obverse.train import Run, Training, train
from obverse.train.memory import blocks, frugal, recomputing
from obverse.train.optimizer import clip, gradient_norm, muon, optimizers, state

ROWS = torch.arange(8)
SETTINGS = Training(steps=9, batch=8, lr=0.01, log_every=3, save_every=2, warmup=0, clip=0.0, decay="constant")

MUON = pytest.mark.needs("torch.optim:Muon")


def batches(step: int) -> Iterator[Batch]:
    while True:
        yield Batch(noise.normal((8, 3), seed=1, purpose="x", step=step), None, ROWS, step, ROWS)
        step += 1


def loss(net: nn.Module, batch: Batch, _step: int) -> SimpleNamespace:
    each = (net(batch.x) - batch.x.roll(1, 1)).square().mean(1)
    return SimpleNamespace(mean=each.mean(), per_sample=each, logsnr=torch.zeros(8))


def toy(dropout: float = 0.0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 6), nn.SiLU(), nn.Dropout(dropout), nn.Linear(6, 3))


def end(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "checkpoints/step-00000009").iterdir()}


def one(make: Callable[..., torch.optim.Optimizer], **options: Any) -> Any:
    def chosen(net: nn.Module, settings: Training) -> Sequence[torch.optim.Optimizer]:
        return [make(net.parameters(), lr=settings.lr, **options)]

    return chosen


class Shampoo(torch.optim.Optimizer):
    """Gupta et al. (2018), algorithm 1 and section 4: a square matrix for each dimension."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                turned, state = p.grad, self.state[p]
                for i, n in enumerate(p.shape):
                    flat = p.grad.movedim(i, 0).reshape(n, -1)
                    found = state.setdefault(f"statistics-{i}", 1e-4 * torch.eye(n))
                    found += flat @ flat.T
                    values, vectors = torch.linalg.eigh(found)
                    root = vectors * values.pow(-1 / (2 * p.ndim)) @ vectors.T
                    turned = torch.tensordot(root, turned, ([1], [i])).movedim(0, i)
                p -= group["lr"] * turned


class Wide(torch.optim.Optimizer):
    """Momentum that is kept in float64, and shrinks by a number and a count."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["sum"] = state.get("sum", torch.zeros_like(p, dtype=torch.float64)) * 0.9 + p.grad.double()
                state["share"], state["count"] = state.get("share", 1 / 3) * 0.99, state.get("count", 0) + 1
                p -= group["lr"] * float(state["share"]) / int(state["count"]) * state["sum"]


class Counting(torch.optim.SGD):
    """Steps that shrink by numbers in its groups, as schedule-free and Prodigy keep them."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__([{"params": [p]} for p in parameters], lr)
        self.param_groups[0]["k"] = 0

    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["k"], group["share"] = group.get("k", 0) + 1, group.get("share", 1.0) / 1.1
            group["lr"] *= group["share"] / group["k"]
        super().step()


CHOICES = {
    "muon": muon,
    "sgd": one(torch.optim.SGD, momentum=0.9),
    "plain sgd": one(torch.optim.SGD),
    "rmsprop": one(torch.optim.RMSprop, momentum=0.5, centered=True),
    "amsgrad": one(torch.optim.Adam, amsgrad=True),
    **{n: one(getattr(torch.optim, n)) for n in ("Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD", "Rprop")},
    "Adafactor": one(torch.optim.Adafactor),
    "Shampoo": one(Shampoo),
    "Wide": one(Wide),
    "Counting": one(Counting),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MUON if name == "muon" else ()) for name in CHOICES])
def test_a_run_resumes_to_the_last_bit_with_any_optimiser(tmp_path: Path, name: str) -> None:
    for folder, stop in (("whole", 0), ("left", 5)):
        run = Run.create(tmp_path / folder, {})
        for _ in range(2):
            net = toy()
            for progress in train(net, loss, batches, SETTINGS, run=run, start=run.newest(), optimizers=CHOICES[name]):
                if progress.step == stop:
                    stop = 0
                    break
    assert end(tmp_path / "whole") == end(tmp_path / "left")
    assert not all(torch.equal(p, q) for p, q in zip(net.parameters(), toy().parameters(), strict=True))


def test_an_optimiser_alone_need_not_be_in_a_list() -> None:
    def sgd(net: nn.Module, settings: Training) -> torch.optim.Optimizer:
        return torch.optim.SGD(net.parameters(), settings.lr)

    alone, listed = toy(), toy()
    for net, made in ((alone, sgd), (listed, one(torch.optim.SGD))):
        next(train(net, loss, batches, SETTINGS, optimizers=made))
    assert all(torch.equal(p, q) for p, q in zip(alone.parameters(), listed.parameters(), strict=True))


def test_an_optimiser_whose_state_is_no_tensor_is_refused() -> None:
    net = toy()
    lbfgs = torch.optim.LBFGS(net.parameters())

    def closure() -> float:
        value = loss(net, next(batches(0)), 0).mean
        torch.autograd.backward(value)
        return float(value.detach())

    lbfgs.step(closure)
    with pytest.raises(CheckpointError, match="LBFGS keeps a list"):
        state([lbfgs], net)


class Recalling(torch.optim.SGD):
    """Remembers its gradients in a list."""

    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p].setdefault("recent", []).append(p.grad.clone())
        super().step()


class Sharing(torch.optim.SGD):
    """Counts its steps beside its parameters."""

    def step(self) -> None:  # type: ignore[override]
        count = self.state.setdefault("shared", {"count": 0})  # type: ignore[call-overload]
        count["count"] += 1
        super().step()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Recalling, r"Recalling keeps a list \('recent' of '0\.weight'\).*'recent-0'"),
        (Sharing, r"Sharing keeps a state for 'shared', which is no parameter"),
    ],
)
def test_an_optimiser_that_cannot_be_saved_is_refused_after_its_first_step_and_not_when_it_is_saved(
    tmp_path: Path, kind: Any, words: str
) -> None:
    def steps(run: Run | None) -> Iterator[Any]:
        return train(toy(), loss, batches, replace(SETTINGS, save_every=0), run=run, optimizers=one(kind))

    with pytest.raises(CheckpointError, match=words):
        next(steps(Run.create(tmp_path, {})))
    assert not (tmp_path / "checkpoints").exists()
    assert len(list(steps(None))) == SETTINGS.steps  # where nothing is kept it may keep what it likes


def test_the_state_of_another_optimiser_is_refused(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    for _ in train(toy(), loss, batches, replace(SETTINGS, steps=1), run=run):
        pass
    found = run.newest()
    assert found is not None
    for sizes in (5, 5), (3, 6):  # the weight is (6, 3)
        found.tensors["optimizer"]["exp_avg.0.weight"] = torch.zeros(sizes)
        with pytest.raises(CheckpointError, match=rf"exp_avg\.0\.weight' of shape {re.escape(str(sizes))} fits no"):
            next(train(toy(), loss, batches, SETTINGS, start=found))


@MUON
@pytest.mark.parametrize("names", [("adamw", "muon"), ("muon", "adamw")])
def test_a_run_does_not_go_on_with_another_optimiser(tmp_path: Path, names: tuple[Any, Any]) -> None:
    run, (was, now) = Run.create(tmp_path, {}), names
    for _ in train(toy(), loss, batches, replace(SETTINGS, steps=1, optimizer=was), run=run):
        pass
    with pytest.raises(CheckpointError, match=f"optimizer '{was}' .*, got '{now}'"):
        train(toy(), loss, batches, replace(SETTINGS, optimizer=now), run=run, start=run.newest())


@MUON
def test_muon_turns_matrices_at_the_pace_of_adamw() -> None:
    net, before = toy(), toy()
    next(train(net, loss, batches, replace(SETTINGS, optimizer="muon")))
    for layer in (0, 3):
        turned = (net[layer].weight - before[layer].weight).detach()
        sizes = torch.linalg.svdvals(turned) / (0.01 * 0.2 * 6**0.5)  # Liu et al. (2025): rms 0.2, as AdamW's
        assert float(sizes.min()) > 0.6 and float(sizes.max()) < 1.3  # Newton-Schulz leaves them near 1
        step = (net[layer].bias - before[layer].bias).detach().abs()
        assert torch.allclose(step, torch.full_like(step, 0.01), rtol=1e-3)  # Adam's first step has size lr


@MUON
def test_every_parameter_is_trained_once_and_tables_are_not_turned() -> None:
    net = nn.ModuleList([nn.Embedding(4, 3), nn.Linear(3, 3), nn.Conv1d(3, 3, 3), nn.LayerNorm(3)])
    turned, rest = optimizers(net, Training(optimizer="muon"))
    named = {parameter: name for name, parameter in net.named_parameters()}
    of = [[named[p] for g in o.param_groups for p in g["params"]] for o in (turned, rest)]
    assert of[0] == ["1.weight"]
    assert sorted(of[0] + of[1]) == sorted(named.values())


@MUON
def test_muon_is_refused_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgument, match="turns matrices, and this net has none"):
        muon(nn.Conv1d(2, 2, 3), SETTINGS)
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(InvalidArgument, match=r"needs torch >= 2\.9"):
        next(train(toy(), loss, batches, replace(SETTINGS, optimizer="muon")))


def kept(net: nn.Module, *args: Tensor, recompute: bool) -> tuple[int, list[Tensor], Tensor]:
    """Bytes that a forward pass keeps for the backward one; the gradients; the answer."""
    held: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        held[value.data_ptr()] = value.untyped_storage().nbytes()
        return value

    net.zero_grad()
    with torch.random.fork_rng(devices=[]), recomputing(frugal(blocks(net)) if recompute else []):
        torch.manual_seed(5)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            out = net(*args)
        torch.autograd.backward(out.square().sum())
    return sum(held.values()), [p.grad.clone() for p in net.parameters() if p.grad is not None], out.detach()


@pytest.mark.parametrize(
    ("spec", "shape"), [("mlp:depth=8", (6,)), ("unet:width=8", (1, 16, 16)), ("dit:width=32", (1, 8, 8))]
)
def test_recomputing_keeps_less_and_changes_no_bit(spec: str, shape: tuple[int, ...]) -> None:
    net = Architecture.of(spec).build(shape)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(parameter.numel()))
    inputs = torch.randn(16, *shape, generator=torch.Generator().manual_seed(0)), torch.linspace(0.1, 0.9, 16)
    much, gradients, out = kept(net, *inputs, recompute=False)
    little, again, same = kept(net, *inputs, recompute=True)
    assert torch.equal(out, same)
    assert all(torch.equal(p, q) for p, q in zip(gradients, again, strict=True))
    assert little < 0.5 * much


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_recomputed_run_takes_the_same_steps(precision: Any) -> None:
    nets = []
    for recompute in (False, True):
        nets.append(toy(dropout=0.3))
        settings = replace(SETTINGS, precision=precision, recompute=recompute, accumulate=2)
        for _ in train(nets[-1], loss, batches, settings):
            assert "forward" not in vars(nets[-1][0])
    assert all(torch.equal(p, q) for p, q in zip(nets[0].parameters(), nets[1].parameters(), strict=True))


def test_recomputing_needs_blocks() -> None:
    with pytest.raises(InvalidArgument, match=r"Linear has no nn\.ModuleList"):
        train(nn.Linear(3, 3), loss, batches, replace(SETTINGS, recompute=True))


def test_a_compiled_run_takes_the_same_steps_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def compiled(net: nn.Module) -> Any:
        made.append(compile_(net, backend="eager"))
        return made[-1]

    compile_ = partial(torch.compile)
    monkeypatch.setattr(torch, "compile", compiled)
    plain = toy()
    for _ in train(plain, loss, batches, SETTINGS):
        pass
    assert not made
    run = Run.create(tmp_path, {})
    for _ in train(toy(), loss, batches, replace(SETTINGS, compile=True, steps=9), run=run):
        break
    net = toy()
    for _ in train(net, loss, batches, replace(SETTINGS, compile=True), run=run, start=run.newest()):
        pass
    found = run.newest()
    assert len(made) == 2 and found is not None
    assert found.tensors["net"].keys() == toy().state_dict().keys()
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), plain.parameters(), strict=True))


def test_a_compiled_run_that_recomputes_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    compile_ = partial(torch.compile)

    def backend(graph: Any, _inputs: Any) -> Any:
        made.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", lambda net: compile_(net, backend=backend))
    steps = train(toy(), loss, batches, replace(SETTINGS, compile=True, recompute=True))
    next(steps)
    first = len(made)
    assert len(list(steps)) > 1
    assert len(made) == first > 0


@pytest.mark.parametrize("most", [0.5, 1e6])
def test_norm_and_clipping_have_the_bits_of_torchs_own(most: float) -> None:
    draw = torch.Generator().manual_seed(0)
    ours, theirs = ([nn.Parameter(torch.zeros(n, 64)) for n in (64, 3, 1)] for _ in range(2))
    for one, other in zip(ours, theirs, strict=True):
        one.grad = torch.randn(one.shape, generator=draw)
        other.grad = one.grad.clone()
    norm = gradient_norm(ours)
    clip(ours, norm, most)
    assert torch.equal(norm, nn.utils.clip_grad_norm_(theirs, most))
    assert all(torch.equal(one.grad, other.grad) for one, other in zip(ours, theirs, strict=True))
