"""Evaluations: samples are measured as what they come back as, beside data that are that already."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from obverse.metrics import against
from obverse.recipes import Evaluation, Recipe, Sampling, Trained, build, evaluate, fit
from obverse.report import write
from obverse.train import Training

TRAINING = Training(steps=2, batch=16, sample_every=0)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A barely trained model of words, whole numbers and gaps."""
    folder, random = tmp_path_factory.mktemp("survey"), torch.Generator().manual_seed(0)
    draws = torch.randint(0, 60, (200, 3), generator=random).tolist()
    lines = [f"{'abcdef'[a % 6]},{'uvw'[b % 3]},{'' if c % 4 == 0 else c}" for a, b, c in draws]
    (folder / "survey.csv").write_text("\n".join(["one,two,three", *lines]))
    recipe = Recipe(
        data=str(folder / "survey.csv"), columns="mixed", net="mlp:width=8", holdout=0.4, training=TRAINING
    )
    for _ in fit(recipe, folder / "run").steps:
        pass
    return Trained.open(folder / "run")


def judged(trained: Trained, monkeypatch: pytest.MonkeyPatch, drawn: Tensor) -> Evaluation:
    """What is said of a model that draws this."""
    monkeypatch.setattr(Trained, "sample", lambda *_, **__: drawn)
    return evaluate(trained, count=len(drawn), bootstrap=2)


def test_rows_that_come_back_as_training_rows_are_copies(survey: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = build.datasets(survey.recipe)
    rows = train.rows(torch.arange(64)).x
    near = rows + torch.empty_like(rows).uniform_(-0.4, 0.4) / torch.tensor(survey.facts.scaling.scale)
    found = judged(survey, monkeypatch, near)
    assert (near - rows).norm(dim=1).min() > 0.1
    assert found.novelty < 1e-6 and torch.allclose(found.samples, rows, atol=1e-6)
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
    monkeypatch.setattr("obverse.report.scores.against", lambda x, *y, **z: (seen.append(x), against(x, *y, **z))[1])
    write(survey, tmp_path / "page.html", sampling=Sampling(steps=2), count=16)
    assert len(seen) == 2 and all(torch.allclose(survey.facts.settled(x), x, atol=1e-6) for x in seen)
