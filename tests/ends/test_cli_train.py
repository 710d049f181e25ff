"""What a training shows along the way: its flip-book, its trackers, its bar."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from PIL import Image

from obverse.cli import main
from obverse.cli.console import Bar, Talk
from obverse.cli.training import Train
from obverse.objective import UnboundedLoss
from obverse.recipes import Recipe, fit
from obverse.train import Training

pytestmark = pytest.mark.usefixtures("elsewhere")
Told = Callable[..., dict[str, Any]]
TRAIN = ["--net", "unet:width=8", "--batch", "8", "--log-every", "2", "--quiet"]


def bits(run: str) -> dict[str, bytes]:
    """Every file that is a function of the recipe."""
    files = ["metrics.jsonl", "samples/*", "checkpoints/*/*.safetensors"]
    return {str(path.relative_to(run)): path.read_bytes() for name in files for path in Path(run).glob(name)}


def test_a_training_ends_with_a_flip_book_of_its_sample_grids(told: Told) -> None:
    argv = ["train", "digits", *TRAIN, "--steps", "6", "--sample-every", "2"]
    assert main([*argv, "--out", "run", "--until", "4"]) == 0
    assert not Path("run/samples/flip.gif").exists()
    assert main([*argv, "--out", "run", "--resume"]) == 0
    with Image.open("run/samples/flip.gif") as book:
        assert book.n_frames == 3
        for number, step in enumerate((2, 4, 6)):
            book.seek(number)
            page = Image.open(f"run/samples/step-{step:08d}.png")
            assert np.abs(np.asarray(book.convert("L"), int) - np.asarray(page.convert("L"), int)).max() <= 1
    assert told(["reproduce", "run", "--quiet"])["parts"]["samples/flip.gif"] == ""


def test_a_step_that_overflowed_leaves_no_mark_on_the_loss_that_is_shown(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflowing(*args: Any, **kwargs: Any) -> Any:
        fitting = fit(*args, **kwargs)
        return fitting._replace(steps=(s._replace(loss=float("nan")) if s.step == 2 else s for s in fitting.steps))

    monkeypatch.setattr("obverse.recipes.fit", overflowing)
    assert told(["train", "two-moons", "--steps", "3", "--batch", "8", "--quiet", "--out", "run"])["loss"] > 0


def test_a_report_binds_the_flip_book_of_a_run_that_never_ended() -> None:
    argv = ["train", "digits", *TRAIN, "--steps", "90", "--sample-every", "2", "--out", "run", "--until", "4"]
    assert main(argv) == 0
    assert main(["report", "run", "--steps", "2", "--quiet"]) == 0
    with Image.open("run/samples/flip.gif") as book:
        assert book.n_frames == 2


def test_no_flip_book_is_made_of_one_picture_or_none() -> None:
    assert main(["train", "digits", *TRAIN, "--steps", "2", "--sample-every", "2", "--out", "one"]) == 0
    assert main(["train", "digits", *TRAIN, "--steps", "2", "--sample-every", "0", "--out", "none"]) == 0
    assert not list(Path().glob("*/samples/flip.gif"))


class Rude(GeneralTracker):
    """Draws from everybody's random numbers, changes what it is given, and breaks down on the way."""

    name, requires_logging_directory = "rude", False
    told: list[Any] = []  # noqa: RUF012

    def __init__(self, project: str) -> None:
        super().__init__()

    @property
    def tracker(self) -> None:
        return None

    def log(self, values: dict[str, Any], step: int | None = None) -> None:  # type: ignore[override]
        Rude.told.append((step, dict(values)))
        torch.rand(7), np.random.rand(3)
        values.clear()
        if step == 4:
            raise RuntimeError("out of order")

    def log_images(self, values: dict[str, Any], step: int | None = None) -> None:
        Rude.told.append((step, set(values)))
        torch.manual_seed(0)


def test_a_tracker_is_told_what_is_written_and_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "rude", Rude)
    argv = ["train", "digits", *TRAIN, "--steps", "6", "--sample-every", "2"]
    assert main([*argv, "--out", "alone"]) == 0
    capsys.readouterr()
    assert main([*argv, "--out", "watched", "--track", "rude"]) == 0
    assert capsys.readouterr().err == "obverse train: warning: The training goes on without rude: out of order\n"
    assert bits("alone") == bits("watched")
    line = json.loads(Path("alone/metrics.jsonl").read_text().splitlines()[0])
    assert Rude.told[0][0] == 2 and Rude.told[0][1]["loss"] == line["loss"]
    assert [step for step, _ in Rude.told] == [2, 2, 2, 4]  # numbers, times, a picture; numbers, and no more


def test_a_tracker_that_is_not_there_is_named_before_anything_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--track", "wandbee", "--out", "run"]) == 2
    assert "'wandb'" in capsys.readouterr().err and not Path("run").exists()


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="needs tensorboard")
def test_tensorboard_is_told_in_a_folder_of_the_run() -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    argv = ["train", "digits", *TRAIN, "--steps", "4", "--sample-every", "2", "--out", "run", "--track", "tensorboard"]
    ran = subprocess.run([sys.executable, "-m", "obverse", *argv], capture_output=True, text=True, env={**os.environ})
    assert ran.returncode == 0 and "goes on without" not in ran.stderr
    events = EventAccumulator("run/tensorboard").Reload()
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    want = [(line["step"], pytest.approx(line["loss"])) for line in lines]
    assert [(scalar.step, scalar.value) for scalar in events.Scalars("loss")] == want
    assert [image.step for image in events.Images("samples")] == [2, 4]


def test_a_bar_says_how_fast_it_goes_and_when_it_will_be_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with Bar(Talk(), "training", 100) as bar:
        now[0] = 10.0
        bar.to(25, {"loss": 0.5, "samples_per_second": 1234.0, "skipped": 3})
    said = capsys.readouterr().out
    assert "training 25/100" in said and "samples/s 1234" in said and "skipped 3" in said and "30 s left" in said


def test_a_bar_on_a_terminal_ends_where_the_work_did(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", screen)
    with Bar(Talk(), "training", 5000) as bar:
        for done in range(4321):
            bar.to(done, {"loss": 0.5})
    assert "4320/5000" in screen.getvalue() and screen.getvalue().count("loss 0.5") < 1000


PLANE = ["--net", "mlp:width=8,depth=1", "--batch", "16", "--log-every", "2"]


def test_a_warning_is_one_clean_line_and_that_of_python_outside_of_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["train", "8-gaussians", *PLANE, "--predicts", "noise", "--steps", "2", "--quiet", "--sample-every", "0"]
    assert main([*argv, "--out", "run"]) == 0
    (line,) = capsys.readouterr().err.splitlines()  # once, though it is met at two places
    assert line.startswith("obverse train: warning: Towards the source end of linear")
    assert ".py" not in line and "UnboundedLoss" not in line
    with pytest.warns(UnboundedLoss):
        fit(Recipe(data="8-gaussians", predicts="noise", training=Training(steps=2, batch=16)), tmp_path / "api")


def test_warnings_can_be_made_errors_on_the_command_line_too() -> None:
    words = [sys.executable, "-W", "error::UserWarning", "-m", "obverse", "train", "8-gaussians", *PLANE]
    done = subprocess.run([*words, "--predicts", "noise", "--steps", "2"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "UnboundedLoss" in done.stderr


def test_a_named_set_whose_law_is_known_gets_its_floor_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for name, known in (("two-moons", True), ("wine", False)):
        assert main(["train", name, *PLANE, "--steps", "2", "--sample-every", "0", "--out", name]) == 0
        (line,) = map(json.loads, Path(f"{name}/metrics.jsonl").read_text().splitlines())
        assert ("exact floor" in capsys.readouterr().out) == ("floor_by_logsnr" in line) == known


@pytest.mark.parametrize("columns", [60, 100])
def test_help_is_wrapped_to_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    about = capsys.readouterr().out.split("\u256d")[0]
    assert 0.8 * columns < max(map(len, about.splitlines())) <= columns
    assert "Train a model on DATA and keep everything about it in one folder." in " ".join(about.split())


def test_a_recipe_as_options_is_the_recipe() -> None:
    recipe = Recipe(data="wine", drop=0.2, training=Training(steps=7))
    options = Train.of(recipe, Talk(quiet=True))
    assert options.described == recipe and options.quiet and not options.json
    assert options.folder == Path("runs/wine") and replace(options, out=Path("here")).folder == Path("here")
    options.folder.mkdir(parents=True)
    assert options.folder == Path("runs/wine-2")


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(argv) == 2
    return capsys.readouterr().err


def test_a_run_that_is_at_its_end_says_no_loss(told: Told) -> None:
    argv = ["train", "two-moons", *PLANE, "--steps", "2", "--sample-every", "0", "--out", "run"]
    for more, known in (([], True), (["--resume"], False)):
        said = told([*argv, *more])
        assert said["steps"] == 2 and (said["loss"] is not None) == known


def test_a_count_below_nothing_is_refused_by_its_name_before_anything_is_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("threads", "keep-best"):
        said = refused(["train", "two-moons", f"--{name}", "-1", "--steps", "2"], capsys)
        assert f"{name.replace('-', '_')} is a whole number >= 0, got -1" in said
    assert not Path("runs").exists()


def test_what_is_no_run_is_not_gone_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'gone' holds no run to go on with: no config" in refused(["train", "--resume", "--out", "gone"], capsys)
    assert not Path("gone").exists()
    assert "--resume goes on with the run in --out" in refused(["train", "digits", "--resume"], capsys)
    Path("run").mkdir()
    for text, words in (("{", "is damaged"), ("[]", "is damaged"), ('{"net": 1}', "names no recipe")):
        Path("run/config.json").write_text(text)
        for argv in (["train", "--resume", "--out", "run"], ["reproduce", "run", "--step", "3"]):
            assert words in refused(argv, capsys)
    Path("file").touch()
    assert "file is not a folder" in refused(["train", "two-moons", "--out", "file"], capsys)
