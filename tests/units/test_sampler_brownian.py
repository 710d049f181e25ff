"""One Brownian path for each sample: the law of its draws on any grid, and what a finer grid sees."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from obverse.model import Gaussian
from obverse.sampler import SDE, Uniform, brownian, sample
from obverse.sampler.brownian import Span

LIKE = torch.zeros(4000, 1)


def spans(count: int, power: float = 2.0) -> list[Span]:
    theta = [math.pi / 2 * (1 - i / count) ** power for i in range(count + 1)]
    return list(pairwise(theta))


def drawn(where: list[Span], like: Tensor = LIKE, seed: int = 0, samples: list[int] | None = None) -> Tensor:
    return torch.stack(list(brownian.draws(where, like, seed=seed, samples=samples))).double()


@pytest.mark.parametrize("power", [0.7, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("count", [1, 2, 13, 64, 65, 150])
def test_draws_on_any_grid_are_independent_and_standard(count: int, power: float) -> None:
    xi = drawn(spans(count, power))[..., 0]
    off = (xi @ xi.T / len(LIKE) - torch.eye(count)) * math.sqrt(len(LIKE))
    assert float(off.abs().max()) < 5.5 * math.sqrt(2)  # of up to 11,325 numbers with a standard error of 1 or sqrt 2
    assert stats.kstest(xi.flatten()[:20000].numpy(), "norm").pvalue > 1e-3


def integral(count: int, weight: Callable[[Tensor], Tensor]) -> Tensor:
    """Of a weight of u = sqrt(theta / (pi/2)) along the path, by the midpoint rule; one for each sample."""
    u = 1 - (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return (weight(u)[:, None] * drawn(spans(count))[..., 0] / math.sqrt(count)).sum(0)


def test_a_finer_grid_sees_the_same_path() -> None:
    def weight(u: Tensor) -> Tensor:
        return (-2 * u).exp()

    fine = integral(600, weight)
    assert float(fine.var()) == pytest.approx((1 - math.exp(-4)) / 4, rel=0.1)  # Ito's isometry
    errors = [float((integral(count, weight) - fine).square().mean().sqrt()) for count in (4, 8, 16, 32, 64, 200)]
    slope = -np.polyfit(np.log([4, 8, 16, 32]), np.log(errors[:4]), 1)[0]
    assert slope > 1.2, errors
    assert max(errors[4:]) < 2e-3, errors


def test_the_error_of_a_stochastic_run_is_a_strong_error() -> None:
    oracle = Gaussian(torch.tensor([0.3]), 0.36, "linear")

    def end(steps: int) -> Tensor:
        grid = Uniform(steps, start=0.9, end=0.1)
        return sample(oracle, (500, 1), solver=SDE(1.0), grid=grid, seed=1, dtype=torch.float64)

    fine, steps = end(1000), [5, 10, 20, 40]
    errors = [float((end(count) - fine).square().mean().sqrt()) for count in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(1, abs=0.2), errors
    assert errors[0] < 0.5 * float(fine.std())


def test_a_draw_where_another_has_lain_is_its_own() -> None:
    where = spans(6)
    again = drawn([*where, where[2], None])
    assert torch.equal(again[:6], drawn(where))
    assert float((again[6] * again[2]).mean().abs()) < 0.08
    assert torch.equal(again[6:], drawn([None, None]))


@pytest.mark.parametrize("count", [9, 90])
def test_a_draw_belongs_to_its_seed_and_sample(count: int) -> None:
    like = torch.zeros(64, 3)
    whole = drawn(spans(count), like)
    for who in ([17], [63, 0, 17, 17]):
        assert torch.equal(drawn(spans(count), like[: len(who)], samples=who), whole[:, who])
    assert not torch.equal(drawn(spans(count), like, seed=1), whole)


def test_states_of_any_precision_see_the_same_draws() -> None:
    single, double = (drawn(spans(7), LIKE.to(dtype)) for dtype in (torch.float32, torch.float64))
    assert float((single - double).abs().max()) < 1e-6


@pytest.mark.parametrize("block", [1, 100, 1000])
@pytest.mark.parametrize("count", [1, 5, 30])
def test_draws_of_large_states_are_the_same_and_held_apart(
    count: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    like, where = torch.zeros(3, 5, 7), spans(count)
    whole = drawn(where, like, seed=4, samples=[7, 0, 3])
    monkeypatch.setattr(brownian, "BLOCK", block)
    for i, draw in enumerate(brownian.draws(where, like, seed=4, samples=[7, 0, 3])):
        assert torch.equal(draw.double(), whole[i])
        own = draw.untyped_storage().nbytes() == like.numel() * 4  # held apart, it can be let go
        assert own or block >= like.numel()
