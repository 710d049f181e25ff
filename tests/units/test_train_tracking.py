"""Trackers are told what the run writes down, and nothing that they do reaches it."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accelerate.tracking
import numpy as np
import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from PIL import Image

from obverse.ground.errors import MissingExtra, UnknownName
from obverse.train import Run
from obverse.train.tracking import Tracking, trackers


class Heard(GeneralTracker):
    """Writes down what it is told; fails from the call that it was told to fail at."""

    name, requires_logging_directory = "heard", False
    told: list[tuple[str, Any, int | None]] = []  # noqa: RUF012
    fails: str = ""

    def __init__(self, project: str) -> None:
        super().__init__()

    @property
    def tracker(self) -> None:
        return None

    def _hear(self, what: str, values: Any, step: int | None = None) -> None:
        Heard.told.append((what, values, step))
        if what == Heard.fails:
            raise OSError("nobody listens")

    def start(self) -> None:
        self._hear("start", None)

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self._hear("configuration", values)

    def log(self, values: dict[str, Any], step: int | None = None) -> None:  # type: ignore[override]
        self._hear("numbers", values, step)

    def log_images(self, values: dict[str, Any], step: int | None = None) -> None:
        self._hear("pictures", values, step)

    def finish(self) -> None:
        self._hear("finish", None)


@pytest.fixture(autouse=True)
def _heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "heard", Heard)
    Heard.told, Heard.fails = [], ""
    yield
    Heard.told, Heard.fails = [], ""


def picture(run: Run, step: int) -> Path:
    (run.folder / "samples").mkdir(exist_ok=True)
    path = run.folder / f"samples/step-{step:08d}.png"
    Image.fromarray(np.full((4, 6), 7 * step, np.uint8)).save(path)
    return path


def follow(run: Run, **words: Any) -> None:
    """A training of three lines and a picture."""
    with Tracking(run, "heard", **words) as tracking:
        for step in (5, 10, 15):
            run.log(step, {"loss": 1 / step, "loss_by_logsnr": [[-3.0, 0.25, 7], [1.0, 0.5, 9]]})
            run.log(step, {"seconds_per_step": 0.1}, name="timing.jsonl")
            tracking.follow()
            tracking.show(picture(run, step), step)


def told(what: str) -> list[tuple[Any, int | None]]:
    return [(values, step) for kind, values, step in Heard.told if kind == what]


def test_a_tracker_is_told_every_line_once_and_shown_every_picture(tmp_path: Path) -> None:
    follow(Run.create(tmp_path / "run", {}), shows={"data": "digits", "training": {"lr": 0.1, "ema": [1, 2]}})
    assert told("configuration") == [({"data": "digits", "training.lr": 0.1, "training.ema": "[1, 2]"}, None)]
    lines = [line for line in told("numbers") if "loss" in line[0]]
    bins = {"loss_by_logsnr/-3": 0.25, "loss_by_logsnr/1": 0.5}
    assert lines == [({"loss": 1 / step, **bins}, step) for step in (5, 10, 15)]
    assert [line for line in told("numbers") if "loss" not in line[0]] == [
        ({"timing/seconds_per_step": 0.1}, step) for step in (5, 10, 15)
    ]
    for (values, step), at in zip(told("pictures"), (5, 10, 15), strict=True):
        (shown,) = values.values()
        assert step == at and shown.shape == (1, 4, 6, 3) and (shown == 7 * at).all()
    assert Heard.told[-1][0] == "finish"


def test_a_run_that_goes_on_does_not_tell_its_past_again(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {})
    run.log(4, {"loss": 9.0})
    follow(run, first=4)
    assert [step for _, step in told("numbers")] == [5, 5, 10, 10, 15, 15]


@pytest.mark.parametrize("fails", ["start", "configuration", "numbers", "pictures", "finish"])
def test_a_tracker_that_fails_is_left_behind_with_one_warning(tmp_path: Path, fails: str) -> None:
    Heard.fails = fails
    with pytest.warns(UserWarning, match="goes on without .*heard: nobody listens") as found:
        follow(run := Run.create(tmp_path / "run", {}), shows={"a": 1})
    assert len(found) == 1 and len(run.metrics()) == 3
    assert len(told(fails)) == 1
    assert bool(told("finish")) == (fails in ("pictures", "finish"))


def test_trackers_that_do_not_exist_or_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="did you mean 'tensorboard'"):
        trackers("heard+tensorbord")
    monkeypatch.setattr(accelerate.tracking, "_available_trackers", [])
    with pytest.raises(MissingExtra, match=r"pip install 'obverse\[tensorboard\]'"):
        trackers("tensorboard")
    with pytest.raises(MissingExtra, match="pip install comet-ml"):
        trackers("comet_ml")
    assert trackers("heard+heard") == ("heard",)


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="needs tensorboard")
def test_tensorboard_holds_the_numbers_and_the_pictures(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run.create(tmp_path / "run", {})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with Tracking(run, "tensorboard", shows={"data": "digits", "length": None}) as tracking:
            for step in (5, 10):
                run.log(step, {"loss": 1 / step, "loss_by_logsnr": [[-3.0, 0.25, 7]]})
                tracking.follow()
                tracking.show(picture(run, step), step)
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    scalars = [(scalar.step, scalar.value) for scalar in events.Scalars("loss")]
    assert scalars == [(5, pytest.approx(0.2)), (10, pytest.approx(0.1))]
    assert [scalar.value for scalar in events.Scalars("loss_by_logsnr/-3")] == [0.25, 0.25]
    shown = [(image.step, image.width, image.height) for image in events.Images("samples")]
    assert shown == [(5, 6, 4), (10, 6, 4)]
    assert json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[0])["loss"] == 0.2
