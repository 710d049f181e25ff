"""What the laws measure against is itself right: against closed forms, another library and a finer way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from obverse.laws.problems import PATHS, carried, hill, hills, starts, times
from obverse.laws.propagation import marginal, moments
from obverse.path import Schedule
from obverse.sampler import SDE, Solver, Uniform, sample


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.spec)
def test_quantiles_are_carried_as_the_gaussian_flow_carries_states(path: Schedule) -> None:
    oracle, start, stop = hill(path), path.at(0.9), path.at(0.1)
    x_t = starts(start)
    assert torch.allclose(carried(oracle, x_t, start, stop), oracle.flow(x_t, start, stop), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.spec)
def test_quantiles_are_carried_as_scipy_integrates_them(path: Schedule) -> None:
    oracle, start, stop = hills(path), path.at(0.9), path.at(0.1)
    x_t = starts(start)

    def rate(t: float, x: np.ndarray) -> np.ndarray:
        return np.asarray(oracle(torch.from_numpy(x)[:, None], t).velocity[:, 0])

    run = solve_ivp(rate, (0.9, 0.1), x_t[:, 0].numpy(), method="DOP853", rtol=1e-12, atol=1e-13)
    assert torch.allclose(carried(oracle, x_t, start, stop)[:, 0], torch.from_numpy(run.y[:, -1]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("solver", ["ddim", "heun", "dpmpp-2m"])
def test_moments_are_those_of_the_map_that_a_run_is(solver: str) -> None:
    oracle = hill("vp")
    grid = Uniform(9, start=0.9)
    table = Solver.of(solver).tableau("vp", grid)
    mean, std = marginal(oracle, table.levels[0])
    two = torch.tensor([[mean], [mean + std]], dtype=torch.float64)
    ends = sample(oracle, (2, 1), solver=solver, grid=grid, start=two, dtype=torch.float64)[:, 0]
    assert moments(table, oracle) == pytest.approx((float(ends[0]), abs(float(ends[1] - ends[0]))), rel=1e-12)


def test_moments_are_those_of_many_samples() -> None:
    oracle = hill("cosine")
    grid = Uniform(6, start=0.9, end=0.1)
    table = SDE().tableau("cosine", grid)
    mean, std = marginal(oracle, table.levels[0])
    start = mean + std * torch.special.ndtri((torch.arange(40000, dtype=torch.float64) + 0.5) / 40000)[:, None]
    ends = sample(oracle, (40000, 1), solver="sde", grid=grid, start=start, dtype=torch.float64)
    want = moments(table, oracle)
    assert float(ends.mean()) == pytest.approx(want[0], abs=4 * want[1] / 200)  # four standard errors
    assert float(ends.std()) == pytest.approx(want[1], rel=4 / 280)


def test_marginals_are_the_moments_of_the_density() -> None:
    oracle, level = hill("linear"), PATHS[0].at(0.4)
    x = torch.linspace(-6, 6, 2001, dtype=torch.float64)
    density = oracle.log_prob(x[:, None], level).exp()
    mean = torch.trapezoid(x * density, x)
    std = torch.trapezoid((x - mean) ** 2 * density, x).sqrt()
    assert marginal(oracle, level) == pytest.approx((float(mean), float(std)), rel=1e-10)


def test_times_are_irregular_and_rise_within_their_bounds() -> None:
    t = times(0.2, 0.7, 50)
    assert bool((t.diff() > 0).all())
    assert 0.2 < float(t[0]) < float(t[-1]) < 0.7
    assert float(t.diff().max()) > 1.5 * float(t.diff().min())
