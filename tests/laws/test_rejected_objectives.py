"""Weightings and time laws that are not what they claim are rejected, by the laws that they break."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from obverse.ground.families import Family
from obverse.objective import VMSE, Distance, Weighting
from obverse.objective import Uniform as UniformTimes
from obverse.objective.times import OverTime
from obverse.path import Level, Prediction

Broken = Callable[[Family | type[Family]], dict[str, str]]


def test_a_weighting_that_breaks_the_gain_law_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(VMSE, name="wrong"):
        def on(self, face: Prediction, level: Level, density: Tensor) -> Tensor:
            return self(torch.as_tensor(level.logsnr))

    assert set(broken(Wrong)) == {
        "from face to face it follows the gain",
        "the loss of a network is the same whatever face it predicts",
    }


def test_a_weighting_that_is_not_the_function_it_says_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(VMSE, name="wrong"):
        def __call__(self, logsnr: Tensor) -> Tensor:
            return 2 + (-logsnr).exp()

    law = "on the noise it is the function of log-SNR that it says, per draw or per unit of log-SNR"
    assert set(broken(Wrong)) == {law, "its share of the loss is what it says on the noise, draw by draw"}


def test_a_weighting_whose_share_of_the_loss_is_another_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(VMSE, name="wrong"):
        def over(self, logsnr: Tensor, density: Tensor) -> Tensor:
            return self(logsnr)

    assert set(broken(Wrong)) == {"its share of the loss is what it says on the noise, draw by draw"}


def test_a_negative_weighting_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Weighting, name="wrong"):
        def __call__(self, logsnr: Tensor) -> Tensor:
            return logsnr.sin()

    assert set(broken(Wrong)) == {"it is finite and never negative, on any face"}


def test_a_time_law_with_the_density_of_another_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(OverTime, name="wrong"):
        def quantile(self, u: Tensor) -> Tensor:
            return u**2

        def pdf(self, t: Tensor) -> Tensor:
            return torch.ones_like(t)

    assert set(broken(Wrong)) == {"its density is that of its draws", "its density is the slope of its quantiles"}


def test_a_time_law_whose_distribution_function_is_another_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(UniformTimes, name="wrong"):
        def cdf(self, t: Tensor) -> Tensor:
            return t**2

    assert set(broken(Wrong)) == {"its distribution function undoes its quantiles"}


def test_a_time_law_that_means_more_than_it_draws_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(UniformTimes, name="wrong"):
        def ratio(self, level: Level) -> Tensor:
            return 1 + torch.as_tensor(level.t)

    assert set(broken(Wrong)) == {"what its draws stand for is a law too"}


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        (lambda square: square / 2, "it is the square of small errors, and never more than it"),
        (lambda square: square * (1 + square), "it is the square of small errors, and never more than it"),
        (lambda square: square.clamp(max=1), "it is the square of small errors, and never more than it"),
        (
            lambda square: square * (1 - 0.3 * (-(square.log() ** 2)).exp()),
            "its slope never rises, so that outliers pull no more than others",
        ),
    ],
)
def test_a_distance_that_is_not_one_is_rejected(broken: Broken, wrong: Callable[[Tensor], Tensor], law: str) -> None:
    class Wrong(Distance, name="wrong"):
        def __call__(self, square: Tensor) -> Tensor:
            return wrong(square)

    try:
        assert law in broken(Wrong)
    finally:
        Distance.members.pop("wrong")


def test_a_time_law_whose_draws_depend_on_the_batch_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(UniformTimes, name="wrong"):
        def uniforms(self, count: int, *, seed: int, step: int, samples: Sequence[int] | Tensor | None) -> Tensor:
            shift = 0.1 * step
            return ((torch.arange(count, dtype=torch.float64) + 0.5) / count + shift) % 1

    assert set(broken(Wrong)) == {"the draw of row i is its own"}
