"""What a table does to Gaussian data, without drawing a sample (T40).

Every output is affine in the state that it was read from (T56), so every register is affine in 1, the start and the
draws; along the eigenvectors of the covariance the dimensions do not mix.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import require
from obverse.model import Gaussian
from obverse.path import Level
from obverse.sampler.program import Register, combine
from obverse.sampler.run import agree
from obverse.sampler.tableau import Tableau


class Moments(NamedTuple):
    """Mean and covariance of a state; (d,) and (d, d), float64."""

    mean: Tensor
    covariance: Tensor


def propagate(tableau: Tableau, gaussian: Gaussian, *, source: bool = False) -> Moments:
    """Mean and covariance of the end of a run on Gaussian data: bias and variance of any sampler, exactly.

    Args:     tableau: any method, deterministic or not.
              gaussian: the data, on the table's schedule.
              source: start from sigma eps, as `sample` does, in place of the law of the data at the first level.
    Raises:   InvalidArgument for data that is not Gaussian, or on another schedule.

    Example:
        >>> from obverse.sampler import Solver
        >>> table = Solver.of("ddim").tableau("cosine", "uniform:steps=1000,start=0.9,end=0.1")
        >>> mean, covariance = propagate(table, Gaussian(torch.zeros(2), 1.0, "cosine"))
        >>> [round(value, 2) for value in covariance.flatten().tolist()]
        [1.0, 0.0, 0.0, 1.0]
    """
    *_, end = states(tableau, gaussian, source=source)
    return end


def states(tableau: Tableau, gaussian: Gaussian, *, source: bool = False) -> Iterator[Moments]:
    """As `propagate`, of every state of the table in order, the start first."""
    require(isinstance(gaussian, Gaussian), f"Moments are known for a Gaussian, got {type(gaussian).__name__}.")
    table = tableau.on_face(gaussian.face)
    agree(table, gaussian.schedule)
    axes, levels = gaussian.axes[0], table.moments
    unit = torch.eye(2 + table.draws, dtype=torch.float64)[:, :, None].expand(-1, -1, len(axes))  # 1, start, each draw
    last = {key: n for n, row in enumerate(table.rows) for key in row}
    calls = {state: Register("o", j) for j, state in enumerate(table.reads)}
    held = {Register("e", 0): _start(levels[0], gaussian, source, unit)}
    for n, row in enumerate(table.rows):
        state = Register("e", n)
        held |= {key: unit[2 + key.place] for key in row if key.kind == "xi"}
        if row:
            held[state] = combine(row, held)
        known = held[state]
        if n in calls:
            slope, at_zero = _output(gaussian, levels[n])
            held[calls[n]] = slope * known + at_zero * unit[0]
        held = {key: value for key, value in held.items() if last.get(key, 0) > n}
        yield Moments(axes @ known[0], (axes * known[1:].square().sum(0)) @ axes.T)


def _start(level: Level, gaussian: Gaussian, source: bool, unit: Tensor) -> Tensor:
    """The law of the first state: of the data there, or of the source alone."""
    alpha = 0.0 if source else level.alpha
    spread = (alpha**2 * gaussian.variances[0] + level.sigma**2).sqrt()
    start: Tensor = alpha * (gaussian.means[0] @ gaussian.axes[0]) * unit[0] + spread * unit[1]
    return start


def _output(gaussian: Gaussian, level: Level) -> tuple[Tensor, Tensor]:
    """Slope and value at zero of the model's output along each axis, read off it with two probes; (d,) each."""
    axes = gaussian.axes[0]
    probes = torch.stack([axes.sum(1), torch.zeros_like(axes[0])]).reshape(2, *gaussian.shape)
    at_one, at_zero = gaussian.at(level, probes)(probes, None).reshape(2, -1) @ axes
    return at_one - at_zero, at_zero
