"""Runs of a table whose end is known without sampling: on Gaussian data, stochastic methods included."""

from __future__ import annotations

import torch
from torch import Tensor

from obverse.model import Gaussian, Model
from obverse.path import Level
from obverse.sampler import Register, Sampler, Tableau
from obverse.sampler.run import combine


def run(table: Tableau, model: Model, start: Tensor) -> Tensor:
    """Where a run ends; (batch *data)."""
    for step in Sampler(table).steps(model, start):
        start = step.x_t
    return start


def marginal(oracle: Gaussian, level: Level) -> tuple[float, float]:
    """Mean and standard deviation of the states at a level, of data with one dimension."""
    mean = level.alpha * oracle.means[0, 0]
    return float(mean), float((level.alpha**2 * oracle.variances[0, 0] + level.sigma**2) ** 0.5)


def moments(table: Tableau, oracle: Gaussian) -> tuple[float, float]:
    """Mean and standard deviation of the end of a run on Gaussian data of one dimension (T40).

    Every output is affine in the state that it was read from, so every register is affine in 1, the start and the
    draws; nothing is sampled.

    Args:     table: any method, deterministic or not.
              oracle: the data.
    Example:
        >>> from obverse.sampler import DDIM
        >>> table = DDIM().tableau("cosine", "uniform:steps=1000,start=0.9,end=0.1")
        >>> oracle = Gaussian(torch.zeros(1), 1.0, "cosine")
        >>> [round(moment, 2) for moment in moments(table, oracle)]
        [0.0, 1.0]
    """
    table = table.on_face(oracle.face)
    levels = list(table.levels)
    mean, std = marginal(oracle, levels[0])
    unit = torch.eye(2 + table.draws, dtype=torch.float64)  # 1, the start's normal, each draw
    held = {Register("xi", m): unit[2 + m] for m in range(table.draws)}
    held[Register("e", 0)] = mean * unit[0] + std * unit[1]
    calls = {state: j for j, state in enumerate(table.reads)}
    for n, row in enumerate(table.rows):
        state = Register("e", n)
        if row:
            held[state] = combine(row, held)
        if n in calls:
            probes = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
            at_zero, at_one = oracle.at(levels[n], probes)(probes, None)[:, 0]
            held[Register("o", calls[n])] = (at_one - at_zero) * held[state] + at_zero * unit[0]
    end = held[Register("e", len(levels) - 1)]
    return float(end[0]), float(end[1:].norm())
