"""Moments of a run on Gaussian data, against runs and against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from obverse.ground.errors import InvalidArgument
from obverse.model import Gaussian, Mixture
from obverse.sampler import Sampler, Solver, propagate
from obverse.sampler.propagation import states

COVARIANCE = torch.tensor([[2.0, 0.6, 0.0], [0.6, 0.5, -0.1], [0.0, -0.1, 6.0]], dtype=torch.float64)
MEAN = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)


@pytest.mark.parametrize("solver", ["sde:eta=0.7", "sde-adams", "restart", "churn"])
def test_moments_are_those_of_many_runs(solver: str) -> None:
    data = Gaussian(MEAN, COVARIANCE, "vp")
    table = Solver.of(solver).tableau("vp", "angle:steps=7")
    mean, covariance = propagate(table, data, source=True)
    start = torch.randn(200_000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        end = Sampler(table).end(data, start * table.moments[0].sigma, seed=3)
    assert torch.allclose(end.mean(0), mean, atol=0.03)
    assert torch.allclose(end.T.cov(), covariance, atol=0.06)


def test_a_deterministic_run_moves_moments_as_it_moves_points() -> None:
    """A run is affine: mean to mean, and the root of the covariance column by column."""
    data = Gaussian(MEAN, COVARIANCE, "linear")
    table = Solver.of("heun").tableau("linear", "uniform:steps=9,start=0.9,end=0.2")
    first = table.moments[0]
    centre = first.alpha * MEAN
    root = torch.linalg.cholesky(first.alpha**2 * COVARIANCE + first.sigma**2 * torch.eye(3, dtype=torch.float64))
    ends = Sampler(table).end(data, torch.cat([centre[None], centre + root.T]))
    mean, covariance = propagate(table, data)
    moved = (ends[1:] - ends[0]).T
    assert torch.allclose(mean, ends[0], atol=1e-12) and torch.allclose(covariance, moved @ moved.T, atol=1e-12)


def test_ddim_from_pure_source_shrinks_white_data_by_cosines() -> None:
    """cos^n(pi / 2n) on a grid even in the angle (T60)."""
    n = 6
    table = Solver.of("ddim").tableau("cosine", f"uniform:steps={n}")
    _, covariance = propagate(table, Gaussian(torch.zeros(2), 1.0, "cosine"))
    want = math.cos(math.pi / (2 * n)) ** (2 * n)
    assert torch.allclose(covariance, want * torch.eye(2, dtype=torch.float64), atol=1e-12)


def test_moments_of_every_state_begin_with_the_law_of_the_start() -> None:
    data = Gaussian(MEAN, COVARIANCE, "cosine")
    table = Solver.of("sde").tableau("cosine", "uniform:steps=5,start=0.8")
    known = list(states(table, data))
    level = table.moments[0]
    assert len(known) == len(table.rows) == 6
    assert torch.allclose(known[0].mean, level.alpha * MEAN)
    white = torch.eye(3, dtype=torch.float64)
    assert torch.allclose(known[0].covariance, level.alpha**2 * COVARIANCE + level.sigma**2 * white)
    mean, covariance = next(states(table, data, source=True))
    assert not mean.any() and torch.allclose(covariance, level.sigma**2 * white)


def test_data_of_any_shape_are_flattened() -> None:
    data = Gaussian(torch.zeros(2, 2), torch.diag(torch.tensor([0.1, 1.0, 2.0, 3.0])), "linear")
    mean, covariance = propagate(Solver.of("sde").tableau("linear", "uniform:steps=300,start=0.99"), data)
    assert mean.shape == (4,) and torch.allclose(covariance.diagonal(), data.variances[0], rtol=0.05)


def test_what_is_not_gaussian_or_on_another_schedule_is_refused() -> None:
    table = Solver.of("ddim").tableau("linear", "uniform:steps=4")
    with pytest.raises(InvalidArgument, match="Moments are known for a Gaussian, got Mixture"):
        propagate(table, Mixture(torch.stack([MEAN, -MEAN]), 0.1, None, "linear"))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="of another schedule than the model's, vp"):
        propagate(table, Gaussian(MEAN, COVARIANCE, "vp"))
