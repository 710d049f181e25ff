"""Point clouds that are made: even draws from the surfaces of six solids, turned and scaled, in no order."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.data.dataset import Dataset
from obverse.data.scaling import Scaling
from obverse.ground import noise

POINTS = 128  # of a cloud: enough to tell the six apart, few enough for attention on two cores
COUNT = 6_000  # clouds, a thousand of each solid
SIZES = (0.8, 1.25)  # of the solids, evenly drawn
_HALF = 0.85  # of a cube's side
_ROUND, _TALL = 0.8, 0.9  # radius and half the height of a cylinder
_BASE, _PEAK = 1.1, 1.6  # radius and height of a cone
_RING, _TUBE = 1.0, 0.4  # radii of a torus


class Turned(NamedTuple):
    """How a cloud lies: x = size turn p for points p of its solid.

    label: (N,). turn: rotations; (N, 3, 3). size: (N,).
    """

    label: Tensor
    turn: Tensor
    size: Tensor


def solids() -> Dataset:
    """Clouds of points, even on the surface of a sphere, a cube, a cylinder, a cone, a torus or a tetrahedron.

    Example:
        >>> data = solids()
        >>> len(data), data.shape, data.kind, data.classes[0]
        (6000, (3, 128), 'clouds', 'cone')
    """
    label, turn, size = placed()
    even = noise.uniform((COUNT, POINTS, 3), seed=0, purpose="data: solids")
    flat = torch.empty_like(even)
    for number, surface in enumerate(SURFACES.values()):
        flat[label == number] = surface(even[label == number])
    values = ((flat @ turn.mT) * size[:, None, None]).mT.float().contiguous()
    scaling = Scaling(scale=(float(values.double().square().mean().sqrt()),))  # one unit for all axes: turns stay turns
    return Dataset("solids", values, label, tuple(SURFACES), scaling, kind="clouds")


def placed() -> Turned:
    """The label, rotation and size of every cloud of `solids`; any rotation is as likely as any other.

    Source:   Shoemake (1992), "Uniform random rotations".
    """
    x, y, z, w = torch.nn.functional.normalize(
        noise.normal((COUNT, 4), seed=0, purpose="data: solids, turn", dtype=torch.float64), dim=1
    ).unbind(1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    size = noise.uniform((COUNT, 1), seed=0, purpose="data: solids, size")[:, 0]
    turn = torch.stack([torch.stack(row, 1) for row in rows], 1)
    return Turned(torch.arange(COUNT) % len(SURFACES), turn, SIZES[0] + (SIZES[1] - SIZES[0]) * size)


def _cone(u: Tensor) -> Tensor:
    """Side and base by their areas; the tip 3/4 of the height above the origin."""
    slant = math.hypot(_BASE, _PEAK)
    side = u[..., 0] < slant / (slant + _BASE)
    out = u[..., 1].sqrt()  # from the axis, in radii of the base
    height = torch.where(side, _PEAK * (0.75 - out), -0.25 * _PEAK)
    return _wheel(_BASE * out, u[..., 2], height)


def _cube(u: Tensor) -> Tensor:
    face = (6 * u[..., 0]).long()
    a, b = (2 * u[..., 1:] - 1).unbind(-1)
    faced = torch.stack([1 - 2.0 * (face % 2), a, b], -1)  # face % 2: which of two opposite ones
    axes = (torch.arange(3) - face[..., None] // 2) % 3
    return _HALF * faced.gather(-1, axes)


def _cylinder(u: Tensor) -> Tensor:
    """Side, bottom and top by their areas: 2 r h, r² and r², for the height h."""
    share = 2 * _TALL / (2 * _TALL + _ROUND)
    side = u[..., 0] < share
    end = torch.where(u[..., 0] < (1 + share) / 2, -_TALL, _TALL)
    height = torch.where(side, _TALL * (2 * u[..., 1] - 1), end)
    return _wheel(_ROUND * torch.where(side, 1.0, u[..., 1].sqrt()), u[..., 2], height)


def _sphere(u: Tensor) -> Tensor:
    """Even in height, as Archimedes found."""
    height = 2 * u[..., 0] - 1
    return _wheel((1 - height.square()).sqrt(), u[..., 1], height)


def _tetrahedron(u: Tensor) -> Tensor:
    corners = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=u.dtype)
    missing = (4 * u[..., 0]).long()  # each face has all corners but one
    a, b, c = (corners[(missing + step) % 4] for step in (1, 2, 3))
    out, along = u[..., 1:2].sqrt(), u[..., 2:]
    return (1 - out) * a + out * ((1 - along) * b + along * c)


def _torus(u: Tensor) -> Tensor:
    """A turn of the tube is as likely as its circle is long: mirrored to the outside by the odds of the two."""
    tube = 2 * math.pi * u[..., 1]
    stays = 2 * u[..., 2] < 1 + _TUBE / _RING * tube.cos()
    away = _TUBE * torch.where(stays, 1.0, -1.0) * tube.cos()
    return _wheel(_RING + away, u[..., 0], _TUBE * tube.sin())


def _wheel(radius: Tensor, turn: Tensor, height: Tensor) -> Tensor:
    """Cylinder coordinates, the turn in [0, 1), as points; (... 3)."""
    turn = 2 * math.pi * turn
    return torch.stack([radius * turn.cos(), radius * turn.sin(), height], -1)


SURFACES = {  # each takes three even draws in (0, 1) to a point of its surface, evenly; (... 3)
    "cone": _cone,
    "cube": _cube,
    "cylinder": _cylinder,
    "sphere": _sphere,
    "tetrahedron": _tetrahedron,
    "torus": _torus,
}
