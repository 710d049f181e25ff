"""Metrics beside real data: floors, intervals, sizes and seeds."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from obverse.ground.noise import normal, permutation
from obverse.metrics import Measured, Metric, against, mmd


def draw(n: int, *data: int, step: int = 0) -> Tensor:
    return normal((n, *data), seed=1, purpose="test", step=step, dtype=torch.float64)


@pytest.fixture(scope="module")
def digits() -> Tensor:
    pixels = load_digits().data
    return torch.tensor(pixels)[permutation(len(pixels), seed=0, purpose="test")]


def test_every_metric_is_listed_with_a_sentence_and_measured_by_default() -> None:
    x = draw(40, 2)
    measured = against(x[:20], x[20:], x[:20], bootstrap=2)
    assert [one.name for one in measured] == list(Metric.members)
    assert all(member.summary().endswith(".") for member in Metric.members.values())
    assert all(Metric.of(one.name)(x[:20], x[20:]) == pytest.approx(one.value, rel=1e-9) for one in measured)


@pytest.mark.parametrize("name", ["frechet", "sliced-w2:projections=64", "energy"])
def test_samples_as_good_as_data_measure_like_data_and_worse_ones_worse(digits: Tensor, name: str) -> None:
    x = digits
    for samples, low, high in ((x[:600], 0.7, 1.5), (x[:600] + 4 * draw(600, 64), 4, math.inf)):
        (found,) = against(samples, x[600:1200], x[1200:], metrics=[name], bootstrap=20)
        assert low < found.ratio < high
        assert found.low < found.value < found.high
        assert found.sizes == (598, 598)  # half of the 1197 real rows


def test_the_floor_of_an_unbiased_metric_is_the_size_of_chance() -> None:
    x = draw(600, 3)
    (found,) = against(x[:200], x[200:400], x[400:], metrics=["mmd"], bootstrap=20)
    chance = [mmd(draw(200, 3, step=i), draw(200, 3, step=100 + i)) for i in range(1, 40)]
    assert found.floor == pytest.approx(float(np.abs(chance).mean()), rel=0.5)
    assert abs(found.ratio) < 5


def test_sizes_are_the_largest_that_real_data_can_have_twice() -> None:
    x = draw(100, 2)
    for samples, held_out, train, n in ((100, 40, None, 20), (100, 40, 60, 40), (100, 40, 20, 30), (15, 40, 60, 15)):
        more = None if train is None else x[:train]
        (found,) = against(x[:samples], x[:held_out], more, metrics=["energy"], bootstrap=2)
        assert found.sizes == (n, n)


def test_a_comparison_is_a_function_of_its_seed() -> None:
    x = draw(90, 2)
    first, again, other = (against(x[:50], x[50:], metrics=["frechet"], bootstrap=10, seed=s)[0] for s in (1, 1, 2))
    assert first == again
    fields = [name.name for name in dataclasses.fields(Measured) if name.name not in ("name", "sizes")]
    assert all(getattr(first, name) != getattr(other, name) for name in fields)


@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_the_interval_holds_the_mean_of_the_metric_at_its_size_about_19_times_in_20(shift: float) -> None:
    n, found = 60, []
    for i in range(50):
        x, y = draw(n, 2, step=2 * i) + shift, draw(n, 2, step=2 * i + 1)
        # y again as train, so that held_out is not halved and all n rows are compared
        found += against(x, y, y, metrics=["energy"], bootstrap=40, seed=i)
    mean = float(np.mean([one.value for one in found]))
    held = np.mean([one.low <= mean <= one.high for one in found])
    assert held >= 0.85
    spread = float(np.std([one.value for one in found]))
    assert 0.7 < np.mean([one.high - one.low for one in found]) / (2 * 1.96 * spread) < 2
