"""What makes a run wait for another device: each time costs a GPU what it could have been given meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from far import FAR, SENT, WAITS, waits
from test_far import LABELS, Net, X, model

from obverse.data import Dataset
from obverse.guidance import Guided
from obverse.likelihood import log_density
from obverse.objective import Objective
from obverse.recipes import Recipe
from obverse.recipes.learning import Learning
from obverse.sampler import Sampler, Solver, Uniform, adaptive, parallel, sample
from obverse.train import Training, train


@pytest.mark.parametrize("solver", sorted(Solver.members))
def test_a_run_waits_at_its_end_only(solver: str) -> None:
    guided = Guided(model(FAR), 2.0)
    there = waits(lambda: sample(guided, (5, 2), solver=solver, grid="uniform:start=0.99", steps=5, cond=LABELS))
    assert there == 1  # is the end finite?


@pytest.mark.parametrize(("eta", "most"), [(0.0, 3), (1.0, 8)])
def test_an_adaptive_run_waits_a_few_times_a_round(eta: float, most: int) -> None:
    before = len(WAITS)
    run = adaptive(model(FAR), (5, 2), eta=eta, rtol=1e-2, cond=LABELS)
    assert len(WAITS) - before <= most * run.rounds


def test_a_likelihood_waits_twice_a_call() -> None:
    before = len(WAITS)
    found = log_density(model(FAR), X.to(FAR), cond=LABELS)
    assert len(WAITS) - before <= 2 * int(found.calls.max())


def test_a_round_of_all_calls_at_once_waits_once() -> None:
    table = Solver.of("ddim").tableau("linear", Uniform(steps=6))
    before = len(WAITS)
    run = parallel(table, model(FAR), X.to(FAR))
    assert len(WAITS) - before <= run.rounds + table.calls + 1  # calls that have settled are looked at one by one


@pytest.mark.parametrize("solver", ["ddim", "thrifty", "heun", "sde", "sa-solver"])
def test_a_bound_run_can_be_captured_as_a_graph(solver: str) -> None:
    there, start, cond = model(FAR), X.to(FAR), LABELS.to(FAR)
    sampler = Sampler(Solver.of(solver).tableau("linear", "angle:steps=6"))
    run, draws = sampler.bound(there, start), sampler.draws(start, seed=1)
    sent = len(SENT)
    assert waits(lambda: run(start, draws, cond)) == 0 and len(SENT) == sent
    assert torch.allclose(run(start, draws, cond).cpu(), sampler.end(there, start, cond=cond, seed=1).cpu(), atol=1e-5)


@pytest.mark.parametrize("objective", [{}, {"drop": 0.5}, {"weighting": "learned"}, {"times": "logit-normal"}], ids=str)
def test_a_loss_waits_for_nothing(objective: dict[str, Any]) -> None:
    there, loss, x = model(FAR), Objective(**objective), X.to(FAR)
    loss.prepare(there.net)
    assert waits(lambda: loss(there, x, LABELS.to(FAR), seed=3).mean.backward()) == 0


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_of_training_waits_for_the_device_once(accumulate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Accelerator, "device", property(lambda _: FAR))
    training = Training(steps=99, batch=4, accumulate=accumulate, save_every=0, sample_every=0, log_every=99)
    recipe = Recipe(times="uniform", training=training)
    net, data = Net(), Dataset("points", X)
    learning = Learning(recipe, net, data, Objective(recipe.times, recipe.weighting))
    steps = train(net, learning, learning.stream, training)
    next(steps)
    assert waits(lambda: [next(steps) for _ in range(8)]) == 8  # what became of it
