"""Metrics beside real data: floors, intervals, sizes and seeds."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.noise import normal, permutation
from obverse.metrics import Measured, Metric, against, energy_distance, mmd


def draw(n: int, *data: int, step: int = 0) -> Tensor:
    return normal((n, *data), seed=1, purpose="test", step=step, dtype=torch.float64)


@pytest.fixture(scope="module")
def digits() -> Tensor:
    pixels = load_digits().data
    return torch.tensor(pixels)[permutation(len(pixels), seed=0, purpose="test")]


def test_every_metric_is_listed_with_a_sentence_and_measured_by_its_name() -> None:
    x = draw(40, 2)
    measured = against(x[:20], x[20:], x[:20], metrics=list(Metric.members), bootstrap=2)
    assert [one.name for one in measured] == list(Metric.members)
    assert all(member.summary().endswith(".") for member in Metric.members.values())
    assert all(Metric.of(one.name)(x[:20], x[20:]) == pytest.approx(one.value, rel=1e-9) for one in measured)
    assert all(Metric.of(Metric.of(name).spec) == Metric.of(name) for name in Metric.members)


@pytest.mark.parametrize("name", ["frechet", "recall", "precision", "coverage", "energy"])
def test_an_interval_holds_nothing_that_the_metric_cannot_be(name: str) -> None:
    x = draw(64, 2).exp() ** 2
    for step in range(5):
        (found,) = against(x[:16], x[16:32], x[32:], metrics=[name], bootstrap=30, seed=step)
        assert 0 <= found.low <= found.value <= found.high <= (math.inf if name in ("frechet", "energy") else 1)
    assert against(x[:16], x[16:32], x[32:], metrics=["mmd"], bootstrap=30)[0].low < 0


@pytest.mark.parametrize("name", ["precision", "recall", "density", "coverage"])
def test_a_share_of_samples_as_good_as_data_is_that_of_data_and_of_worse_ones_less(digits: Tensor, name: str) -> None:
    x = digits
    worse = x[:600].mean(0) + 0.3 * (x[:600] - x[:600].mean(0)) if name in ("recall", "coverage") else None
    for samples, low, high in ((x[:600], 0.9, 1.1), (x[:600] + 8 * draw(600, 64) if worse is None else worse, -1, 0.6)):
        (found,) = against(samples, x[600:1200], x[1200:], metrics=[name], bootstrap=20)
        assert low < found.ratio < high
        assert found.low <= found.value <= found.high
        assert (found.better, found.sizes) == ("higher", (598, 598))
        assert "higher is better" in str(found)


@pytest.mark.parametrize("name", ["frechet", "sliced-w2:projections=64", "w2:rows=200", "energy"])
def test_samples_as_good_as_data_measure_like_data_and_worse_ones_worse(digits: Tensor, name: str) -> None:
    x = digits
    for samples, low, high in ((x[:600], 0.7, 1.5), (x[:600] + 4 * draw(600, 64), 4, math.inf)):
        low = 1.3 if name.startswith("w2") and low == 4 else low  # W2 of 200 rows in 64 dimensions is mostly their own
        (found,) = against(samples, x[600:1200], x[1200:], metrics=[name], bootstrap=20)
        assert low < found.ratio < high
        assert found.low < found.value < found.high
        assert found.sizes == ((200, 200) if "rows" in name else (598, 598))  # half of the 1197 real rows


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


def test_a_metric_in_the_place_of_data_is_refused() -> None:
    x = torch.zeros(20, 1)
    with pytest.raises(InvalidArgument, match="train is a floating-point tensor, got str"):
        against(x, x, "w2")  # type: ignore[arg-type]


def test_a_metric_that_takes_fewer_rows_is_given_fewer() -> None:
    x = draw(100, 2)
    few, all_of_them = against(x[:50], x[:50], x[50:], metrics=["w2:rows=30", "w2"], bootstrap=2)
    assert few.sizes == (30, 30) and all_of_them.sizes == (50, 50)
    assert all_of_them.value < 1e-6 < few.value  # the same 50 rows; two choices of 30 of them
    with pytest.raises(InvalidArgument, match="density needs 12 rows"):
        against(x[:11], x[:50], x[50:], metrics=["density"])
    assert against(x[:12], x[:50], x[50:], metrics=["density"], bootstrap=2)[0].sizes == (12, 12)
    with pytest.raises(InvalidArgument, match="rows >= 2"):
        Metric.of("w2:rows=1")


def test_a_comparison_is_a_function_of_its_seed() -> None:
    x = draw(90, 2)
    first, again, other = (against(x[:50] + 1, x[50:], metrics=["frechet"], bootstrap=10, seed=s)[0] for s in (1, 1, 2))
    assert first == again
    fields = [name.name for name in dataclasses.fields(Measured) if name.name not in ("name", "sizes", "better")]
    assert all(getattr(first, name) != getattr(other, name) for name in fields)


NAMES = [*(name for name in Metric.members if name not in ("sliced-w2", "mmd")), "sliced-w2:projections=32"]


@pytest.mark.parametrize("name", NAMES)
def test_the_interval_holds_the_mean_of_the_metric_at_its_size_about_19_times_in_20(name: str) -> None:
    n, found = 60, []
    for i in range(50):
        x, y = draw(n, 2, step=2 * i) + 0.6, draw(n, 2, step=2 * i + 1)
        # y again as train, so that held_out is not halved and all n rows are compared
        found += against(x, y, y, metrics=[name], bootstrap=40, seed=i)
    mean = float(np.mean([one.value for one in found]))
    assert np.mean([one.low <= mean <= one.high for one in found]) >= 0.85
    spread = float(np.std([one.value for one in found]))
    assert 0.7 < np.mean([one.high - one.low for one in found]) / (2 * 1.96 * spread) < 1.5


@pytest.mark.parametrize("name", ["energy", "frechet", "precision", "coverage"])
def test_between_equal_distributions_the_interval_is_wide_rather_than_narrow(name: str) -> None:
    found = [
        against(draw(60, 2, step=2 * i), y, y, metrics=[name], bootstrap=40, seed=i)[0]
        for i in range(50)
        for y in (draw(60, 2, step=2 * i + 1),)
    ]
    mean, spread = (float(f([one.value for one in found])) for f in (np.mean, np.std))
    assert np.mean([one.low <= mean <= one.high for one in found]) >= 0.85
    assert 0.8 < np.mean([one.high - one.low for one in found]) / (2 * 1.96 * spread) < 2.2


def test_the_spread_of_the_floor_is_that_of_fresh_real_sets() -> None:
    x = draw(1000, 3)
    (found,) = against(x[:50], x[50:100], x[100:], metrics=["energy"], bootstrap=2)
    chance = [energy_distance(draw(50, 3, step=i), draw(50, 3, step=100 + i)) for i in range(1, 60)]
    assert found.floor_spread == pytest.approx(float(np.std(chance)), rel=0.5)
    assert f"± {found.floor_spread:.2g}" in str(found)
