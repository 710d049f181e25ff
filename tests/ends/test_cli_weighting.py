"""`obverse inspect weighting`, as a user runs it; objectives with something to learn, trained, resumed and sampled."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from obverse.cli import main
from obverse.recipes import Recipe, Trained, fit
from obverse.train import Training

pytestmark = pytest.mark.usefixtures("elsewhere")
Told = Callable[..., dict[str, Any]]


def test_flow_matching_and_v_with_cosine_are_said_to_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "weighting", "flow-matching", "schedule=cosine,face=v", "--out", "two"]) == 0
    out = capsys.readouterr().out
    assert "A and B are the same objective: the first is 1.5708 (pi/2) times the second" in out
    assert Path("two.weighting.svg").read_text().startswith("<svg")
    assert out.count("*") > 50  # both curves, drawn on each other


def test_the_numbers_of_a_script_are_those_of_the_table(told: Told) -> None:
    values = told(["inspect", "weighting", "sd3", "edm", "flow-matching"])
    assert values["floors"][2] == pytest.approx(math.pi / 2)
    at = values["logsnr"].index(0.0)
    assert values["weights"]["flow-matching"][at] == pytest.approx(0.5 / (math.pi / 2))
    assert [(one["first"], one["second"], one["same"]) for one in values["compared"]] == [
        ("sd3", "edm", False), ("sd3", "flow-matching", False)
    ]  # fmt: skip


def test_a_recipe_whose_loss_is_infinite_is_shown_with_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "weighting", "flow-matching-vp", "sd3"]) == 0
    out = capsys.readouterr().out
    assert "times=cut:base=uniform,low=0.001" in out and "cannot be compared" in out


SMALL = ["--net", "unet:width=8", "--batch", "8", "--quiet"]


def trained(folder: str, steps: int | None = None, resume: bool = False) -> dict[str, Tensor]:
    """All tensors of the newest checkpoint of a run of six steps, or of its first ones."""
    training = Training(steps=6, batch=8, save_every=3, sample_every=0)
    learns = {"weighting": "learned:base=v", "error": "pseudo-huber:c=1", "times": "adaptive:bins=8"}
    run = fit(Recipe(data="digits", net="unet:width=8", training=training, **learns), folder, resume=resume)  # type: ignore[arg-type]
    for progress in run.steps:
        if progress.step == steps:
            progress.save()
            run.steps.close()
            break
    found = run.run.newest()
    assert found is not None
    return {f"{group} {name}": value for group, named in found.tensors.items() for name, value in named.items()}


def test_what_an_objective_learns_is_saved_and_goes_on_to_the_last_bit() -> None:
    whole, part = trained("whole"), trained("part", steps=3)
    for name in ("net log_variance.bias", "ema log_variance.weight", "objective times"):
        assert bool((whole[name] != 0).any()) and not torch.equal(whole[name], part[name]), name
    again = trained("part", resume=True)
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    weights = Trained.open("whole").model.net.state_dict()
    assert torch.equal(weights["log_variance.bias"], whole["ema log_variance.bias"])
    assert main(["sample", "whole", "-n", "2", "--steps", "2", "--quiet", "--out", "drawn"]) == 0
    assert Path("drawn.npz").exists()


def test_the_weight_of_a_run_is_that_of_its_recipe(told: Told) -> None:
    argv = ["train", "digits", "--times", "logit-normal", "--steps", "1", "--out", "run", *SMALL]
    assert main(argv) == 0
    assert told(["inspect", "weighting", "run", "sd3"])["compared"][0]["same"]


def test_a_network_that_sees_its_own_estimate_is_trained_and_sampled() -> None:
    assert main(["train", "digits", "--recall", "0.5", "--steps", "2", "--out", "run", *SMALL]) == 0
    argv = ["sample", "run", "-n", "3", "--steps", "2", "--quiet"]
    assert main([*argv, "--out", "plain"]) == 0
    assert main([*argv, "--guidance", "2", "--out", "guided"]) == 0
    assert Path("plain.npz").exists() and Path("guided.npz").exists()
    assert main(["inspect", "run"]) == 0
    assert main(["train", "digits", "--recall", "1.5", "--out", "other", *SMALL]) == 2


def test_inspecting_a_run_says_all_that_wrapping_its_network_takes(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--precondition", "circle", "--recall", "0.5", "--error", "huber", "--no-conditional", "--steps", "1"]
    assert main(["train", "digits", *argv, "--out", "run", *SMALL]) == 0
    capsys.readouterr()
    assert main(["inspect", "run"]) == 0
    text = capsys.readouterr().out
    assert all(
        word in text for word in ("precondition circle", "recall 0.5", "error huber", "none of which it is told")
    )


def test_a_loss_that_is_infinite_is_refused_before_anything_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--weighting", "elbo", "--out", "run", *SMALL]) == 2
    assert "times=cut:base=stratified,low=0.001" in capsys.readouterr().err and not Path("run").exists()
    argv = ["--weighting", "elbo", "--times", "cut:base=stratified,low=0.001", "--steps", "1"]
    assert main(["train", "digits", *argv, "--out", "run", *SMALL]) == 0
