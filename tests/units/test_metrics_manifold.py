"""Precision, recall, density and coverage against scikit-learn and against what chance says of equal distributions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from obverse.ground.errors import InvalidArgument, NonFinite
from obverse.ground.noise import normal
from obverse.metrics import coverage, density, precision, recall, sets

ALL: list[Callable[..., float]] = [precision, recall, density, coverage]


def draw(n: int, *data: int, step: int = 0) -> Tensor:
    return normal((n, *data), seed=1, purpose="test", step=step, dtype=torch.float64)


def balls_of(y: Tensor, k: int, x: Tensor) -> np.ndarray:
    """Which rows of x lie in the ball of each row of y, by scikit-learn's search tree; (m n)."""
    tree = NearestNeighbors(n_neighbors=k).fit(y)
    radii = tree.kneighbors()[0][:, -1]  # without the row itself
    inside = np.zeros((len(y), len(x)), dtype=bool)
    search = NearestNeighbors().fit(x)
    for i, radius in enumerate(radii):
        inside[i, search.radius_neighbors(y[i : i + 1], radius=radius, return_distance=False)[0]] = True
    return inside


@pytest.mark.parametrize("k", [1, 3, 5])
def test_they_count_what_a_search_tree_finds(k: int) -> None:
    x, y = draw(70, 3) + 0.5, draw(50, 3, step=1)
    of_data, of_samples = balls_of(y, k, x), balls_of(x, k, y)
    assert precision(x, y, k=k) == pytest.approx(of_data.any(0).mean(), rel=1e-12)
    assert recall(x, y, k=k) == pytest.approx(of_samples.any(0).mean(), rel=1e-12)
    assert density(x, y, k=k) == pytest.approx(of_data.sum() / (k * 70), rel=1e-12)
    assert coverage(x, y, k=k) == pytest.approx(of_data.any(1).mean(), rel=1e-12)
    assert 0 < recall(x, y, k=k) < precision(x, y, k=k) + coverage(x, y, k=k) < 2


@pytest.mark.parametrize("dimensions", [1, 8])
def test_between_equal_distributions_density_is_1_and_coverage_is_a_count_of_orders(dimensions: int) -> None:
    n, m, k = 60, 40, 3
    pairs = [(draw(n, dimensions, step=2 * i), draw(m, dimensions, step=2 * i + 1)) for i in range(150)]
    dense = [density(x, y, k=k) for x, y in pairs]
    assert np.mean(dense) == pytest.approx(1, abs=4 * np.std(dense) / math.sqrt(150))
    covered = [coverage(x, y, k=k) for x, y in pairs]
    # a ball is empty when the k nearest among all other rows are all data: in any distribution, any dimension
    empty = math.comb(m - 1, k) / math.comb(n + m - 1, k)
    assert np.mean(covered) == pytest.approx(1 - empty, abs=4 * np.std(covered) / math.sqrt(150))
    assert np.std(covered) / math.sqrt(150) < 0.005


def test_samples_of_one_mode_are_precise_and_do_not_recall_the_others() -> None:
    y = torch.cat([draw(100, 2), draw(100, 2, step=1) + 50])
    x = draw(200, 2, step=2)
    assert precision(x, y) > 0.9 and density(x, y) == pytest.approx(1, abs=0.1)
    assert 0.4 < recall(x, y) < 0.55 and 0.4 < coverage(x, y) < 0.55
    assert precision(y, x) == recall(x, y)


def test_samples_that_keep_to_the_densest_data_are_denser_than_data_and_cover_less() -> None:
    x, y = draw(200, 8), draw(200, 8, step=1)
    assert density(0.5 * x, y) > 2 > 1.2 > density(x, y)
    assert coverage(0.3 * x, y) < 0.8 < 0.9 < coverage(x, y)


def test_an_outlier_of_the_data_fools_precision_but_not_density() -> None:
    y = torch.cat([draw(99, 2), torch.full((1, 2), 1000.0, dtype=torch.float64)])
    x = draw(100, 2, step=1) + 300
    assert precision(x, y) == 1
    assert density(x, y) == pytest.approx(1 / 5)


@pytest.mark.parametrize("share", ALL)
def test_neither_blocks_nor_origin_nor_unit_nor_order_matter(
    share: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = draw(40, 2, 3) + 0.7, draw(30, 2, 3, step=1)
    truth = share(x, y)
    assert 0 < truth < 1.5
    assert share(x.flatten(1).flip(0), y.flatten(1).roll(7, 0)) == truth
    assert share(9 * x + 1e3, 9 * y + 1e3) == truth
    monkeypatch.setattr(sets, "ENTRIES", 70)
    assert share(x, y) == truth


@pytest.mark.parametrize("share", ALL)
def test_bad_arguments_are_refused(share: Callable[..., float]) -> None:
    x = draw(30, 3)
    for k in (0, 30, 2.5):
        with pytest.raises(InvalidArgument, match=rf"expected 1 \.\.\. 29, got {k}"):
            share(x, x, k=k)
    with pytest.raises(InvalidArgument, match=r"\(2,\)"):
        share(x[:, :2], x)
    with pytest.raises(NonFinite, match="row 0 of 30"):
        share(x / 0, x)
