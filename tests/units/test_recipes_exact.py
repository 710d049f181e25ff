"""The exact model of a named set: right on the data itself, equal to the oracle of its law, and the floor of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from obverse.data import batches, load
from obverse.data.generated import law
from obverse.model import Mixture
from obverse.objective import Objective
from obverse.recipes import Recipe, build, fit
from obverse.recipes.exact import Exact, Floor
from obverse.train import Training

NAMES = ["two-moons", "8-gaussians", "s-curve"]
FEW = Training(steps=4, batch=200, log_every=4, save_every=0)


def known(**recipe: object) -> tuple[Exact, build.Facts]:
    made = Recipe(**recipe)  # type: ignore[arg-type]
    facts = build.Facts.of(load(made.data))
    found = Exact.of(made, facts)
    assert found is not None
    return found, facts


def oracle(name: str, facts: build.Facts, label: int, schedule: str) -> Mixture:
    """The law of a class, or of all (-1), in network units, by the general oracle."""
    found = law(name)
    assert found is not None
    rows = slice(None) if label < 0 else found.labels == label
    shift, scale = (torch.tensor(part, dtype=torch.float64) for part in (facts.scaling.shift, facts.scaling.scale))
    spread = (torch.eye(2, dtype=torch.float64) * found.deviation / scale).square()
    return Mixture((found.means[rows] - shift) / scale, spread, found.weights[rows], schedule)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("told", [True, False])
def test_its_error_on_the_data_is_what_the_law_says(name: str, told: bool) -> None:
    """E |x - E[x|x_t]|² = E tr Cov[x|x_t], and no function of x_t explains the residual: of the true law only."""
    model, facts = known(data=name)
    data = load(name)
    if told and data.labels is None:
        pytest.skip("has no classes")
    cond = data.labels if told else None
    x = data.rows(torch.arange(len(data))).x
    wholes = [oracle(name, facts, label, "linear") for label in range(len(facts.classes) if told else 0)]
    for step, t in enumerate((0.05, 0.2, 0.4, 0.6, 0.8)):
        level, eps = model.schedule.at(t), torch.randn(x.shape, generator=torch.Generator().manual_seed(step))
        x_t = float(level.alpha) * x + float(level.sigma) * eps
        residual = (x - model(x_t, level, cond).data).double()
        if told:
            spread = torch.empty(len(x), dtype=torch.float64)
            for label, whole in enumerate(wholes):
                spread[cond == label] = whole.spread(x_t[cond == label], level)
        else:
            spread = oracle(name, facts, -1, "linear").spread(x_t, level)
        features = torch.stack([torch.ones(len(x)), *x_t.T, *x_t.square().T, *(3 * x_t).sin().T])
        for off in (
            residual.square().sum(1) - spread,
            *(feature * part for feature in features for part in residual.T),
        ):
            assert abs(off.mean()) < 4.5 * off.std() / len(x) ** 0.5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("predicts", ["flow", "data", "noise", "v", "velocity", "edm"])
@pytest.mark.parametrize("schedule", ["linear", "cosine", "vp"])
def test_it_answers_as_the_oracle_of_its_law(name: str, predicts: str, schedule: str) -> None:
    model, facts = known(data=name, predicts=predicts, schedule=schedule)
    x_t = 2 * torch.randn(60, 2, generator=torch.Generator().manual_seed(1)).double()
    labels = torch.arange(60) % (len(facts.classes) + 1) - 1
    for level in (model.schedule.at(0.3), model.schedule.at(torch.linspace(0.02, 0.98, 60))):
        answer = model(x_t, level, labels)
        for label in labels.unique().tolist():
            rows = labels == label
            here = level[rows] if level.t.ndim else level
            truth = oracle(name, facts, label, schedule)(x_t[rows], here)
            assert torch.allclose(answer.data[rows], truth.data, rtol=0, atol=1e-9)
            assert torch.allclose(answer.noise[rows], truth.noise, rtol=0, atol=1e-9)
    assert torch.equal(model(x_t, level).output, model(x_t, level, torch.full((60,), -1)).output)


@pytest.mark.parametrize(("accumulate", "recall"), [(1, 0.0), (2, 0.5)])
def test_a_run_logs_the_loss_of_the_exact_model_on_its_own_draws(
    tmp_path: Path, accumulate: int, recall: float
) -> None:
    settings = Training(steps=4, batch=200, log_every=4, save_every=0, accumulate=accumulate)
    recipe = Recipe(data="two-moons", predicts="v", conditional=False, recall=recall, net="mlp:width=8,depth=1")
    recipe = Recipe(**{**vars(recipe), "training": settings})
    fitting = fit(recipe, tmp_path / "run")
    assert fitting.floored
    for _ in fitting.steps:
        pass
    (line,) = fitting.run.metrics()
    truth, whole = Objective("stratified", "flow"), oracle("two-moons", fitting.facts, -1, "linear")  # answers in v too
    stream, losses = batches(fitting.data, 200, seed=0), []
    for step in range(4):
        batch = next(stream)
        losses.append(truth(whole, batch.x, seed=0, step=step, samples=batch.rows).per_sample)
    each = np.array(line["floor_by_logsnr"])
    assert each[:, 1] @ each[:, 2] == pytest.approx(float(torch.cat(losses).sum()), rel=1e-5)
    assert [row[::2] for row in line["floor_by_logsnr"]] == [row[::2] for row in line["loss_by_logsnr"]]


def test_told_the_class_the_floor_is_lower_and_a_law_that_learns_times_keeps_its_draws(tmp_path: Path) -> None:
    def total(name: str, **recipe: object) -> float:
        fitting = fit(
            Recipe(data="two-moons", net="mlp:width=8,depth=1", training=FEW, **recipe),  # type: ignore[arg-type]
            tmp_path / name,
        )
        for _ in fitting.steps:
            pass
        (line,) = fitting.run.metrics()
        assert [row[::2] for row in line["floor_by_logsnr"]] == [row[::2] for row in line["loss_by_logsnr"]]
        return float(sum(mean * n for _, mean, n in line["floor_by_logsnr"]))

    told, partly, blind = total("a", drop=0.0), total("b", drop=0.5), total("c", drop=0.999)
    assert told < 0.98 * partly and partly < 0.98 * blind
    assert total("d", times="adaptive") > 0


@pytest.mark.parametrize(
    "recipe",
    [
        {"data": "wine"},
        {"data": "8-gaussians", "coupling": "exact-ot"},
        {"data": "8-gaussians", "error": "huber"},
        {"data": "8-gaussians", "weighting": "learned"},
    ],
)
def test_where_the_best_estimate_is_not_known_there_is_no_floor(tmp_path: Path, recipe: dict[str, str]) -> None:
    made = Recipe(**recipe, net="mlp:width=8,depth=1", training=Training(steps=1, batch=16))  # type: ignore[arg-type]
    fitting = fit(made, tmp_path / "run")
    for _ in fitting.steps:
        pass
    assert not fitting.floored and "floor_by_logsnr" not in fitting.run.metrics()[0]
    assert Floor.of(made, fitting.facts, build.objective(made)) is None


def test_a_folder_called_as_a_named_set_is_its_own_data() -> None:
    facts = build.Facts.of(load("8-gaussians"))
    assert Exact.of(Recipe(data="8-gaussians"), facts) and Exact.of(Recipe(data="./8-gaussians"), facts) is None
