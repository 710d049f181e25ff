"""Slopes of log error against log step, on distributions whose answer is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.stats import norm
from torch import Tensor

from obverse.model import Gaussian, Mixture
from obverse.path import Data, Flow, Level, Noise, V, Velocity
from obverse.sampler import (
    AB,
    DDIM,
    DEIS,
    PNDM,
    SDE,
    Adams,
    DPMpp2M,
    DPMSolver,
    Euler,
    Heun,
    InNSR,
    Register,
    RungeKutta,
    Solver,
    Switch,
    Uniform,
    UniPC,
    sample,
)

FROM, TO = 0.9, 0.1
COVARIANCE = torch.tensor([[0.5, 0.3], [0.3, 0.8]], dtype=torch.float64)
MEANS = torch.tensor([[-0.8, 0.3], [1.0, -0.2], [0.1, 1.1]], dtype=torch.float64)
SOLVERS = [
    DDIM(),
    Euler(Flow()),
    Euler(Noise()),
    Euler(Velocity()),
    Heun(Flow()),
    Heun(Noise()),
    Heun(Data()),
    Heun(Velocity()),
    DPMpp2M(),
    Euler(V()),
    *(RungeKutta(table) for table in ("ralston", "heun3", "ralston3", "rk4")),
    *(RungeKutta(table, Noise()) for table in ("kutta3", "rk4", "three-eighths")),
    *(RungeKutta("rk4", face) for face in (Data(), Velocity())),
    *(RungeKutta(table, V()) for table in ("heun3", "ralston3")),
    *(DPMSolver(stages, face) for stages in (2, 3) for face in (Data(), Noise())),
    DPMSolver(tail=(2, 1)),
    PNDM(),
    PNDM("heun"),
    Switch(DDIM(), RungeKutta()),
    AB(2),
    DEIS(),
    UniPC(1),
    Adams(memory=1),
    Adams(Noise(), InNSR(), memory=2, corrector=False),
]
ORDERS = {
    "ddim": 1,
    "euler": 1,
    "heun": 2,
    "dpmpp-2m": 2,
    "pndm": 2,
    "switch": 2,
    "ab": 2,
    "deis": 2,
    "unipc": 2,
    "adams": 2,
}
TABLES = {"ralston": 2, "heun3": 3, "ralston3": 3, "kutta3": 3, "rk4": 4, "three-eighths": 4}


def order_of(solver: Solver) -> int:
    """What theory says of it."""
    if isinstance(solver, RungeKutta):
        return TABLES[solver.table]
    if isinstance(solver, DPMSolver):
        return 2 if solver.tail else solver.stages
    return ORDERS[solver.name]


def slope(errors: list[float], steps: tuple[int, ...]) -> float:
    return float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])


def states(level: Level) -> Tensor:
    """Five of them, where a path starts."""
    around = torch.tensor([[-1.2, 0.4], [0.3, 0.9], [0.0, -0.5], [1.5, 0.1], [-0.4, -1.4]], dtype=torch.float64)
    return around * float(level.r)


def by_scipy(oracle: Mixture, x_t: Tensor) -> Tensor:
    """The probability-flow ODE by an eighth-order method with error control."""

    def rate(t: float, x: np.ndarray) -> np.ndarray:
        return np.asarray(oracle(torch.from_numpy(x).reshape(x_t.shape), t).velocity.flatten())

    run = solve_ivp(rate, (FROM, TO), x_t.flatten().numpy(), method="DOP853", rtol=1e-12, atol=1e-13)
    return torch.from_numpy(run.y[:, -1]).reshape(x_t.shape)


def by_closed_form(oracle: Mixture, x_t: Tensor) -> Tensor:
    assert isinstance(oracle, Gaussian)
    return oracle.flow(x_t, oracle.schedule.at(FROM), oracle.schedule.at(TO))


PROBLEMS: dict[str, tuple[Callable[[str], Mixture], Callable[[Mixture, Tensor], Tensor]]] = {
    "gaussian": (lambda path: Gaussian(torch.tensor([0.2, -0.3]), COVARIANCE, path), by_closed_form),
    "mixture": (lambda path: Mixture(MEANS, 0.15, torch.tensor([0.3, 0.3, 0.4]), path), by_scipy),
}


@pytest.mark.parametrize("path", ["linear", "cosine"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_error_of_the_end_falls_with_the_declared_order(problem: str, path: str) -> None:
    make, solve = PROBLEMS[problem]
    oracle = make(path)
    start = states(oracle.schedule.at(FROM))
    want = solve(oracle, start)
    steps = (40, 80, 160)
    for solver in SOLVERS:
        errors = []
        for count in steps:
            grid = Uniform(count, start=FROM, end=TO)
            got = sample(oracle, (5, 2), solver=solver, grid=grid, start=start, dtype=torch.float64)
            errors.append(float((got - want).abs().max()))
        measured = slope(errors, steps)
        expected = order_of(solver)
        assert abs(measured - expected) < 0.15, (solver, measured, errors)
        assert expected == solver.order


LINE = torch.linspace(-5, 5, 401, dtype=torch.float64)[:, None]
ON_A_LINE: dict[str, Callable[[str], Mixture]] = {
    "gaussian": lambda path: Gaussian(torch.tensor([0.3]), 0.36, path),
    "mixture": lambda path: Mixture(torch.tensor([[-0.8], [1.0]]), 0.16, torch.tensor([0.4, 0.6]), path),
}


def expectations(density: Tensor) -> Tensor:
    """Of x, x² and cos 2x."""
    tests = torch.stack([LINE[:, 0], LINE[:, 0] ** 2, (2 * LINE[:, 0]).cos()])
    return torch.trapezoid(tests * density, LINE[:, 0])


def density_of_the_end(solver: Solver, oracle: Mixture, steps: int) -> Tensor:
    """The law of a run's end, step by step through its transition kernels: nothing is sampled."""
    table = solver.tableau(oracle.schedule, Uniform(steps, start=FROM, end=TO)).on_face(oracle.face)
    levels = list(table.levels)
    density = oracle.log_prob(LINE, levels[0]).exp()
    width = float(LINE[1] - LINE[0])
    for n in range(1, len(table.rows)):
        row = dict(table.rows[n])
        spread = row.pop(Register("xi", n - 1))
        output = oracle.at(levels[n - 1], LINE)(LINE, None)
        centre = row.pop(Register("e", n - 1)) * LINE + row.pop(Register("o", n - 1)) * output
        assert not row
        density = width * torch.from_numpy(norm.pdf(LINE, centre[:, 0], spread)) @ density
    return density


@pytest.mark.parametrize("path", ["linear", "cosine"])
@pytest.mark.parametrize("problem", ON_A_LINE)
@pytest.mark.parametrize("eta", [0.7, 1.0])
def test_the_law_of_a_stochastic_run_is_right_to_first_order(problem: str, path: str, eta: float) -> None:
    oracle = ON_A_LINE[problem](path)
    want = expectations(oracle.log_prob(LINE, oracle.schedule.at(TO)).exp())
    steps = (20, 40, 80)
    errors = [float((expectations(density_of_the_end(SDE(eta), oracle, count)) - want).abs().max()) for count in steps]
    assert abs(slope(errors, steps) - 1) < 0.15, errors
    assert SDE(eta).order == 1
