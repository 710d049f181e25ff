"""Evaluations: samples are measured as what they come back as, beside data that are that already."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from obverse.cli.evaluate import words
from obverse.ground.errors import InvalidArgument
from obverse.metrics import Measured, against
from obverse.recipes import Evaluation, Recipe, Sampling, Trained, build, evaluate, fit
from obverse.recipes.evaluation import _judged_by
from obverse.report import write
from obverse.sampler import Adaptive, Ledger, Sampled
from obverse.train import Training

TRAINING = Training(steps=2, batch=16, sample_every=0)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A barely trained model of words, whole numbers and gaps."""
    folder, random = tmp_path_factory.mktemp("survey"), torch.Generator().manual_seed(0)
    draws = torch.randint(0, 60, (200, 3), generator=random).tolist()
    lines = [f"{'abcdef'[a % 6]},{'uvw'[b % 3]},{'' if c % 4 == 0 else c}" for a, b, c in draws]
    (folder / "survey.csv").write_text("\n".join(["one,two,three", *lines]))
    recipe = Recipe(data=str(folder / "survey.csv"), columns="mixed", net="mlp:width=8", holdout=0.4, training=TRAINING)
    for _ in fit(recipe, folder / "run").steps:
        pass
    return Trained.open(folder / "run")


def judged(trained: Trained, monkeypatch: pytest.MonkeyPatch, drawn: Tensor) -> Evaluation:
    """What is said of a model that draws this."""
    monkeypatch.setattr(Trained, "sampled", lambda *_, **__: Sampled(drawn, Ledger(1, 1, len(drawn)), None))
    return evaluate(trained, count=len(drawn), bootstrap=2)


def test_rows_that_come_back_as_training_rows_are_copies(survey: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = build.datasets(survey.recipe)
    rows = train.rows(torch.arange(64)).x
    near = rows + torch.empty_like(rows).uniform_(-0.4, 0.4) / torch.tensor(survey.facts.scaling.scale)
    found = judged(survey, monkeypatch, near)
    assert (near - rows).norm(dim=1).min() > 0.1
    assert found.novelty is not None and found.novelty < 1e-6
    assert torch.allclose(found.samples, rows, atol=1e-6)
    assert [one.value for one in found.measured] == pytest.approx(
        [one.value for one in judged(survey, monkeypatch, rows).measured], abs=1e-6
    )


def test_a_gap_is_the_mean_that_training_put_there_whatever_else_is_drawn(survey: Trained) -> None:
    train, held = build.datasets(survey.recipe)
    assert held is not None
    for data in (train, held):
        rows = data.rows(torch.arange(len(data))).x
        gaps = rows[rows[:, -1] > 0]
        assert len(gaps) > 5
        assert torch.allclose(survey.facts.settled(gaps), gaps, atol=1e-6)
        assert torch.allclose(survey.facts.settled(gaps[:1] + 0.1), gaps[:1], atol=1e-6)


def test_a_report_measures_every_sampler_on_what_its_samples_come_back_as(
    survey: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[Tensor]()
    monkeypatch.setattr("obverse.report.scores.SAMPLERS", (("ddim", 2), ("heun", 2)))

    def noted(x: Tensor, *more: Any, **how: Any) -> list[Measured]:
        seen.append(x)
        return against(x, *more, **how)

    monkeypatch.setattr("obverse.report.scores.against", noted)
    write(survey, tmp_path / "page.html", sampling=Sampling(steps=2), count=16)
    assert len(seen) == 2 and all(torch.allclose(survey.facts.settled(x), x, atol=1e-6) for x in seen)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("points")
    np.savez(folder / "points.npz", x=np.random.default_rng(0).normal(size=(80, 2)) * [1, 3])
    recipe = Recipe(data=str(folder / "points.npz"), net="mlp:width=8", holdout=0.4, training=TRAINING)
    for _ in fit(recipe, folder / "run").steps:
        pass
    return Trained.open(folder / "run")


def test_what_an_adaptive_solver_took_is_told_from_its_ledger(points: Trained) -> None:
    told = list[float]()
    sampling = Sampling(solver="adaptive:rtol=1e-4")
    found = evaluate(points, sampling, bootstrap=2, watch=lambda at: told.append(at.behind))
    run = points.drawing(32, sampling).adaptively(Adaptive(rtol=1e-4))
    assert torch.equal(found.samples, run.x) and found.steps is None
    assert found.calls == int(run.calls.max()) and found.evaluations == int(run.calls.sum()) == run.evaluations
    assert len(told) >= 3 and told == sorted(told) and 0.9 < told[-1] <= 1
    assert f"at most {found.calls} network calls each, {found.evaluations / 32:.1f} on average" in words(found)


def test_a_solver_with_a_grid_is_told_as_before(points: Trained) -> None:
    told = list[float]()
    found = evaluate(points, Sampling(solver="heun", steps=4), bootstrap=2, watch=lambda at: told.append(at.behind))
    assert (found.steps, found.calls, found.evaluations) == (4, 7, 7 * 32) and told[-1] == 1 and told == sorted(told)
    assert "32 samples, 7 network calls each," in words(found)


@pytest.mark.parametrize("count", [-1, 0, 7])
def test_too_few_samples_to_judge_by_are_refused_before_they_are_drawn(
    points: Trained, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(Trained, "sampled", None)
    with pytest.raises(InvalidArgument, match=rf"count is samples >= 8, .* got {count}"):
        evaluate(points, count=count)


@pytest.mark.parametrize("how", ["adaptive", "tableau"])
def test_a_report_draws_once_by_any_solver(
    points: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    sampling = Sampling(solver="adaptive:rtol=1e-2")
    if how == "tableau":
        points.tableau(Sampling(steps=4)).save(tmp_path / "4.json")
        sampling = Sampling(tableau=str(tmp_path / "4.json"))
    drawn, told = list[Sampling](), list[tuple[str, int]]()
    sampled = Trained.sampled

    def noted(self: Trained, count: int, how: Sampling, **more: Any) -> Sampled:
        drawn.append(how)
        return sampled(self, count, how, **more)

    monkeypatch.setattr(Trained, "sampled", noted)
    monkeypatch.setattr("obverse.report.scores.SAMPLERS", (("ddim", 2),))
    monkeypatch.setattr("obverse.report.coin.STEPS", 1)
    monkeypatch.setattr("obverse.report.coin._POINTS", 1)
    report = write(
        points, tmp_path / "a.html", sampling=sampling, progress=lambda title, done, _: told.append((title, done))
    )
    assert drawn.count(sampling) == 1
    assert report.numbers["distances"]["calls"] >= 4 and report.numbers["samplers"]["rows"][0]["calls"] == 2
    assert (report.numbers["trajectory"] is None) == (how == "adaptive")
    done = [done for _, done in told]
    assert done == sorted(done) and 50 < max(d for title, d in told if title.startswith("Samples")) < 99


def test_a_table_whose_rows_recur_is_measured_all_the_same(tmp_path: Path) -> None:
    draws = np.random.default_rng(0).integers(0, 12, (120, 2))
    (tmp_path / "words.csv").write_text("\n".join(["one,two", *(f"{'abc'[a % 3]},{'xy'[b % 2]}" for a, b in draws)]))
    recipe = Recipe(data=str(tmp_path / "words.csv"), columns="mixed", net="mlp:width=8", training=TRAINING)
    for _ in fit(replace(recipe, holdout=0.4), tmp_path / "run").steps:
        pass
    trained = Trained.open(tmp_path / "run")
    found = evaluate(trained, Sampling(steps=2), bootstrap=2)
    assert found.memorisation is None and found.novelty is None and len(found.measured) == 4
    assert json.loads(json.dumps(found.to_json()))["memorisation"] is None
    assert "half of the held-out data or more are copies of training data" in words(found)
    report = write(trained, tmp_path / "a.html", sampling=Sampling(steps=2))
    assert report.numbers["distances"] is not None and "Novelty" not in [mark.name for mark in report.marks]
    assert "half of the held-out data or more are copies of training data" in report.path.read_text()


@pytest.mark.parametrize(("rows", "holdout"), [(9, 0.1), (12, 0.5), (16, 0.1), (23, 0.1), (40, 0.0)])
def test_whoever_holds_out_as_much_as_the_refusal_says_is_judged(tmp_path: Path, rows: int, holdout: float) -> None:
    def held_out(count: int, share: float) -> int:
        np.save(tmp_path / "few.npy", np.random.default_rng(0).normal(size=(count, 2)))
        return len(_judged_by(Recipe(data=str(tmp_path / "few.npy"), holdout=share))[1])

    with pytest.raises(InvalidArgument, match="were held out, and judging takes 8") as refused:
        held_out(rows, holdout)
    found = re.search(r"holdout=([0-9.]+)(?: and (\d+) samples)?", str(refused.value))
    assert found is not None
    assert held_out(int(found[2] or rows), float(found[1])) >= 8
