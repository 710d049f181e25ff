"""All runs beside a network on another device: nothing meets a tensor of the CPU, and the numbers are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from far import FAR
from torch import Tensor, nn

from obverse.ground import numerics
from obverse.ground.errors import InvalidArgument
from obverse.guidance import Guided
from obverse.likelihood import log_density
from obverse.model import Model, Network
from obverse.objective import Coupling, Objective, TimeLaw, Weighting
from obverse.path import Linear
from obverse.recipes import Recipe, Sampling, Trained, fit
from obverse.report.subject import Subject
from obverse.report.write import SECTIONS
from obverse.sampler import Solver, Uniform, adaptive, parallel, sample, sampled
from obverse.sklearn import FlowDensity
from obverse.train import Training

LABELS, X = torch.tensor([0, 1, 2, 3, 4]), torch.randn(5, 2, generator=torch.manual_seed(1))
UNENDING = {"elbo": "cut:base=uniform", "schrodinger-bridge": "cut:base=uniform"}  # times that a finite loss needs


@pytest.fixture(autouse=True, params=["with float64", "without"])
def _as(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA, and as on Apple's mps."""
    if request.param == "without":
        monkeypatch.setattr(numerics, "NARROW", {FAR.type})


class Net(nn.Module):
    """A bend, and a condition."""

    def __init__(self) -> None:
        super().__init__()
        self.bend, self.means = nn.Linear(2, 2), nn.Embedding(5, 2)

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """The answer; (batch, 2)."""
        answer: Tensor = self.bend(x_t).tanh() * t[:, None]
        return answer if cond is None else answer + self.means(cond.clamp(min=0))


def model(device: torch.device | str) -> Network:
    """The same network, on a device."""
    torch.manual_seed(0)
    return Network(Net().to(device), "linear")


def agree(run: Callable[[Network], Tensor]) -> None:
    """What a network says here and there is the same, and is where the network is."""
    there, here = run(model(FAR)), run(model("cpu"))
    assert there.device == FAR and here.device.type == "cpu"
    assert torch.allclose(there.cpu(), here, rtol=1e-3, atol=1e-4)


def test_the_other_device_is_no_place_for_tensors_of_the_cpu() -> None:
    far = torch.ones(3, 2).to(FAR)
    assert (far + 1.0).device == torch.zeros(2, device=FAR).device == FAR and (far.cpu() + far.cpu()).device != FAR
    for refused in (lambda: far + torch.ones(3, 2), lambda: torch.cat([torch.ones(1, 2), far])):
        with pytest.raises(RuntimeError, match="on the CPU"):
            refused()
    with pytest.raises(TypeError, match="no array"):
        np.asarray(far)


@pytest.mark.parametrize("solver", sorted(Solver.members))
def test_solvers(solver: str) -> None:
    agree(lambda m: sample(m, (5, 2), solver=solver, grid="uniform:start=0.99", steps=5, seed=1, cond=LABELS))


RUNS: dict[str, Callable[[Model], Any]] = {
    "guided": lambda m: sample(Guided(m, 2.0), (5, 2), steps=5, cond=LABELS),
    "rescheduled": lambda m: sample(m.on("vp"), (5, 2), steps=5, grid="uniform:start=0.99", cond=LABELS),
    "microbatched": lambda m: sample(m, (5, 2), steps=5, cond=LABELS, microbatch=2),
    "in half precision": lambda m: sample(m, (5, 2), steps=5, dtype=torch.bfloat16).float(),
    "recorded": lambda m: sampled(m, (5, 2), steps=5, record=True).trajectory.data,  # type: ignore[union-attr]
    "in parallel": lambda m: parallel(Solver.of("ddim").tableau("linear", Uniform(6)), m, X.to(m.device)).x,
    "adaptive": lambda m: sample(m, (5, 2), solver="adaptive", cond=LABELS),
    "adaptive, of the SDE": lambda m: adaptive(m, (5, 2), eta=1.0, rtol=1e-2, cond=LABELS).x,
    "adaptive, backwards": lambda m: adaptive(m, (5, 2), start=X.to(m.device), start_level=0.0, stop_level=1.0).x,
    "adaptive, dense": lambda m: adaptive(m, (5, 2), dense=True).at(0.5),
    "likelihood": lambda m: log_density(m, X.to(m.device), cond=LABELS)[0].float().to(m.device),
    "likelihood by probes": lambda m: log_density(m, X.to(m.device), probes=4)[0].float().to(m.device),
}


@pytest.mark.parametrize("how", RUNS)
def test_runs(how: str) -> None:
    agree(RUNS[how])


def test_states_may_stay_on_the_cpu() -> None:
    there = sample(model(FAR), (5, 2), steps=5, cond=LABELS, device="cpu")
    assert there.device.type == "cpu"
    assert torch.allclose(there, sample(model("cpu"), (5, 2), steps=5, cond=LABELS), atol=1e-5)


OBJECTIVES: list[dict[str, Any]] = [
    *({"times": name} for name in sorted(TimeLaw.members)),
    *({"weighting": name} for name in sorted(Weighting.members)),
    *({"coupling": name} for name in sorted(Coupling.members)),
    {"coupling": "exact-ot:cost=conditioned"},
    {"drop": 0.5},
    {"error": "huber"},
]


@pytest.mark.parametrize("asked", OBJECTIVES, ids=str)
def test_objectives(asked: dict[str, Any]) -> None:
    words = dict(asked)
    for law in asked.values():
        if law in UNENDING:
            words["times"] = UNENDING[law]

    def learnt(m: Network) -> Tensor:
        objective = Objective(**words)
        objective.prepare(m.net)
        loss = objective(m, X.to(m.device), LABELS, seed=3)
        loss.mean.backward()
        objective.observe(Linear(), loss.logsnr, loss.per_sample.detach())
        assert loss.noise_error.device == loss.per_sample.device
        grad: Tensor = m.net.bend.weight.grad
        return torch.cat([loss.per_sample.detach(), grad.flatten()])

    agree(learnt)


@pytest.mark.parametrize(("data", "net"), [("digits", "unet:width=8"), ("two-moons", "mlp:width=16")])
def test_a_report_is_made(data: str, net: str, tmp_path: Path) -> None:
    recipe = Recipe(data=data, net=net, training=Training(steps=2, batch=8, log_every=1, save_every=0))
    for _ in fit(recipe, tmp_path / "run").steps:
        pass
    subject = Subject(Trained.open(tmp_path / "run", FAR.type), Sampling(steps=3), 12)
    for name, _, section in SECTIONS:
        if name != "samplers":
            section(subject)


@pytest.mark.parametrize(
    "ask",
    [sample, lambda m, shape: log_density(m, torch.zeros(shape)), lambda m, shape: Objective()(m, torch.zeros(shape))],
)
def test_a_default_device_is_no_place_for_levels(ask: Callable[[Model, tuple[int, int]], Any]) -> None:
    there = model(FAR)
    torch.set_default_device(FAR)
    try:
        with pytest.raises(InvalidArgument, match=r"set_default_device\('far:0'\) would put levels there"):
            ask(there, (5, 2))
    finally:
        torch.set_default_device(None)
    ask(there, (5, 2))


def test_what_chooses_a_device_by_itself_takes_a_gpu_of_any_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = X.numpy().repeat(4, 0)
    density = FlowDensity(max_iter=3, random_state=0).fit(rows)
    for _ in fit(Recipe(data="two-moons", training=Training(steps=2, batch=8)), tmp_path / "run").steps:
        pass
    here = density.sample(3), density.score_samples(rows[:2])
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: FAR)
    assert Trained.open(tmp_path / "run").model.device == FAR
    assert density._model(torch.float32).device == FAR
    there = density.sample(3), density.score_samples(rows[:2])
    assert all(np.allclose(a, b, rtol=1e-4) for a, b in zip(there, here, strict=True))
