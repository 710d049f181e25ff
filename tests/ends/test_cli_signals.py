"""Sounds come out as sounds, clouds as clouds."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from obverse.cli import main
from obverse.recipes import Recipe, fit
from obverse.train import Training

pytestmark = pytest.mark.usefixtures("elsewhere")
FAST = ["--steps", "2", "--batch", "8", "--sample-every", "0", "--quiet"]
SMALL = ["--net", "unet:width=8"]


def sounds(rate: int, channels: int) -> None:
    Path("sounds").mkdir()
    random = np.random.default_rng(0)
    for number in range(12):
        with wave.open(f"sounds/{number}.wav", "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(random.integers(-30000, 30000, (64, channels)).astype("<i2").tobytes())


@pytest.mark.parametrize("channels", [1, 2])
def test_samples_of_sounds_are_sounds_of_their_rate(channels: int) -> None:
    sounds(11025, channels)
    assert main(["train", "sounds", "--out", "run", *SMALL, *FAST]) == 0
    assert main(["sample", "run", "-n", "70", "--first", "5", "--steps", "2", "--film", "none", "--out", "drawn"]) == 0
    with np.load("drawn.npz") as arrays:
        x, numbers = arrays["x"], arrays["sample"]
    assert len(list(Path().glob("drawn-*.wav"))) == 64 and x.shape == (70, channels, 64)
    for row in (0, 1, 63):
        with wave.open(f"drawn-{numbers[row]}.wav") as file:
            assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (11025, channels, 64)
            heard = np.frombuffer(file.readframes(64), "<i2").reshape(64, channels).T / 2**15
        assert np.abs(heard - x[row].clip(-1, 1)).max() < 1e-4
    assert np.abs(x).max() > 1  # and was cut, not wrapped around


def test_a_run_that_does_not_know_its_rate_goes_on_and_draws_numbers() -> None:
    sounds(8000, 1)
    recipe = Recipe(data="sounds", net="unet:width=8", training=Training(steps=3, batch=8, save_every=1))
    steps = fit(recipe, "run").steps
    next(steps), next(steps)
    steps.close()
    config = json.loads(Path("run/config.json").read_text())
    assert config["data"].pop("rate") == 8000
    Path("run/config.json").write_text(json.dumps(config))
    assert [step.step for step in fit(recipe, "run", resume=True).steps] == [2, 3]
    assert main(["sample", "run", "-n", "2", "--steps", "2", "--film", "none", "--out", "drawn"]) == 0
    assert Path("drawn.npz").exists() and not list(Path().glob("*.wav"))


def test_samples_of_point_clouds_have_pictures_films_and_a_report() -> None:
    Path("clouds").mkdir()
    random = np.random.default_rng(0)
    for number in range(30):
        np.save(f"clouds/{number}.npy", random.normal(size=(40, 3)))
    each = ["--steps", "2", "--batch", "8", "--sample-every", "1", "--quiet", "--holdout", "0.3"]
    assert main(["train", "clouds", "--points", "32", "--out", "run", *SMALL, *each]) == 0
    assert Image.open("run/samples/step-00000002.png").size == (8 * 96 + 7 * 2,) * 2
    assert main(["sample", "run", "-n", "4", "--steps", "2", "--out", "drawn"]) == 0
    for name in ("drawn.png", "drawn.gif"):
        with Image.open(name) as image:
            assert image.size == (2 * 96 + 2,) * 2
    with np.load("drawn.npz") as arrays:
        assert arrays["x"].shape == (4, 3, 32)
    assert main(["report", "run", "--steps", "2", "--quiet"]) == 0
