"""Runs of a table whose end is known without sampling: on Gaussian data, stochastic methods included."""

from __future__ import annotations

import torch
from torch import Tensor

from obverse.model import Gaussian, Model
from obverse.path import Level
from obverse.sampler import Sampler, Tableau
from obverse.sampler.propagation import propagate


def run(table: Tableau, model: Model, start: Tensor) -> Tensor:
    """Where a run ends; (batch *data)."""
    for step in Sampler(table).steps(model, start):
        start = step.x_t
    return start


def marginal(oracle: Gaussian, level: Level) -> tuple[float, float]:
    """Mean and standard deviation of the states at a level, of data with one dimension."""
    mean = level.alpha * oracle.means[0, 0]
    return float(mean), float((level.alpha**2 * oracle.variances[0, 0] + level.sigma**2) ** 0.5)


def off(table: Tableau, oracle: Gaussian) -> float:
    """How far the end's law is off, on the circle: the worst of all means and standard deviations along the axes."""
    mean, covariance = propagate(table, oracle)
    last, axes = table.moments[-1], oracle.axes[0]
    want = (last.alpha**2 * oracle.variances[0] + last.sigma**2).sqrt()
    away = (mean - last.alpha * oracle.means[0]) @ axes
    wider = (axes.T @ covariance @ axes).diagonal().sqrt() - want
    worst = torch.cat([away, wider]).abs().max() / last.r
    return float(worst)


def moments(table: Tableau, oracle: Gaussian) -> tuple[float, float]:
    """Mean and standard deviation of the end of a run on Gaussian data of one dimension (T40).

    Args:     table: any method, deterministic or not.
              oracle: the data.
    Example:
        >>> import torch; from obverse.sampler import DDIM
        >>> table = DDIM().tableau("cosine", "uniform:steps=1000,start=0.9,end=0.1")
        >>> oracle = Gaussian(torch.zeros(1), 1.0, "cosine")
        >>> [round(moment, 2) for moment in moments(table, oracle)]
        [0.0, 1.0]
    """
    mean, covariance = propagate(table, oracle)
    return float(mean), float(covariance.sqrt())
