"""Data sets that are made, not read: shapes in the plane, and small ones that packages carry."""

from __future__ import annotations

import math
import random

import numpy as np
import torch
from torch import Tensor

from obverse.data.arrays import from_array
from obverse.data.dataset import Dataset
from obverse.data.scaling import Scaling
from obverse.ground import extras, noise

COUNT = 10_000  # rows of a made table: enough to be held out from and to measure by


def two_moons() -> Dataset:
    """Two half circles that reach into each other; which of them is the class."""
    turn, jitter = _turns("two-moons") * math.pi, _jitter("two-moons", 0.1)
    moon = torch.arange(COUNT) % 2
    side = 1 - 2 * moon.double()  # the second is the first turned about its open end
    x = torch.stack([moon + side * turn.cos(), moon / 2 + side * turn.sin()], 1)
    return _plane("two-moons", x + jitter, moon, ("upper", "lower"))


def eight_gaussians() -> Dataset:
    """Eight narrow Gaussians on a circle of radius 2; which of them is the class."""
    place = torch.arange(COUNT) % 8
    turn = place * (math.pi / 4)
    x = 2 * torch.stack([turn.cos(), turn.sin()], 1).double() + _jitter("8-gaussians", 0.2)
    return _plane("8-gaussians", x, place, ("E", "NE", "N", "NW", "W", "SW", "S", "SE"))


def s_curve() -> Dataset:
    """A line bent into an S; without classes."""
    turn = 3 * math.pi * (_turns("s-curve") - 0.5)
    x = torch.stack([turn.sin(), turn.sign() * (turn.cos() - 1)], 1)
    return _plane("s-curve", x + _jitter("s-curve", 0.1), None, ())


def wine() -> Dataset:
    """Forina et al. (1988), as shipped with scikit-learn: 13 measurements of 178 wines, 3 growers."""
    bunch = extras.load("sklearn.datasets", extra="data").load_wine()
    values = torch.from_numpy(bunch.data)
    names = tuple(str(name) for name in bunch.target_names)
    return Dataset(
        "wine",
        values,
        torch.from_numpy(bunch.target).long(),
        names,
        Scaling.standard(values),
        columns=tuple(map(str, bunch.feature_names)),
    )


def signals() -> Dataset:
    """Greydanus & Kobak (2024), "Scaling down deep learning with MNIST-1D": 4,000 signals of length 40, 10 classes."""
    maker = extras.load("mnist1d.data", extra="signals")
    numpy, python = np.random.get_state(), random.getstate()  # which the maker seeds for everyone
    try:
        with torch.random.fork_rng(devices=[]):
            made = maker.make_dataset(maker.get_dataset_args())
    finally:
        np.random.set_state(numpy)
        random.setstate(python)
    return from_array(made["x"][:, None, :].astype("float32"), made["y"], name="mnist1d")


def _plane(name: str, x: Tensor, labels: Tensor | None, classes: tuple[str, ...]) -> Dataset:
    return Dataset(name, x.float(), labels, classes, Scaling.standard(x.float()), columns=("x", "y"))


def _turns(name: str) -> Tensor:
    return noise.uniform((COUNT, 1), seed=0, purpose=f"data: {name}")[:, 0]


def _jitter(name: str, deviation: float) -> Tensor:
    return deviation * noise.normal((COUNT, 2), seed=0, purpose=f"data: {name}, jitter", dtype=torch.float64)
