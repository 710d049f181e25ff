"""The numbers of a training: refused when wrong, and the rate they make."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest
import torch

from obverse.ground.errors import InvalidArgument
from obverse.train import Training


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("steps", 10.5),
        ("batch", True),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("clip", -1.0),
        ("clip", float("inf")),
        ("warmup", -1),
        ("decay", "linear"),
        ("precision", "fp8"),
        ("betas", (0.9, 1.0)),
        ("betas", 0.9),
        ("ema", "long"),
        ("ema", (10.0, -1.0)),
        ("ema", (10.0, 10.0)),
        ("ema", ()),
        ("ema_power", (0.05, 0.3)),
        ("ema_power", (0.1, 0.1)),
        ("ema_power", 0.1),
        ("snapshot_every", -1),
        ("cooldown", 0.0),
        ("optimizer", "sgd"),
        ("recompute", 1),
        ("compile", "yes"),
        ("ema_rampup", 1.5),
        ("accumulate", 3),
        ("log_every", 0),
        ("keep", 0),
        ("seed", 1.5),
    ],
)
def test_a_refusal_names_the_field_and_its_value(field: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=field) as refusal:
        Training(**{field: value})
    assert repr(value) in str(refusal.value)


def test_settings_survive_json() -> None:
    settings = Training(steps=7, betas=(0.8, 0.95), precision="bf16", ema=(10.0, 2.0), ema_power=(0.1,))
    assert Training(**json.loads(json.dumps(asdict(settings)))) == settings


def test_settings_import_no_torch() -> None:
    code = "import sys, obverse.train.settings, obverse.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_rate_is_that_of_torchs_schedulers() -> None:
    settings = Training(steps=200, warmup=20, lr=0.3)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / 20, total_iters=19)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=180)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[20])
    for step in range(200):
        assert settings.lr_at(step) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        scheduler.step()


def test_a_cooling_rate_is_that_of_torchs_schedulers() -> None:
    settings = Training(steps=200, warmup=0, lr=0.3, decay="cooldown", cooldown=0.25)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    flat = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=150)
    fall = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=50)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [flat, fall], milestones=[150])
    for step in range(200):
        assert settings.lr_at(step) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        scheduler.step()


def test_an_inverse_square_root_halves_when_the_steps_are_four_times_as_many() -> None:
    settings = Training(steps=5000, warmup=100, lr=0.3, decay="inverse-sqrt")
    assert settings.lr_at(99) == pytest.approx(0.3)
    assert settings.lr_at(399) == pytest.approx(0.15)
    assert settings.lr_at(1599) == pytest.approx(0.075)


@pytest.mark.parametrize("decay", ["cosine", "constant", "cooldown", "inverse-sqrt"])
def test_no_step_is_taken_at_rate_zero_or_above_the_peak(decay: Any) -> None:
    for settings in (Training(steps=steps, decay=decay) for steps in (1, 2, 30, 5000)):
        assert all(0 < settings.lr_at(step) <= settings.lr for step in range(settings.steps))


def test_warmup_takes_at_most_a_tenth_of_the_steps() -> None:
    assert Training(steps=50, warmup=1000, decay="constant", lr=0.1).lr_at(5) == 0.1


def test_a_constant_rate_stays() -> None:
    settings = Training(steps=1000, warmup=0, decay="constant", lr=0.1)
    assert settings.lr_at(0) == settings.lr_at(999) == 0.1
