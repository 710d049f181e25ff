"""A recipe carried out in a folder, and gone on with."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from obverse.ground.errors import InvalidArgument
from obverse.nets import Architecture
from obverse.recipes import Recipe, Trained, fit
from obverse.recipes.build import network
from obverse.train import Training

RECIPE = Recipe(
    data="digits", net="unet:width=8", training=Training(steps=3, batch=8, save_every=1, sample_every=0, seed=5)
)


@pytest.mark.parametrize("recall", [0.0, 0.5])
def test_the_weights_that_a_run_begins_with_are_those_of_its_seed(recall: float) -> None:
    facts: Any = SimpleNamespace(shape=(2,), classes=())
    recipes = (Recipe(net="mlp:width=8", recall=recall, training=Training(seed=seed)) for seed in (0, 0, 1))
    one, again, other = (network(recipe, facts).state_dict() for recipe in recipes)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_of_an_earlier_version_goes_on_in_its_own_words(tmp_path: Path) -> None:
    steps = fit(RECIPE, tmp_path).steps
    next(steps), next(steps)  # the first is saved when the second is asked for
    steps.close()
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    config["obverse"] = "0.0.1"
    del config["recipe"]["weighting"], config["recipe"]["training"]["clip"]  # options that came later
    file.write_text(json.dumps(config))
    with pytest.raises(InvalidArgument, match="another configuration"):
        fit(replace(RECIPE, weighting="v"), tmp_path, resume=True)
    going = fit(RECIPE, tmp_path, resume=True)
    assert going.first == 1
    assert [step.step for step in going.steps] == [2, 3]
    assert json.loads(file.read_text()) == config


@pytest.mark.parametrize(
    ("coupling", "said"), [("independent", "rounding"), ("exact-ot", "its own rows"), ("pool", "rounding")]
)
def test_going_on_with_other_processes_says_whether_they_pair_the_same_rows(
    coupling: str, said: str, tmp_path: Path
) -> None:
    begun = fit(replace(RECIPE, coupling=coupling), tmp_path).steps
    next(begun), next(begun)  # the first is saved when the second is asked for
    begun.close()
    sessions = tmp_path / "sessions.jsonl"
    sessions.write_text(sessions.read_text().replace('"processes": 1', '"processes": 2'))
    note = fit(replace(RECIPE, coupling=coupling), tmp_path, resume=True).note
    assert said in note and "--processes 2" in note
    assert ("rounding" in note) == ("its own rows" not in note)


def test_a_weighting_that_is_learnt_is_refused_in_shards_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("obverse.recipes.fitting.here", lambda: pytest.fail("it was not refused in time"))
    with pytest.raises(InvalidArgument, match=r"weighting='learned'.*no shards"):
        fit(replace(RECIPE, weighting="learned"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Gain(nn.Module):
    """Nothing to turn, and no blocks."""

    def __init__(self, shape: tuple[int, ...], trained: bool) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(shape), requires_grad=trained)

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return x_t * self.gain


@dataclass(frozen=True)
class Gains(Architecture, name="gains-for-test"):
    trained: bool = True

    def module(self, shape: tuple[int, ...], condition: Any) -> nn.Module:
        return Gain(shape, self.trained)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"coupling": "within"}, "within needs labels"),
        ({"coupling": "within", "data": "digits", "conditional": False}, "within needs labels"),
        ({"coupling": "exact-ot:cost=conditioned"}, "cond is None"),
        ({"augment": "flip"}, "augment is for images"),
        pytest.param({"optimizer": "muon"}, "turns matrices", marks=pytest.mark.needs("torch.optim:Muon")),
        ({"recompute": True}, "block by block"),
        ({"net": "gains-for-test:trained=false"}, "no parameter to train"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    (tmp_path / "table.csv").write_text("a,b\n" + "\n".join(f"{i},{i * i % 7}" for i in range(40)))
    settings = {name: change[name] for name in ("optimizer", "recompute") if name in change}
    training = replace(RECIPE.training, **settings)
    recipe = Recipe(data=str(tmp_path / "table.csv"), net="gains-for-test", training=training)
    recipe = replace(recipe, **{name: value for name, value in change.items() if name not in settings})
    with pytest.raises(InvalidArgument, match=words):
        list(fit(recipe, tmp_path / "run").steps)
    assert not (tmp_path / "run").exists()


def test_a_run_called_as_its_data_is_called_is_not_taken_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    list(fit(RECIPE, Path("digits")).steps)
    monkeypatch.chdir(tmp_path.parent)
    assert Trained.open(tmp_path / "digits").recipe.data == "digits"
    sessions = tmp_path / "digits" / "sessions.jsonl"
    sessions.write_text(sessions.read_text().replace('"source": "digits"', f'"source": "{tmp_path}/digits"'))
    assert Trained.open(tmp_path / "digits").recipe.data == "digits"  # of a run that was, before
