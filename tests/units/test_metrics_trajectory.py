"""Paths whose length, pace and shape are known: lines, parabolas, circles, helices, transport between Gaussians."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, NonFinite
from obverse.ground.noise import normal
from obverse.metrics import curvature, normalised_path_energy, path_energy, straightness


def draw(*shape: int, step: int = 0) -> Tensor:
    return normal(shape, seed=1, purpose="test", step=step, dtype=torch.float64)


def times(steps: int) -> Tensor:
    """Uneven, from 1 down to 0."""
    return torch.linspace(1, 0, steps, dtype=torch.float64) ** 1.5


def test_a_line_at_an_even_pace_has_the_energy_of_its_length_and_nothing_else() -> None:
    t, start, end = times(9), draw(5, 2, 3), draw(5, 2, 3, step=1)
    states = end + t[:, None, None, None] * (start - end)
    assert path_energy(t, states).tolist() == pytest.approx((end - start).square().sum((1, 2)).tolist(), rel=1e-12)
    straight = straightness(t, states)
    assert straight.value.shape == (8,) and float(straight.value.max()) < 1e-25
    assert float(curvature(t, states).value.max()) < 1e-13


def test_a_pace_that_grows_from_rest_costs_a_third_more_energy() -> None:
    errors = []
    for steps in (50, 100):
        t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        states = (t**2)[:, None, None] * draw(4, 3)
        found = straightness(t, states)
        errors.append(abs(found.mean - 1 / 3))  # the mean of (2t - 1)^2
        assert found.value[0] == pytest.approx(1, rel=0.05) and found.value[steps // 2] < 0.01
        assert float(curvature(t, states).value.max()) < 1e-10  # the pace is no shape
    assert errors[0] < 2e-4 and errors[0] / errors[1] == pytest.approx(4, rel=0.01)


def test_energy_is_that_of_the_straight_way_and_what_straightness_adds() -> None:
    t, states = times(12), draw(12, 30, 4).cumsum(0)
    way = float((states[-1] - states[0]).square().sum(1).mean())
    assert float(path_energy(t, states).mean()) == pytest.approx(way * (1 + straightness(t, states).mean), rel=1e-12)


@pytest.mark.parametrize("radius", [0.5, 20.0])
def test_a_circle_bends_as_1_over_its_radius_at_any_pace(radius: float) -> None:
    angle = 3 * times(10)[:, None] + draw(6)
    plane = torch.linalg.qr(draw(5, 5, step=1))[0][:2]
    states = radius * torch.stack([angle.cos(), angle.sin()], -1) @ plane + 7
    found = curvature(times(10), states)
    assert found.value.tolist() == pytest.approx([1 / radius] * 8, rel=1e-9)
    assert found.t.tolist() == times(10)[1:-1].tolist()
    assert float((found.high - found.low).max()) < 1e-9


def test_a_helix_bends_as_it_should_in_the_limit_of_small_steps() -> None:
    errors = []
    for steps in (40, 80):
        t = torch.linspace(0, 4, steps + 1, dtype=torch.float64)
        states = torch.stack([2 * t.cos(), 2 * t.sin(), 3 * t], 1)[:, None].expand(-1, 2, -1)
        errors.append(abs(curvature(t, states).mean - 2 / (2**2 + 3**2)))
    assert errors[0] < 1e-3 and errors[0] / errors[1] == pytest.approx(4, rel=0.02)


def test_a_path_that_stands_still_does_not_bend() -> None:
    angle = times(6)[:, None]
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    states = torch.cat([circle, torch.ones_like(circle)], 1)
    assert curvature(times(6), states).value.tolist() == pytest.approx([0.5] * 4, rel=1e-9)


def test_intervals_over_paths_are_as_wide_as_fresh_paths_vary() -> None:
    t = torch.linspace(0, 1, 4, dtype=torch.float64)
    found = [straightness(t, draw(4, 60, 2, step=i).cumsum(0), seed=i) for i in range(60)]
    spread = torch.stack([one.value for one in found]).std(0)
    width = torch.stack([one.high - one.low for one in found]).mean(0) / (2 * 1.96)
    assert ((width / spread) > 0.7).all() and ((width / spread) < 1.4).all()
    assert all((one.low < one.value).all() and (one.value < one.high).all() for one in found)


def test_optimal_paths_need_no_more_energy_than_the_floor_and_random_pairs_what_they_add() -> None:
    n, shift = 250, torch.tensor([3.0, 0.0], dtype=torch.float64)
    source, data, fresh = draw(n, 2), draw(2 * n, 2, step=1) + shift, draw(n, 2, step=2) + shift
    t = torch.linspace(1, 0, 5, dtype=torch.float64)[:, None, None]
    best = normalised_path_energy(t.flatten(), source + (1 - t) * shift, source, data, bootstrap=10)
    assert best.value < 3 * best.floor < 0.3
    assert best.sizes == (n, n)
    random = normalised_path_energy(t.flatten(), t * source + (1 - t) * fresh, source, data, bootstrap=10)
    # pairs of strangers are |shift|^2 + 2 dimensions apart, the distributions |shift|^2
    assert random.low < 4 / 9 < random.high and random.value == pytest.approx(4 / 9, abs=0.15)
    assert random.ratio > 3


def test_trajectories_that_are_none_are_refused() -> None:
    t, states = times(4), draw(4, 3, 2)
    for measure in (path_energy, straightness, curvature):
        with pytest.raises(InvalidArgument, match=r"got \(3,\) and \(4, 3, 2\)"):
            measure(t[:3], states)
        with pytest.raises(InvalidArgument, match="rises or falls"):
            measure(torch.tensor([0.0, 0.5, 0.4, 1.0]), states)
        with pytest.raises(InvalidArgument, match="t holds a NaN"):
            measure(t / 0, states)
        with pytest.raises(NonFinite, match="step 2 of 4"):
            measure(t, torch.cat([states[:2], states[2:3] / 0, states[3:]]))
    with pytest.raises(InvalidArgument, match="at least 3 steps"):
        curvature(t[:2], states[:2])
    with pytest.raises(InvalidArgument, match="at least 2 of them"):
        straightness(t, states[:, :1])
    with pytest.raises(InvalidArgument, match="no path has one"):
        straightness(t, torch.cat([states[:3], states[:1]]))
    with pytest.raises(InvalidArgument, match="returns to where it was"):
        curvature(t, torch.cat([states[:2], states[:2]]))
    with pytest.raises(InvalidArgument, match="the same rows"):
        normalised_path_energy(t, states, torch.zeros(5, 2), torch.zeros(10, 2))
    with pytest.raises(InvalidArgument, match="got 5 and 3"):
        normalised_path_energy(t, states, draw(5, 2), draw(3, 2))
    assert math.isfinite(normalised_path_energy(t, states, draw(5, 2), draw(10, 2, step=1), bootstrap=2).floor)
