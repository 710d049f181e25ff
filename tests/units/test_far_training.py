"""Training on another device, and what is made of it: the same numbers as on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import accelerate
import numpy as np
import pytest
import torch
from far import FAR
from test_far import LABELS, X, agree
from torch import Tensor, nn

from obverse.data import Batch, Dataset, batches
from obverse.ground.errors import NonFinite
from obverse.likelihood import log_density
from obverse.model import Network
from obverse.objective import Objective
from obverse.objective.couplings import SemiDiscrete
from obverse.recipes import Recipe, Sampling, Trained, fit
from obverse.train import Run, Training, train
from obverse.train.parts import in_parts
from obverse.train.snapshots import posthoc

CPU = torch.device("cpu")
BRIEF = Training(steps=4, batch=16, log_every=2, save_every=2)
MOONS = Recipe(data="two-moons", net="mlp:width=16", training=BRIEF)
DIGITS = Recipe(data="digits", net="unet:width=8", training=BRIEF)


class Place:
    """Where Accelerate computes, as the tests choose it."""

    device = CPU


@pytest.fixture(autouse=True)
def _chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accelerate is told; what it finds by itself is kept for others."""
    place = property(lambda _: Place.device, lambda self, found: vars(self).update(device=found))
    for kind in (accelerate.Accelerator, accelerate.PartialState):
        monkeypatch.setattr(kind, "device", place, raising=False)


def went(recipe: Recipe, folder: Path, device: torch.device, *, resume: bool = False) -> list[tuple[float, float]]:
    """Losses and norms of a training on a device."""
    Place.device = device
    return [(step.loss, step.gradient_norm) for step in fit(recipe, folder, resume=resume).steps]


def saved(folder: Path) -> dict[str, Tensor]:
    """All tensors of the newest checkpoint."""
    run = Run.open(folder).newest()
    assert run is not None
    return {f"{group}.{name}": value for group, named in run.tensors.items() for name, value in named.items()}


def trains(**asked: Any) -> Recipe:
    """The recipe with other settings of its training."""
    return replace(MOONS, training=replace(BRIEF, **asked))


HOWS: dict[str, Recipe] = {
    "muon": trains(optimizer="muon"),
    "bf16": trains(precision="bf16"),
    "fp16": trains(precision="fp16"),
    "averages": trains(ema=(2.0, 4.0), ema_power=(0.05, 0.1), snapshot_every=2),
    "in parts": replace(trains(accumulate=2), times="adaptive", weighting="learned"),
    "recomputed": trains(recompute=True, clip=0.001),
    "shown itself": replace(MOONS, recall=0.5, weighting="learned"),
    "paired": replace(MOONS, coupling="exact-ot:cost=conditioned"),
    "images": replace(DIGITS, augment="flip+crop+jitter"),
    "tokens": replace(DIGITS, net="dit:width=16"),
}


@pytest.mark.parametrize("how", HOWS)
def test_training(how: str, tmp_path: Path) -> None:
    there, here = (went(HOWS[how], tmp_path / device.type, device) for device in (FAR, CPU))
    assert np.allclose(there, here, rtol=1e-2 if "16" in how else 1e-4)
    far, near = (Run.open(tmp_path / device.type).metrics() for device in (FAR, CPU))
    assert [line.keys() for line in far] == [line.keys() for line in near]


@pytest.mark.parametrize("how", ["muon", "fp16", "averages", "in parts"])
def test_a_run_goes_on_to_the_same_bits(how: str, tmp_path: Path) -> None:
    went(HOWS[how], tmp_path / "whole", FAR)
    for step in fit(HOWS[how], tmp_path / "broken").steps:
        if step.step == 2:
            step.save()
            break
    went(HOWS[how], tmp_path / "broken", FAR, resume=True)
    whole, broken = saved(tmp_path / "whole"), saved(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert all(torch.equal(value, broken[name]) for name, value in whole.items())


@pytest.mark.parametrize(("first", "then"), [(FAR, CPU), (CPU, FAR)], ids=str)
def test_a_run_goes_on_elsewhere(first: torch.device, then: torch.device, tmp_path: Path) -> None:
    recipe = HOWS["in parts"]
    went(recipe, tmp_path / "whole", CPU)
    Place.device = first
    for step in fit(recipe, tmp_path / "moved").steps:
        if step.step == 2:
            step.save()
            break
    went(recipe, tmp_path / "moved", then, resume=True)
    whole, moved = saved(tmp_path / "whole"), saved(tmp_path / "moved")
    assert all(torch.allclose(value, moved[name], rtol=1e-3, atol=1e-5) for name, value in whole.items())


def test_a_run_is_used_where_it_was_not_trained(tmp_path: Path) -> None:
    went(HOWS["averages"], tmp_path / "run", FAR)
    run = Run.open(tmp_path / "run")
    assert all(value.device == CPU for value in posthoc(run, 0.08).values())
    for asked in (Sampling(steps=4), Sampling(steps=4, guidance=2.0, schedule="vp"), Sampling("adaptive:rtol=1e-1")):
        there, here = (Trained.open(run.folder, device).sampled(4, asked).x for device in (FAR, "cpu"))
        assert there.device == CPU and torch.allclose(there, here, rtol=1e-3, atol=1e-4)


class Splits(nn.Module):
    """A net whose third row goes astray from its fourth call on."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.calls = nn.Linear(2, 4), nn.Linear(4, 1), 0

    def forward(self, x: Tensor) -> Tensor:
        """The answer; (batch, 1)."""
        self.calls += 1
        hidden = self.first(x)
        if self.calls > 3:
            hidden = torch.where(torch.arange(len(x), device=x.device)[:, None] == 2, torch.inf, hidden)
        answer: Tensor = self.second(hidden)
        return answer


def plain(step: int) -> Iterator[Batch]:
    """Batches of normal rows, on the CPU."""
    rows = torch.randn(64, 2, generator=torch.manual_seed(0))
    return batches(Dataset("normal", rows), 8, seed=0, start=step)


def distance(net: Callable[[Tensor], Tensor], batch: Batch, _: int) -> Any:
    """The distance to 1."""
    each = (net(batch.x) - 1).square().mean(1)
    return SimpleNamespace(mean=each.mean(), per_sample=each, logsnr=torch.zeros(len(each)))


def test_what_is_not_finite_is_named() -> None:
    said = []
    for device in (FAR, CPU):
        Place.device = device
        with pytest.raises(NonFinite, match=r"answer of 'second' .* row 2 of the batch") as error:
            list(train(Splits(), distance, plain, Training(steps=6, batch=8)))
        said.append(str(error.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "NAdam", "Adafactor"])
def test_own_optimisers(name: str) -> None:
    def losses(device: torch.device) -> list[float]:
        Place.device = device
        torch.manual_seed(0)
        own = getattr(torch.optim, name)
        steps = train(nn.Linear(2, 1), distance, plain, BRIEF, optimizers=lambda net, _: own(net.parameters(), lr=1e-2))
        return [step.loss for step in steps]

    assert np.allclose(losses(FAR), losses(CPU), rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_all_of_a_batch_is_carried_there(count: int) -> None:
    rows = torch.arange(4)
    (first, *_) = in_parts(Batch(X[:4].to(FAR), rows, rows, 0, rows), count, FAR)
    assert first.label.device == first.x.device == FAR


def test_pairs_of_a_whole_data_set() -> None:
    """Its conditions may be where they were read."""

    def loss(m: Network) -> Tensor:
        pairs = SemiDiscrete.fit(X.to(m.device), LABELS, steps=20, batch=32).pairs(7, seed=1)
        return Objective()(m, pairs.x, pairs.cond, eps=pairs.eps).per_sample.detach()

    agree(loss)


def test_probes_of_named_samples() -> None:
    agree(lambda m: log_density(m, X.to(m.device), probes=3, samples=torch.arange(5).to(m.device)).nats)  # type: ignore[arg-type]
