"""Weightings, time laws, couplings that are not what they claim are rejected, by the laws that they break."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.families import Family
from obverse.objective import VMSE, Coupling, Weighting
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
    assert set(broken(Wrong)) == {law}


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

    assert set(broken(Wrong)) == {"its density is that of its draws"}


def test_a_time_law_whose_draws_depend_on_the_batch_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(UniformTimes, name="wrong"):
        def uniforms(self, count: int, *, seed: int, step: int, samples: Sequence[int] | Tensor | None) -> Tensor:
            shift = 0.1 * step
            return ((torch.arange(count, dtype=torch.float64) + 0.5) / count + shift) % 1

    assert set(broken(Wrong)) == {"the draw of row i is its own"}


def test_a_coupling_that_resamples_with_replacement_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Coupling, name="wrong"):
        def pair(self, x: Tensor, eps: Tensor) -> Tensor:
            return eps[torch.cdist(x.flatten(1), eps.flatten(1)).argmin(1)]

    found = broken(Wrong)
    assert set(found) == {"it rearranges the source, row by row, and changes nothing else"}
    assert "lost or doubled" in next(iter(found.values()))


def test_a_coupling_that_draws_from_global_state_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Coupling, name="wrong"):
        def pair(self, x: Tensor, eps: Tensor) -> Tensor:
            return eps[torch.randperm(len(eps))]

    torch.manual_seed(0)
    assert set(broken(Wrong)) == {"the same batch is paired the same way"}
