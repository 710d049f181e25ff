"""Data sets that are made, not read: shapes in the plane, with the laws they are drawn from; small ones of packages."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from obverse.data.arrays import from_array
from obverse.data.cells import read_mixed
from obverse.data.dataset import Dataset
from obverse.data.scaling import Scaling
from obverse.ground import extras, noise
from obverse.ground.quadrature import legendre

COUNT = 10_000  # rows of a made table: enough to be held out from and to measure by
_DEVIATION = {"two-moons": 0.1, "8-gaussians": 0.2, "s-curve": 0.1}
_NODES = 64  # of a half circle: at most 0.8 deviations apart


class Law(NamedTuple):
    """What a made set is drawn from: Gaussians of one deviation; a curve is very many of them.

    means: (Gaussians, 2). weights: (Gaussians,), of sum 1. labels: the class of each, or None. deviation: in each axis.
    """

    means: Tensor
    weights: Tensor
    labels: Tensor | None
    deviation: float


def law(name: str) -> Law | None:
    """The law of a named data set; None where it is not known.

    Example:
        >>> law("8-gaussians").means.shape, law("wine")
        (torch.Size([8, 2]), None)
    """
    if name == "8-gaussians":
        place = torch.arange(8)
        return Law(_circle(place), torch.full((8,), 1 / 8, dtype=torch.float64), place, _DEVIATION[name])
    if name == "two-moons":
        turn, share = _along(0, math.pi, _NODES)
        moon = torch.arange(2).repeat_interleave(_NODES)
        return Law(_moons(turn.repeat(2), moon), share.repeat(2) / 2, moon, _DEVIATION[name])
    if name == "s-curve":  # whose halves are smooth, each by itself
        turn, share = _along(0, 1.5 * math.pi, 3 * _NODES // 2)
        return Law(_s(torch.cat([-turn, turn])), share.repeat(2) / 2, None, _DEVIATION[name])
    return None


def two_moons() -> Dataset:
    """Two half circles that reach into each other; which of them is the class."""
    moon = torch.arange(COUNT) % 2
    return _plane("two-moons", _moons(_turns("two-moons") * math.pi, moon), moon, ("upper", "lower"))


def eight_gaussians() -> Dataset:
    """Eight narrow Gaussians on a circle of radius 2; which of them is the class."""
    place = torch.arange(COUNT) % 8
    return _plane("8-gaussians", _circle(place), place, ("E", "NE", "N", "NW", "W", "SW", "S", "SE"))


def s_curve() -> Dataset:
    """A line bent into an S; without classes."""
    return _plane("s-curve", _s(3 * math.pi * (_turns("s-curve") - 0.5)), None, ())


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


def penguins() -> Dataset:
    """Gorman, Williams & Fraser (2014), as shipped with palmerpenguins: 344 birds of 3 species, with words and gaps."""
    path = extras.folder("palmerpenguins", extra="penguins") / "data" / "penguins.csv"
    return replace(read_mixed(path, "refuse", "species", ordinal=False), name="penguins")


def _moons(turn: Tensor, moon: Tensor) -> Tensor:
    side = 1 - 2 * moon.double()  # the second is the first turned about its open end
    return torch.stack([moon + side * turn.cos(), moon / 2 + side * turn.sin()], 1)


def _circle(place: Tensor) -> Tensor:
    turn = place * (math.pi / 4)
    return 2 * torch.stack([turn.cos(), turn.sin()], 1).double()


def _s(turn: Tensor) -> Tensor:
    return torch.stack([turn.sin(), turn.sign() * (turn.cos() - 1)], 1)


def _plane(name: str, middle: Tensor, labels: Tensor | None, classes: tuple[str, ...]) -> Dataset:
    jitter = noise.normal((COUNT, 2), seed=0, purpose=f"data: {name}, jitter", dtype=torch.float64)
    x = (middle + _DEVIATION[name] * jitter).float()
    return Dataset(name, x, labels, classes, Scaling.standard(x), columns=("x", "y"))


def _turns(name: str) -> Tensor:
    return noise.uniform((COUNT, 1), seed=0, purpose=f"data: {name}")[:, 0]


def _along(low: float, high: float, count: int) -> tuple[Tensor, Tensor]:
    """Places on an interval and their shares of it: Gauss and Legendre's, exact for what is smooth."""
    places, shares = legendre(count)
    return low + (high - low) * (places + 1) / 2, shares / 2
