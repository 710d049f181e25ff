"""A run folder as a model: of the checkpoint that was asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from obverse.ground.errors import CheckpointError, DataError, InvalidArgument
from obverse.recipes import Recipe, Trained, fit
from obverse.recipes.sampling import Sampling
from obverse.train import Training, checkpoint

TRAINING = Training(steps=4, batch=8, save_every=1, keep=9, sample_every=0, lr=0.05, ema=1.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that keeps all of its checkpoints, judged."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    for _ in fit(Recipe(data="digits", net="unet:width=8", training=TRAINING), folder, keep_best=1).steps:
        pass
    return folder


def is_of(trained: Trained, path: Path) -> bool:
    saved, net = checkpoint.load(path).tensors["ema"], trained.model.net.state_dict()  # type: ignore[union-attr]
    return all(torch.equal(net[name].cpu(), saved[name]) for name in saved)


def test_the_checkpoint_asked_for_is_the_one_that_is_opened(run: Path) -> None:
    for step in (1, 3):
        trained = Trained.open(run, checkpoint=str(step))
        assert trained.step == step and is_of(trained, run / f"checkpoints/step-0000000{step}")
    assert Trained.open(run).step == 4


def test_the_best_checkpoint_is_the_one_with_the_lowest_held_out_loss(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    scores = {path: checkpoint.load(path).about["score"] for path in (tmp_path / "run/checkpoints").glob("step-*")}
    best = min(scores, key=lambda path: scores[path])
    for path in scores:
        if path.name > best.name:
            shutil.rmtree(path)
    worse = checkpoint.load(best)
    checkpoint.save(best.parent, 9, worse.tensors, {**worse.about, "score": 2 * scores[best]})
    assert Trained.open(tmp_path / "run").step == 9
    trained = Trained.open(tmp_path / "run", checkpoint="best")
    assert is_of(trained, best) and best.name == f"step-{trained.step:08d}"


def test_a_checkpoint_that_is_not_there_is_refused_with_those_that_are(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint of step 7; kept: 1, 2, 3, 4"):
        Trained.open(run, checkpoint="7")
    with pytest.raises(InvalidArgument, match="newest, best or a step, got 'last'"):
        Trained.open(run, checkpoint="last")
    with pytest.raises(InvalidArgument, match="give one"):
        Trained.open(run, checkpoint="3", ema="sigma=0.1")
    for _ in fit(Recipe(data="digits", net="unet:width=8", training=TRAINING), tmp_path / "unjudged").steps:
        pass
    with pytest.raises(CheckpointError, match="--keep-best 1"):
        Trained.open(tmp_path / "unjudged", checkpoint="best")


@pytest.mark.parametrize(
    "changed",
    [
        {"data": 1},
        {"data": {}},
        {"data": {"shape": None}},
        {"data": {"shape": [3, 8, 8]}},
        {"data": {"schema": [{"name": "a"}]}},
        {"recipe": [1]},
        {"recipe": {"net": "unet:width=16"}},
        {"recipe": {"net": "mlp:width=1000000000000"}},
    ],
)
def test_a_configuration_that_does_not_fit_its_weights_is_refused_by_name(
    run: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    for key, value in changed.items():
        config[key] = {**config[key], **value} if value and isinstance(value, dict) else value
    (tmp_path / "run/config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"run cannot be read: "):
        Trained.open(tmp_path / "run")


def test_a_configuration_nested_without_end_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"config\.json is damaged"):
        Trained.open(tmp_path)


def test_a_model_whose_classes_were_never_hidden_is_not_guided(tmp_path: Path) -> None:
    recipe = Recipe(data="wine", drop=0.0, training=Training(steps=1, batch=4, sample_every=0))
    for _ in fit(recipe, tmp_path / "run").steps:
        pass
    trained = Trained.open(tmp_path / "run")
    assert trained.on(Sampling(guidance=1.0)) is trained.model
    for scale in (0.0, 2.0):
        with pytest.raises(InvalidArgument, match=f"guidance {scale:g} .*trained with drop=0.*drop=0.1"):
            trained.on(Sampling(guidance=scale))


def test_steps_of_a_grid_are_not_passed_over(run: Path) -> None:
    trained = Trained.open(run)
    with pytest.raises(InvalidArgument, match=r"uniform:steps=3 asks for 3 steps, steps for 20.*\(steps=3\)"):
        trained.grid(Sampling(grid="uniform:steps=3"))
    for grid in ("uniform:steps=3", "uniform", "align-your-steps", "scales:size=54"):
        assert len(trained.grid(Sampling(grid=grid, steps=3)).levels(trained.model.schedule)) == 4
