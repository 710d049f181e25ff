"""PNDM against the paper's algorithm on plain numbers and against another library, and its starts and ends."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from obverse.ground.errors import UnknownName
from obverse.laws.problems import hills, starts
from obverse.laws.propagation import run
from obverse.model import Empirical, Mixture
from obverse.path import EDM, VP, Cosine, Linear, Schedule
from obverse.sampler import DDIM, PNDM, Heun, RungeKutta, Solver, sample

PATHS: list[Schedule] = [Linear(), Cosine(), VP(), EDM()]
STARTERS = ["runge-kutta", "heun", "none"]
MEANS, WEIGHTS = torch.tensor([[-0.8, 0.3], [1.0, -0.2]]), torch.tensor([0.3, 0.7])
START = torch.linspace(-1.5, 1.5, 12, dtype=torch.float64).reshape(6, 2)


def kept(t: float) -> float:
    """Alpha squared of the VP SDE with beta from 0.1 to 20."""
    return math.exp(-(19.9 * t**2) / 2 - 0.1 * t)


def transfer(x: Tensor, e: Tensor, t: float, s: float) -> Tensor:
    """Liu et al. (2022), equation 11."""
    a, b = kept(t), kept(s)
    below = math.sqrt(a) * (math.sqrt((1 - b) * a) + math.sqrt((1 - a) * b))
    return math.sqrt(b / a) * x - (b - a) / below * e


def by_the_paper(oracle: Mixture, times: list[float], starter: str) -> Tensor:
    """Liu et al. (2022), equations 12 and 13, algorithm 2; with fewer estimates where there are not four."""

    def eps(x: Tensor, t: float) -> Tensor:
        return oracle(x, t).noise

    adams = {1: [1], 2: [-1 / 2, 3 / 2], 3: [5 / 12, -16 / 12, 23 / 12], 4: [-9 / 24, 37 / 24, -59 / 24, 55 / 24]}
    x, known = START, list[Tensor]()
    for t, s in pairwise(times):
        known.append(eps(x, t))
        if starter == "runge-kutta" and len(known) <= 3:
            middle = (t + s) / 2
            e1 = known[-1]
            e2 = eps(transfer(x, e1, t, middle), middle)
            e3 = eps(transfer(x, e2, t, middle), middle)
            e4 = eps(transfer(x, e3, t, s), s)
            e = (e1 + 2 * e2 + 2 * e3 + e4) / 6
        elif starter == "heun" and len(known) == 1:
            e = (known[-1] + eps(transfer(x, known[-1], t, s), s)) / 2
        else:
            last = known[-4:]
            e = sum((w * k for w, k in zip(adams[len(last)], last, strict=True)), start=torch.zeros_like(x))
        x = transfer(x, e, t, s)
    return x


@pytest.mark.parametrize("starter", STARTERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9])
def test_samples_are_those_of_the_papers_algorithm(steps: int, starter: str) -> None:
    oracle = Mixture(MEANS, 0.15, WEIGHTS, "vp")
    grid = f"uniform:steps={steps},start=0.9,end=0.1"
    got = sample(oracle, (6, 2), solver=PNDM(starter), grid=grid, start=START, dtype=torch.float64)
    want = by_the_paper(oracle, [0.9 - 0.8 * i / steps for i in range(steps + 1)], starter)
    assert float((got - want).abs().max()) < 1e-10


@pytest.mark.parametrize(("starter", "skip"), [("runge-kutta", False), ("heun", True)])
@pytest.mark.parametrize("steps", [5, 10])
def test_samples_are_those_of_diffusers(steps: int, starter: str, skip: bool) -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler: Any = diffusers.PNDMScheduler(skip_prk_steps=skip, set_alpha_to_one=True)
    scheduler.set_timesteps(steps)
    oracle = Mixture(MEANS, 0.15, WEIGHTS, "ddpm")
    x = START
    for index in scheduler.timesteps:
        x = scheduler.step(oracle(x, (int(index) + 1) / 1000).noise, int(index), x).prev_sample
    times = (*((1000 // steps * i + 1) / 1000 for i in reversed(range(steps))), 0.0)
    grid = f"given:times=({','.join(map(str, times))})"
    got = sample(oracle, (6, 2), solver=PNDM(starter), grid=grid, start=START, dtype=torch.float64)
    assert float((got - x).abs().max()) < 1e-4  # its table of alphas is in single precision


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.spec)
@pytest.mark.parametrize("starter", STARTERS)
def test_one_step_to_zero_noise_is_ddim(starter: str, path: Schedule) -> None:
    for grid in ("uniform:steps=1", "uniform:steps=1,start=0.9"):
        assert PNDM(starter).tableau(path, grid) == DDIM().tableau(path, grid)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.spec)
def test_the_first_step_after_heun_is_heun_of_noise(path: Schedule) -> None:
    grid = "uniform:steps=1,start=0.9,end=0.4"
    assert PNDM("heun").tableau(path, grid) == Heun("noise").tableau(path, grid)
    assert PNDM("none").tableau(path, grid) == DDIM().tableau(path, grid)


def test_pseudo_runge_kutta_is_runge_kutta_where_t_is_nsr() -> None:
    grid = "uniform:steps=2,start=0.9,end=0.4"
    rk4 = RungeKutta("rk4", "noise")
    assert PNDM().tableau("edm:rho=1", grid) == rk4.tableau("edm:rho=1", grid)
    assert PNDM().tableau("vp", grid) != rk4.tableau("vp", grid)


def test_from_pure_noise_it_starts_with_runge_kutta_of_flow_matching() -> None:
    grid = "given:times=(1.0,0.7)"
    assert PNDM().tableau("linear", grid) == RungeKutta("rk4").tableau("linear", grid)


@pytest.mark.parametrize(("starter", "extra"), [("runge-kutta", 9), ("heun", 1), ("none", 0)])
def test_calls_are_one_a_step_and_those_of_the_start(starter: str, extra: int) -> None:
    assert PNDM(starter).tableau("vp", "uniform:steps=12").calls == 12 + extra


@pytest.mark.parametrize("starter", STARTERS)
@pytest.mark.parametrize("path", [Linear(), Cosine(), VP()], ids=lambda path: path.spec)
def test_constant_data_is_reached(path: Schedule, starter: str) -> None:
    point = torch.tensor([[0.7, -1.2]], dtype=torch.float64)
    for steps in (1, 2, 3, 4, 7):
        table = PNDM(starter).tableau(path, f"uniform:steps={steps}")
        end = run(table, Empirical(point, path), torch.ones(3, 2, dtype=torch.float64))
        assert float((end - point).abs().max()) < 1e-9


def test_the_weights_of_even_steps_cap_the_order_at_two() -> None:
    oracle = hills("cosine")
    counts = (80, 160, 320)
    grids = [f"uniform:steps={count},start=0.9,end=0.1" for count in counts]
    tables = [PNDM("none").tableau("cosine", grid) for grid in grids]
    fine = RungeKutta("rk4", "v").tableau("cosine", "uniform:steps=640,start=0.9,end=0.1")
    x = starts(fine.levels[0])
    errors = [float((run(table, oracle, x) - run(fine, oracle, x)).abs().max()) for table in tables]
    assert abs(-np.polyfit(np.log(counts), np.log(errors), 1)[0] - 2) < 0.15


def test_an_unknown_starter_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="No starter of pndm is called 'huen'; did you mean 'heun'"):
        Solver.of("pndm:starter=huen")
