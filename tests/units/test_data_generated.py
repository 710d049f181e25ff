"""Data sets that are made: the shapes they should have, the same on every machine, nobody's randomness touched."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from obverse.data import load
from obverse.data.generated import law
from obverse.ground.errors import MissingExtra


@pytest.mark.parametrize("name", ["two-moons", "8-gaussians", "s-curve", "wine", "mnist1d", "solids"])
def test_it_is_the_same_every_time_and_leaves_everyones_randomness_alone(name: str) -> None:
    first = load(name)  # imports what makes it
    states = [torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()]
    second = load(name)
    assert torch.equal(first.values[:], second.values[:])
    assert first.values[:].isfinite().all()
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all() and states[2] == random.getstate()


def test_penguins_come_with_their_words_and_gaps() -> None:
    pytest.importorskip("palmerpenguins", reason="palmerpenguins is not installed")
    data = load("penguins")
    assert len(data) == 344 and data.classes == ("Adelie", "Chinstrap", "Gentoo")  # counts as its authors give them
    assert data.labels is not None and data.labels.bincount().tolist() == [152, 68, 124]
    assert data.schema is not None
    table = data.schema.decode(data.values[:])
    assert sum(cell is None or cell == "" for cell in table["sex"]) == 11


def test_a_set_whose_package_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obverse.ground.extras.find_spec", {}.get)
    with pytest.raises(MissingExtra, match=r"palmerpenguins.*obverse\[penguins\]"):
        load("penguins")


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


def test_the_law_of_a_set_is_that_of_points_on_its_curve_with_its_jitter() -> None:
    turn = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000 * torch.pi
    upper = torch.stack([turn.cos(), turn.sin()], 1)
    lower = torch.stack([1 - turn.cos(), 0.5 - turn.sin()], 1)
    more = 1.5 * turn  # of each bow of the S, from its middle
    bow = torch.stack([more.sin(), more.cos() - 1], 1)
    corners = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7], dtype=torch.float64) * torch.pi / 4
    circle = 2 * torch.stack([corners.cos(), corners.sin()], 1)
    truths = {"two-moons": (upper, lower, 0.1), "s-curve": (bow, -bow, 0.1), "8-gaussians": (circle, circle, 0.2)}
    at = torch.tensor(
        [[0.0, 0.9], [1.05, 0.02], [-0.98, -0.1], [1.9, 0.3], [0.1, 0.1], [1.9, 0.1], [-1.0, -1.6]]
    ).double()

    def density(means: torch.Tensor, weights: torch.Tensor, deviation: float) -> torch.Tensor:
        square = (at[:, None] - means).square().sum(2) / deviation**2
        return ((-square / 2).exp() * weights).sum(1) / (2 * torch.pi * deviation**2)

    for name, (one, other, deviation) in truths.items():
        found, line = law(name), torch.cat([one, other])
        assert found is not None and float(found.weights.sum()) == pytest.approx(1, abs=1e-14)
        truth = density(line, torch.full((len(line),), 1 / len(line), dtype=torch.float64), deviation)
        assert torch.allclose(density(found.means, found.weights, found.deviation), truth, rtol=1e-5, atol=1e-11)
