"""Data sets that are made: the shapes they should have, the same on every machine, nobody's randomness touched."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from obverse.data import load


@pytest.mark.parametrize("name", ["two-moons", "8-gaussians", "s-curve", "wine", "mnist1d"])
def test_it_is_the_same_every_time_and_leaves_everyones_randomness_alone(name: str) -> None:
    first = load(name)  # imports what makes it
    states = [torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()]
    second = load(name)
    assert torch.equal(first.values[:], second.values[:])
    assert first.values[:].isfinite().all()
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all() and states[2] == random.getstate()


def test_the_gaussians_lie_on_their_circle() -> None:
    data = load("8-gaussians")
    for label in range(8):
        cloud = data.values[:][data.labels == label].double()
        assert cloud.mean(0).norm() == pytest.approx(2, abs=0.03)
        assert cloud.std(0).tolist() == pytest.approx([0.2, 0.2], abs=0.02)


def test_the_moons_are_unit_half_circles_that_reach_into_each_other() -> None:
    data = load("two-moons")
    upper, lower = (data.values[:][data.labels == label].double() for label in (0, 1))
    for moon, centre, sign in ((upper, (0.0, 0.0), 1), (lower, (1.0, 0.5), -1)):
        away = moon - torch.tensor(centre, dtype=torch.float64)
        assert away.norm(dim=1).mean() == pytest.approx(1, abs=0.02)
        assert (sign * away[:, 1] > -0.4).all()


def test_the_s_has_two_bows_of_radius_one() -> None:
    x = load("s-curve").values[:].double()
    bows = torch.stack([x[:, 0], x[:, 1].abs() - 1], 1).norm(dim=1)  # centres (0, 1) and (0, -1)
    assert bows.mean() == pytest.approx(1, abs=0.02)
    assert bows.std() < 0.15
    assert x[:, 1].max() > 1.8 and x[:, 1].min() < -1.8
