"""Clouds on solids: points lie on the surfaces they should, evenly, and any pose is as likely as any other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from obverse.data import Dataset, load
from obverse.data.solids import SURFACES, placed
from obverse.ground import noise


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load("solids")


def spread(name: str) -> Tensor:
    even = noise.uniform((1, 200_000, 3), seed=3, purpose="test")
    return SURFACES[name](even)[0]


def heights(triangle: Tensor, points: Tensor) -> Tensor:
    """How far points are from a triangle's plane."""
    a, b, c = triangle
    normal = torch.linalg.cross(b - a, c - a)
    return ((points - a) @ (normal / normal.norm())).abs()


def test_every_solid_has_as_many_clouds_in_its_own_pose(data: Dataset) -> None:
    assert data.labels is not None
    assert data.classes == tuple(sorted(SURFACES)) and data.labels.bincount().tolist() == [1000] * 6
    _, turn, size = placed()
    assert torch.allclose(turn @ turn.mT, torch.eye(3, dtype=turn.dtype).expand_as(turn), atol=1e-12)
    assert torch.linalg.det(turn).min() > 0.99
    assert turn.mean(0).abs().max() < 0.03 and (turn.square().mean(0) - 1 / 3).abs().max() < 0.02  # of the Haar law
    assert size.min() >= 0.8 and size.max() <= 1.25


def test_a_spheres_points_are_as_far_from_the_middle_as_its_size_says(data: Dataset) -> None:
    label, _, size = placed()
    ball = label == data.classes.index("sphere")
    away = data.values[:][ball].norm(dim=1)
    assert torch.allclose(away, size[ball, None].float().expand_as(away), atol=1e-5)


def test_areas_of_parts_are_those_of_geometry() -> None:
    cone, cylinder, torus, cube = map(spread, ("cone", "cylinder", "torus", "cube"))
    base = (cone[:, 2] - cone[:, 2].min()).abs() < 1e-9
    radius, height = cone[:, :2].norm(dim=1).max(), cone[:, 2].max() - cone[:, 2].min()
    side = math.pi * radius * (radius**2 + height**2) ** 0.5
    assert float(base.double().mean()) == pytest.approx(
        float(math.pi * radius**2 / (math.pi * radius**2 + side)), abs=0.005
    )
    lids = (cylinder[:, 2].abs() - cylinder[:, 2].abs().max()).abs() < 1e-9
    radius, height = cylinder[:, :2].norm(dim=1).max(), 2 * cylinder[:, 2].max()
    share = 2 * math.pi * radius**2 / (2 * math.pi * radius**2 + 2 * math.pi * radius * height)
    assert float(lids.double().mean()) == pytest.approx(float(share), abs=0.005)
    outer = torus[:, :2].norm(dim=1) > 1  # by Pappus: each half of the tube turns about where its centre of mass is
    assert float(outer.double().mean()) == pytest.approx(0.5 + 0.4 / math.pi, abs=0.005)
    side = (cube.abs() - cube.abs().max()).abs() < 1e-9
    assert side.any(1).all() and (side.double().mean(0) - 1 / 3).abs().max() < 0.005
    assert all(abs(float(points.mean(0).abs().max())) < 0.01 for points in (cylinder, torus, cube))


def test_points_of_a_tetrahedron_lie_evenly_on_its_faces() -> None:
    points = spread("tetrahedron")
    corners = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    away = torch.stack([heights(corners[[j for j in range(4) if j != i]], points) for i in range(4)], 1)
    assert (away.amin(1) < 1e-9).all()
    assert ((away < 1e-9).double().mean(0) - 0.25).abs().max() < 0.005
    assert points.mean(0).abs().max() < 0.01
