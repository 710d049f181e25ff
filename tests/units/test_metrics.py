"""Metrics against scipy, scikit-learn, optimal transport maps known in advance, and two points worked by hand."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.stats import energy_distance as scipy_energy
from sklearn.datasets import load_digits
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from obverse.ground.errors import InvalidArgument, MissingExtra, NonFinite, UnknownName
from obverse.ground.noise import normal, permutation
from obverse.metrics import (
    Metric,
    against,
    energy_distance,
    frechet,
    kid,
    memorisation,
    mmd,
    nearest,
    nearest_neighbour_accuracy,
    novelty,
    sets,
    sliced_w2,
    transport,
    w2,
)

DISTANCES: list[Callable[[Tensor, Tensor], float]] = [frechet, mmd, sliced_w2, energy_distance]


def draw(n: int, *data: int, step: int = 0) -> Tensor:
    return normal((n, *data), seed=1, purpose="test", step=step, dtype=torch.float64)


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    found = load_digits()
    order = permutation(len(found.data), seed=0, purpose="test")
    return torch.tensor(found.data)[order], torch.tensor(found.target)[order]


def assignment_w2(x: Tensor, y: Tensor) -> float:
    """Exact transport between sets of one size on the line, by the Hungarian method."""
    cost = (x[:, None] - y[None, :]).square().numpy()
    return math.sqrt(cost[linear_sum_assignment(cost)].mean())


# --- distances


@pytest.mark.parametrize("n", [200, 4])  # more samples than dimensions, and fewer: both covariances singular
def test_frechet_is_the_cost_of_the_optimal_map_when_that_map_is_known(n: int) -> None:
    x = draw(n, 6) @ draw(6, 6, step=1)
    root = draw(6, 6, step=2)
    moved = x @ (root @ root.T) + draw(6, step=3)  # gradient of a convex function: optimal among all maps
    mean = (moved - x).mean(0)
    cost = mean.square().sum() + (moved - x - mean).square().sum() / (n - 1)
    assert frechet(x, moved) == pytest.approx(float(cost), rel=1e-10)
    assert frechet(moved, x) == pytest.approx(float(cost), rel=1e-10)


def test_frechet_of_different_sizes_and_constant_pixels_is_that_of_the_other_pixels() -> None:
    x, y = draw(9, 5), 2 * draw(4, 5, step=1)
    blank = torch.full((9, 3), 7.0, dtype=torch.float64)
    padded = frechet(torch.cat([blank, x], 1), torch.cat([blank[:4], y], 1))
    assert padded == pytest.approx(frechet(x, y), rel=1e-12)


def test_frechet_from_a_single_point_is_the_mean_square_distance_to_it() -> None:
    x, point = draw(9, 5), draw(5, step=1)
    truth = float((x - point).square().sum()) / 9 + np.var(x.numpy(), axis=0).sum() / 8  # n - 1 for the spread
    assert frechet(x, point.expand(4, 5)) == pytest.approx(truth, rel=1e-12)


def test_frechet_on_the_line_compares_means_and_deviations() -> None:
    x, y = draw(50, 1), 3 * draw(70, 1, step=1) + 5
    gap = np.array([x.numpy().mean() - y.numpy().mean(), np.std(x.numpy(), ddof=1) - np.std(y.numpy(), ddof=1)])
    assert frechet(x, y) == pytest.approx(float(gap @ gap), rel=1e-12)


def test_mmd_of_two_points_is_as_worked_by_hand() -> None:
    y = torch.tensor([0.0, 2.0])  # s = 2, and the kernels between the points are e^-1/2, e^-2 and e^-8
    near = (math.exp(-0.5) + math.exp(-2) + math.exp(-8)) / 3
    assert mmd(y, y) == pytest.approx(near - 1, rel=1e-12)
    assert mmd(torch.tensor([1e6, 1e6]), y) == pytest.approx(near + 1, rel=1e-12)


def test_mmd_of_equal_distributions_is_0_on_average_however_few_samples() -> None:
    values = torch.tensor([mmd(draw(5, 2, step=i), draw(40, 2, step=5000 + i)) for i in range(600)])
    assert abs(float(values.mean())) < 4 * float(values.std()) / math.sqrt(600) < 0.02  # with the diagonals: 0.14
    assert float(values.min()) < 0 < float(values.max())


def test_mmd_sees_the_shape_that_the_frechet_distance_cannot_see() -> None:
    x, y = draw(400, 2), draw(400, 2, step=1)
    corners = draw(400, 2, step=2).sign()  # mean 0 and covariance 1 like y, on four points
    assert frechet(corners, y) < 0.1
    assert mmd(corners, y) > 20 * abs(mmd(x, y))


def test_kid_is_made_of_scikit_learns_kernel() -> None:
    x, y = draw(30, 5), 2 * draw(20, 5, step=1) + 1
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, gamma=1 / 5, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    others = [float(k[~np.eye(len(k), dtype=bool)].mean()) for k in (xx, yy)]
    assert kid(x, y) == pytest.approx(sum(others) - 2 * float(xy.mean()), rel=1e-12)
    assert kid(y, x) == pytest.approx(kid(x, y), rel=1e-12)


def test_kid_is_on_average_what_the_first_three_moments_say_however_few_samples() -> None:
    fresh = draw(3000, 15, 1)
    values = torch.tensor([kid(x + 1, y) for x, y in ((one[:6], one[6:]) for one in fresh)])
    # moments of N(1, 1) and N(0, 1): 1 and 0, 2 and 1, 4 and 0; (ab + 1)^3 weighs them 3, 3 and 1
    error = float(values.std()) / math.sqrt(3000)
    assert float(values.mean()) == pytest.approx(3 * 1 + 3 * 1 + 16, abs=4 * error) and error < 1.5
    equal = torch.tensor([kid(one[:6], one[6:]) for one in fresh[:1500]])
    assert abs(float(equal.mean())) < 4 * float(equal.std()) / math.sqrt(1500) < 1
    assert float(equal.min()) < 0


def test_w2_is_the_cost_of_the_optimal_map_when_that_map_is_known() -> None:
    x = draw(60, 4)
    root = draw(4, 4, step=2)
    moved = x @ (root @ root.T) + 3  # gradient of a convex function: optimal among all maps
    truth = float((moved - x).square().sum(1).mean().sqrt())
    assert w2(x, moved.flip(0)) == pytest.approx(truth, rel=1e-12)
    assert w2(x.reshape(60, 2, 2) + 1e6, moved.reshape(60, 2, 2) + 1e6) == pytest.approx(truth, rel=1e-8)


@pytest.mark.parametrize(("n", "m"), [(40, 40), (12, 30), (7, 3)])
def test_w2_on_the_line_is_what_sorting_gives_for_any_two_sizes(n: int, m: int) -> None:
    if n != m:
        pytest.importorskip("ot")
    x, y = draw(n), draw(m, step=1).square()
    assert w2(x, y) == pytest.approx(sliced_w2(x, y), rel=1e-9)


def test_w2_of_unequal_sizes_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(MissingExtra, match=r"obverse\[transport\]"):
        w2(draw(4, 2), draw(5, 2))
    monkeypatch.setattr(transport, "LARGEST", 20)
    with pytest.raises(InvalidArgument, match="5 x 5 are over 20"):
        w2(draw(5, 2), draw(5, 2))


@pytest.mark.parametrize(("n", "m"), [(40, 40), (12, 30), (7, 3)])
def test_sliced_w2_on_the_line_is_optimal_transport_for_any_two_sizes(n: int, m: int) -> None:
    x, y = draw(n), draw(m, step=1).square()
    common = math.lcm(n, m)
    truth = assignment_w2(x.repeat(common // n), y.repeat(common // m))
    assert sliced_w2(x, y) == pytest.approx(truth, rel=1e-12)


def test_sliced_w2_of_two_orthogonal_shifts_share_one_length() -> None:
    x = draw(30, 2)
    along = [sliced_w2(x, x + torch.eye(2)[i], projections=64, seed=5) for i in (0, 1)]
    assert math.hypot(*along) == pytest.approx(1, rel=1e-12)
    assert along[0] == pytest.approx(math.sqrt(0.5), rel=0.2)


def test_sliced_w2_depends_on_the_seed_alone_and_less_with_more_projections() -> None:
    x, y = draw(30, 8), draw(30, 8, step=1) + 1
    assert sliced_w2(x, y, seed=3) == sliced_w2(x, y, seed=3) != sliced_w2(x, y, seed=4)
    spreads = [np.std([sliced_w2(x, y, projections=p, seed=s) for s in range(12)]) for p in (4, 64, 1024)]
    assert all(fewer > 1.8 * more for fewer, more in pairwise(spreads))


def test_energy_distance_is_scipys_squared_on_any_line_through_space() -> None:
    x, y = draw(60), draw(45, step=1) * 2 + 1
    direction = torch.nn.functional.normalize(draw(7, step=2), dim=0)
    truth = scipy_energy(x.numpy(), y.numpy()) ** 2
    assert energy_distance(x, y) == pytest.approx(truth, rel=1e-10)
    assert energy_distance(x[:, None] * direction, y[:, None] * direction) == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_distance_knows_neither_the_order_of_rows_nor_the_shape_nor_the_origin(
    distance: Callable[[Tensor, Tensor], float],
) -> None:
    x, y = draw(30, 3, 4), draw(20, 3, 4, step=1) + 0.5
    truth = distance(x, y)
    assert distance(x.flip(0), y.roll(3, 0)) == pytest.approx(truth, rel=1e-9)
    assert distance(x.flatten(1), y.flatten(1)) == truth
    assert distance(x + 1e6, y + 1e6) == pytest.approx(truth, rel=1e-6)
    assert distance(x, x) <= 1e-20
    assert distance(x.float(), y.float()) == pytest.approx(truth, rel=1e-5)


@pytest.mark.parametrize("distance", [mmd, kid, energy_distance])
def test_distances_in_small_blocks_are_those_in_one(
    distance: Callable[[Tensor, Tensor], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = draw(30, 3), draw(20, 3, step=1) + 1
    whole = distance(x, y), nearest(x, x, exclude_self=True).index
    monkeypatch.setattr(sets, "ENTRIES", 70)
    assert distance(x, y) == pytest.approx(whole[0], rel=1e-8)  # a matrix product either way
    assert nearest(x, x, exclude_self=True).index.equal(whole[1])


class Largest(TorchDispatchMode):
    """The most numbers in one tensor that any operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.numbers = max(self.numbers, *(t.numel() for t in tree_leaves(out) if isinstance(t, Tensor)), 0)
        return out


@pytest.mark.parametrize("name", [name for name in Metric.members if name not in ("w2", "frechet", "sliced-w2")])
def test_no_more_distances_are_held_than_entries_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = draw(400, 3), draw(300, 3, step=1)
    monkeypatch.setattr(sets, "ENTRIES", 5000)
    with Largest() as largest:
        Metric.of(name)(x, y)
    assert 3000 < largest.numbers <= 5000


# --- refusals


@pytest.mark.parametrize("distance", [*DISTANCES, kid, w2, against, nearest])
def test_a_row_that_is_not_finite_is_named(distance: Callable[[Tensor, Tensor], object]) -> None:
    x, y = draw(30, 3), draw(30, 3, step=1)
    y[4, 1], y[7, 0] = math.inf, math.nan
    with pytest.raises(NonFinite, match=r"row 4 of 30"):
        distance(x, y)
    with pytest.raises(NonFinite, match=r"row 4 of 30"):
        distance(y, x)


@pytest.mark.parametrize("distance", [*DISTANCES, kid, w2, against])
def test_sets_that_cannot_be_compared_are_refused(distance: Callable[[Tensor, Tensor], object]) -> None:
    x = draw(30, 3)
    for bad, said in (
        (x[:1], "at least 2"),
        (x[:, :2], r"\(2,\)"),
        (x[:, :0], "one number"),
        (x.long(), "float"),
        (x.numpy(), "got ndarray"),
        (torch.tensor(1.0), "at least 2"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            distance(bad, x)
        with pytest.raises(InvalidArgument, match=said):
            distance(x, bad)


def test_arguments_out_of_range_are_refused() -> None:
    x, labels = draw(30, 3), torch.zeros(30, dtype=torch.long)
    with pytest.raises(InvalidArgument, match="projections >= 1, got 0"):
        sliced_w2(x, x, projections=0)
    with pytest.raises(InvalidArgument, match="all equal"):
        mmd(x, torch.ones(4, 3))
    with pytest.raises(InvalidArgument, match="exclude_self"):
        nearest(x[:5], x, exclude_self=True)
    with pytest.raises(InvalidArgument, match="copies"):
        novelty(x, x, x)
    for k in (31, 2.5):
        with pytest.raises(InvalidArgument, match=rf"expected 1 \.\.\. 30, got {k}"):
            nearest_neighbour_accuracy(x, labels, x, labels, k=k)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"^labels is one whole number"):
        nearest_neighbour_accuracy(x, labels[:3], x, labels)
    with pytest.raises(InvalidArgument, match=r"^real_labels is one whole number"):
        nearest_neighbour_accuracy(x, labels, x, labels.float())
    with pytest.raises(InvalidArgument, match="bootstrap"):
        against(x, x, bootstrap=1)
    with pytest.raises(InvalidArgument, match="leave 7"):
        against(x, x[:15])
    with pytest.raises(UnknownName, match="frechet"):
        against(x, x, metrics=["freche"])


# --- neighbours


def test_nearest_finds_what_a_search_tree_finds() -> None:
    x, to = draw(50, 2, 4), draw(80, 2, 4, step=1)
    distance, index = cKDTree(to.flatten(1).numpy()).query(x.flatten(1).numpy())
    found = nearest(x, to)
    assert found.index.tolist() == index.tolist()
    np.testing.assert_allclose(found.distance.numpy(), distance, rtol=1e-13)
    assert nearest(x[:1], to).index.tolist() == index[:1].tolist()


def test_a_copy_is_at_distance_0_exactly_and_leaving_itself_out_finds_the_next() -> None:
    x = draw(60, 40) + 1000
    itself = nearest(x, x)
    assert itself.distance.max() == 0 and itself.index.equal(torch.arange(60))
    second = cKDTree(x.numpy()).query(x.numpy(), k=2)[1][:, 1]
    assert nearest(x, x, exclude_self=True).index.tolist() == second.tolist()


def test_novelty_is_0_for_copies_1_for_fresh_data_and_scales_with_distance(digits: tuple[Tensor, Tensor]) -> None:
    x, _ = digits
    train, held_out, fresh = x[:900], x[900:1350], x[1350:]
    assert novelty(train[:300], train, held_out) == 0
    assert novelty(held_out, train, held_out) == 1
    assert novelty(fresh, train, held_out) == pytest.approx(1, abs=0.1)
    assert novelty(train[:300] + 0.1 * draw(300, 64), train, held_out) < 0.1


def test_memorisation_tells_copies_from_data_and_its_interval_holds_the_floor_for_data(
    digits: tuple[Tensor, Tensor],
) -> None:
    x, _ = digits
    train, held_out, fresh = x[:900], x[900:1350], x[1350:]
    good = memorisation(fresh, train, held_out)
    assert good.value == novelty(fresh, train, held_out)
    assert good.low < good.floor < good.high and good.floor == pytest.approx(1, abs=0.02)
    noise = 0.1 * draw(300, 64)
    copies = memorisation(train[:300] + noise, train, held_out)
    assert copies.high < 0.1 < 0.9 < good.low
    assert (good.sizes, good.better) == ((447, 450), "equal")
    with pytest.raises(InvalidArgument, match="at least 4 samples"):
        memorisation(fresh[:3], train, held_out)


def test_the_interval_of_memorisation_is_as_wide_as_fresh_data_vary() -> None:
    train = draw(300, 3, step=999)
    found = [memorisation(draw(80, 3, step=2 * i), train, draw(80, 3, step=2 * i + 1), seed=i) for i in range(60)]
    spread = float(np.std([one.value for one in found]))
    assert np.mean([one.high - one.low for one in found]) / (2 * 1.96 * spread) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_nearest_neighbour_accuracy_is_scikit_learns(digits: tuple[Tensor, Tensor], k: int) -> None:
    x, labels = digits
    noisy = x + 4 * draw(*x.shape)  # hard enough for errors, and for votes to be split
    rows, names = noisy.numpy(), labels.numpy()
    truth = KNeighborsClassifier(k).fit(rows[:900], names[:900]).score(rows[900:], names[900:])
    assert nearest_neighbour_accuracy(noisy[900:], labels[900:], noisy[:900], labels[:900], k=k) == truth < 0.99
    renamed = nearest_neighbour_accuracy(noisy[900:], 7 * labels[900:] - 20, noisy[:900], 7 * labels[:900] - 20, k=k)
    assert renamed == truth
