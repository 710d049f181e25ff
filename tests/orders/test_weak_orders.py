"""Weak orders: how fast the law of the end becomes right, on distributions whose law is known; nothing is sampled."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from obverse.model import Gaussian, Mixture
from obverse.path import Data
from obverse.sampler import (
    DDPM,
    ERSDE,
    SDE,
    Ancestral,
    Churn,
    DDIMEta,
    DPMSolver,
    EulerMaruyama,
    Heun,
    Langevin,
    Register,
    Renoise,
    Restart,
    SASolver,
    SDEAdams,
    SDEDPMpp,
    Solver,
    Tableau,
    Uniform,
    propagate,
)

FROM, TO = 0.9, 0.1
LINE = torch.linspace(-6, 6, 801, dtype=torch.float64)
COARSE = torch.linspace(-5, 5, 131, dtype=torch.float64)  # for pairs of states
COVARIANCE = torch.tensor([[2.0, 0.6, 0.0], [0.6, 0.5, -0.1], [0.0, -0.1, 6.0]], dtype=torch.float64)
MEAN = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)
FADING = "ramp:first=1,last=0.5,nsr_max=5,nsr_min=0.2"
IN_MOMENTS: list[tuple[Solver, int]] = [
    (EulerMaruyama(), 1),
    (EulerMaruyama(0.5), 1),
    (SDE(0.6), 1),
    (SDE(FADING), 1),
    (DDPM("posterior"), 1),
    (DDPM("large"), 1),
    (DDIMEta(0.5), 1),
    (Renoise(0.3), 1),
    (Churn(), 2),
    (Restart(), 2),
    (Ancestral(DPMSolver(2, Data())), 2),
    (SDEDPMpp(), 2),
    (SDEDPMpp(stages=3), 2),
    (SDEAdams(1.0, 2, 0), 2),
    (SDEAdams("noise-scale", 2, 0), 2),
    (SDEAdams(0.5, 1, 2), 2),
    (SDEAdams(1.0, 2, 1), 1),
    (SASolver(), 2),
    (ERSDE(), 2),
    (ERSDE(stages=1), 1),
]


def named(value: object) -> str:
    return getattr(value, "spec", str(value))


def slope(errors: list[float], steps: tuple[int, ...]) -> float:
    return float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])


def tableau(solver: Solver, path: str, steps: int) -> Tableau:
    return solver.tableau(path, Uniform(steps, start=FROM, end=TO))


@pytest.mark.parametrize("path", ["linear", "cosine"])
@pytest.mark.parametrize(("solver", "order"), IN_MOMENTS, ids=named)
def test_mean_and_covariance_become_right_with_the_declared_order(solver: Solver, order: int, path: str) -> None:
    data = Gaussian(MEAN, COVARIANCE, path)
    level = data.schedule.at(TO)
    errors, steps = [], (80, 160, 320)
    for count in steps:
        mean, covariance = propagate(tableau(solver, path, count), data)
        truth = level.alpha**2 * COVARIANCE + level.sigma**2 * torch.eye(3, dtype=torch.float64)
        errors.append(max(float((mean - level.alpha * MEAN).abs().max()), float((covariance - truth).abs().max())))
    assert slope(errors, steps) == pytest.approx(order, abs=0.15), errors
    assert solver.order == order


def test_moves_of_langevin_promise_no_order() -> None:
    """Twice as many steps leave more than a third of the error, of a base of order 2."""
    data, errors = Gaussian(MEAN, COVARIANCE, "cosine"), []
    for count in (80, 160, 320):
        _, covariance = propagate(tableau(Langevin(Heun()), "cosine", count), data)
        level = data.schedule.at(TO)
        truth = level.alpha**2 * COVARIANCE + level.sigma**2 * torch.eye(3, dtype=torch.float64)
        errors.append(float((covariance - truth).abs().max()))
    assert all(b > a / 3 for a, b in pairwise(errors)) and Langevin(Heun()).order == 0
    assert Langevin(Heun(), moves=0).order == 2


def mixture(path: str) -> Mixture:
    return Mixture(torch.tensor([[-0.8], [1.0]]), 0.16, torch.tensor([0.4, 0.6]), path)


def off(density: Tensor, oracle: Mixture, line: Tensor) -> float:
    """Largest error of the expectations of x, x² and cos 2x."""
    tests = torch.stack([line, line**2, (2 * line).cos()])
    truth = oracle.log_prob(line[:, None], oracle.schedule.at(TO)).exp()
    return float(torch.trapezoid(tests * (density - truth), line).abs().max())


def kernel(centre: Tensor, spread: float, line: Tensor) -> Tensor:
    """Transition densities onto the line, times its spacing."""
    width = float(line[1] - line[0])
    return (-(((line - centre[..., None]) / spread) ** 2) / 2).exp() * (width / (spread * math.sqrt(2 * math.pi)))


def run_by_density(table: Tableau, oracle: Mixture) -> Tensor:
    """The end's density, step by step, of a method that draws once at the end of each step."""
    table = table.on_face(oracle.face)
    density = oracle.log_prob(LINE[:, None], table.levels[0]).exp()
    held: dict[Register, Tensor] = {Register("e", 0): LINE}
    calls = {state: Register("o", j) for j, state in enumerate(table.reads)}
    for n, row in enumerate(table.rows):
        state = Register("e", n)
        if row:
            spread = sum(number for key, number in row.items() if key.kind == "xi")
            value = sum(number * held[key] for key, number in row.items() if key.kind != "xi")
            held[state] = torch.as_tensor(value)
            if spread:
                density = density @ kernel(held[state], spread, LINE)
                held = {state: LINE}
        if n in calls:
            held[calls[n]] = oracle.at(table.levels[n], held[state][:, None])(held[state][:, None], None)[:, 0]
    return density


@pytest.mark.parametrize("path", ["linear", "cosine"])
@pytest.mark.parametrize(
    ("solver", "order"),
    [
        (EulerMaruyama(), 1),
        (SDE(0.7), 1),
        (SDE(FADING), 1),
        (DDPM("large"), 1),
        (DDIMEta(0.7), 1),
        (Renoise(0.4), 1),
        (Ancestral(DPMSolver(2, Data())), 2),
        (Ancestral(DPMSolver(2, Data()), 0.7), 2),
    ],
    ids=named,
)
def test_the_law_on_a_mixture_becomes_right_with_the_declared_order(solver: Solver, order: int, path: str) -> None:
    oracle, steps = mixture(path), (20, 40, 60)
    errors = [off(run_by_density(tableau(solver, path, count), oracle), oracle, LINE) for count in steps]
    assert slope(errors, steps) == pytest.approx(order, abs=0.2), errors
    assert solver.order == order


def run_by_joint_density(table: Tableau, oracle: Mixture) -> Tensor:
    """The end's density of a method that remembers one estimate: of two states at a time, (before, now)."""
    table = table.on_face(oracle.face)
    before = oracle.log_prob(COARSE[:, None], table.levels[0]).exp()
    joint = torch.diag(before)  # before the first step both are one
    outputs = [oracle.at(level, COARSE[:, None])(COARSE[:, None], None)[:, 0] for level in list(table.levels)[:-1]]
    for n, row in enumerate(table.rows[1:]):
        now = {Register("e", n): COARSE[None, :], Register("o", n): outputs[n][None, :]}
        past = {Register("e", n - 1): COARSE[:, None], Register("o", n - 1): outputs[max(n - 1, 0)][:, None]}
        known = past | now if n else now
        centre = torch.zeros(len(COARSE), len(COARSE), dtype=torch.float64)
        for key, number in row.items():
            centre = centre + number * known[key] if key.kind != "xi" else centre
        spread = sum(number for key, number in row.items() if key.kind == "xi")
        joint = torch.einsum("ij,ijk->jk", joint, kernel(centre, spread, COARSE))
    return joint.sum(0)


@pytest.mark.parametrize("solver", [SDEDPMpp(), SDEAdams(0.7, 2, 0)], ids=named)
def test_the_law_of_a_method_with_memory_is_right_to_second_order_on_a_mixture(solver: Solver) -> None:
    oracle, steps = mixture("cosine"), (10, 14, 20)
    errors = [off(run_by_joint_density(tableau(solver, "cosine", count), oracle), oracle, COARSE) for count in steps]
    assert slope(errors, steps) == pytest.approx(2, abs=0.3), errors
