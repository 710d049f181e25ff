"""DPM-Solver against the papers' algorithms on plain numbers, its ends, and DPM-Solver-fast."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.laws.propagation import run
from obverse.model import Empirical, Mixture
from obverse.path import EDM, VE, VP, Cosine, Linear, Schedule
from obverse.sampler import DDIM, DPMpp2M, DPMSolver, RungeKutta, sample

PATHS: list[Schedule] = [Linear(), Cosine(), VP(), VE(), EDM()]
ORACLE = Mixture(torch.tensor([[-0.8, 0.3], [1.0, -0.2]]), 0.15, torch.tensor([0.3, 0.7]), "vp")
START = torch.linspace(-1.5, 1.5, 12, dtype=torch.float64).reshape(6, 2)
TIMES = (0.9, 0.6, 0.35, 0.1)
GRID = "given:times=(0.9,0.6,0.35,0.1)"
DOUBLE: dict[str, Any] = {"dtype": torch.float64, "start": START, "grid": GRID}


def alpha(t: float) -> float:
    """Of the VP SDE with beta from 0.1 to 20: Lu et al. (2022), appendix D.4."""
    return math.exp(-(19.9 * t**2) / 4 - 0.1 * t / 2)


def sigma(t: float) -> float:
    return math.sqrt(1 - alpha(t) ** 2)


def half(t: float) -> float:
    """Their lambda."""
    return math.log(alpha(t) / sigma(t))


def time_at(value: float) -> float:
    found: float = brentq(lambda t: half(t) - value, 1e-6, 1.0, xtol=1e-15, rtol=1e-14)
    return found


def eps(x: Tensor, t: float) -> Tensor:
    return ORACLE(x, t).noise


def data(x: Tensor, t: float) -> Tensor:
    return ORACLE(x, t).data


def dpm_solver_2(x: Tensor, t: float, s: float, r1: float = 0.5) -> Tensor:
    """Lu et al. (2022), algorithm 1 and its general form in appendix C."""
    h = half(s) - half(t)
    middle = time_at(half(t) + r1 * h)
    u = alpha(middle) / alpha(t) * x - sigma(middle) * math.expm1(r1 * h) * eps(x, t)
    change = eps(u, middle) - eps(x, t)
    return alpha(s) / alpha(t) * x - sigma(s) * math.expm1(h) * eps(x, t) - sigma(s) / (2 * r1) * math.expm1(h) * change


def dpm_solver_3(x: Tensor, t: float, s: float, r1: float = 1 / 3, r2: float = 2 / 3) -> Tensor:
    """Lu et al. (2022), algorithm 2."""
    h = half(s) - half(t)
    one, two = time_at(half(t) + r1 * h), time_at(half(t) + r2 * h)
    u1 = alpha(one) / alpha(t) * x - sigma(one) * math.expm1(r1 * h) * eps(x, t)
    d1 = eps(u1, one) - eps(x, t)
    u2 = (
        alpha(two) / alpha(t) * x
        - sigma(two) * math.expm1(r2 * h) * eps(x, t)
        - sigma(two) * r2 / r1 * (math.expm1(r2 * h) / (r2 * h) - 1) * d1
    )
    d2 = eps(u2, two) - eps(x, t)
    return alpha(s) / alpha(t) * x - sigma(s) * math.expm1(h) * eps(x, t) - sigma(s) / r2 * (math.expm1(h) / h - 1) * d2


def dpm_solver_pp_2s(x: Tensor, t: float, s: float, r: float = 0.5) -> Tensor:
    """Lu et al. (2022), "DPM-Solver++", algorithm 1."""
    h = half(s) - half(t)
    middle = time_at(half(t) + r * h)
    u = sigma(middle) / sigma(t) * x - alpha(middle) * math.expm1(-r * h) * data(x, t)
    d = (1 - 1 / (2 * r)) * data(x, t) + 1 / (2 * r) * data(u, middle)
    return sigma(s) / sigma(t) * x - alpha(s) * math.expm1(-h) * d


def dpm_solver_pp_3s(x: Tensor, t: float, s: float) -> Tensor:
    """Two nested integrals of a data estimate that changes evenly in lambda, by quadrature of T25."""
    h, r1, r2 = half(s) - half(t), 1 / 3, 2 / 3

    def carried(share: float, change: Tensor | float) -> Tensor:
        """x at a share of the way, with data estimate D + change * (share of the way passed)."""
        end = time_at(half(t) + share * h) if share < 1 else s
        count = 2000
        u = (torch.arange(count, dtype=torch.float64) + 0.5) / count * share * h
        pull = torch.exp(-(share * h - u)) * share * h / count
        estimate = data(x, t)[None] + torch.as_tensor(change) * (u / h)[:, None, None]
        return sigma(end) / sigma(t) * x + alpha(end) * (pull[:, None, None] * estimate).sum(0)

    d1 = (data(carried(r1, 0.0), time_at(half(t) + r1 * h)) - data(x, t)) / r1
    d2 = (data(carried(r2, d1), time_at(half(t) + r2 * h)) - data(x, t)) / r2
    return carried(1.0, d2)


ALGORITHMS: dict[str, tuple[Callable[[Tensor, float, float], Tensor], float]] = {
    "dpm-solver:stages=2": (dpm_solver_2, 1e-12),
    "dpm-solver:stages=2,r1=0.3": (lambda x, t, s: dpm_solver_2(x, t, s, 0.3), 1e-12),
    "dpm-solver": (dpm_solver_3, 1e-12),
    "dpm-solver:r1=0.25,r2=0.8": (lambda x, t, s: dpm_solver_3(x, t, s, 0.25, 0.8), 1e-12),
    "dpm-solver:stages=2,face=data": (dpm_solver_pp_2s, 1e-12),
    "dpm-solver:stages=2,face=data,r1=0.7": (lambda x, t, s: dpm_solver_pp_2s(x, t, s, 0.7), 1e-12),
    "dpm-solver:face=data": (dpm_solver_pp_3s, 1e-6),
}


@pytest.mark.parametrize("solver", ALGORITHMS)
def test_samples_are_those_of_the_papers_algorithm(solver: str) -> None:
    step, allowed = ALGORITHMS[solver]
    x = START
    for t, s in pairwise(TIMES):
        x = step(x, t, s)
    got = sample(ORACLE, (6, 2), solver=solver, **DOUBLE)
    assert float((got - x).abs().max()) < allowed
    assert float((got - sample(ORACLE, (6, 2), solver="ddim", **DOUBLE)).abs().max()) > 1e-3


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.spec)
@pytest.mark.parametrize("grid", ["uniform:steps=5", "uniform:steps=4,start=0.9,end=0.2", "logsnr:steps=3"])
@pytest.mark.parametrize("face", ["noise", "data"])
def test_one_stage_is_ddim_of_noise_and_of_data(face: str, grid: str, path: Schedule) -> None:
    assert DPMSolver(1, face).tableau(path, grid) == DDIM().tableau(path, grid)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.spec)
@pytest.mark.parametrize("stages", [2, 3])
@pytest.mark.parametrize("face", ["noise", "data"])
def test_a_step_to_zero_noise_is_ddim(face: str, stages: int, path: Schedule) -> None:
    table = DPMSolver(stages, face).tableau(path, "uniform:steps=1,start=0.9")
    assert table == DDIM().tableau(path, "uniform:steps=1,start=0.9") and table.calls == 1
    assert DPMSolver(stages, face).tableau(path, "uniform:steps=3,start=0.9").calls == 2 * stages + 1


@pytest.mark.parametrize("stages", [2, 3])
@pytest.mark.parametrize("face", ["noise", "data"])
def test_a_step_from_pure_noise_is_the_midpoint_rule_of_flow_matching(face: str, stages: int) -> None:
    grid = "given:times=(1.0,0.7)"
    assert DPMSolver(stages, face).tableau("linear", grid) == RungeKutta("midpoint").tableau("linear", grid)
    assert DPMSolver(stages, face).tableau("vp", grid) != RungeKutta("midpoint").tableau("vp", grid)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.spec)
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
@pytest.mark.parametrize("solver", [DPMSolver(2), DPMSolver(3), DPMSolver(2, "data"), DPMSolver(3, tail=(2, 1))])
def test_constant_data_is_reached_from_every_start(solver: DPMSolver, steps: int, path: Schedule) -> None:
    point = torch.tensor([[0.7, -1.2]], dtype=torch.float64)
    table = solver.tableau(path, f"angle:steps={steps}")
    end = run(table, Empirical(point, path), torch.ones(3, 2, dtype=torch.float64) * table.levels.sigma[0])
    assert float((end / table.levels.alpha[-1] - point).abs().max()) < 1e-9


@pytest.mark.parametrize(("tail", "steps", "calls"), [((2, 1), 5, 12), ((1,), 5, 13), ((2,), 5, 14), ((2, 1), 2, 3)])
def test_the_fast_rule_spends_its_calls_as_the_paper_says(tail: tuple[int, ...], steps: int, calls: int) -> None:
    """Lu et al. (2022), section 3.4: with K = calls // 3 + 1 steps, the last are 2 and 1, or 1, or 2."""
    assert steps == calls // 3 + 1
    grid = f"uniform:steps={steps},start=0.9,end=0.1"
    assert DPMSolver(3, tail=tail).tableau("vp", grid).calls == calls
    assert DPMSolver(3, tail=tail).tableau("vp", f"uniform:steps={steps - 1},start=0.9,end=0.1").calls < calls


def test_a_tail_longer_than_the_grid_is_cut_at_its_front() -> None:
    grid = "uniform:steps=1,start=0.9,end=0.1"
    assert DPMSolver(3, tail=(2, 1)).tableau("vp", grid) == DPMSolver(1).tableau("vp", grid)


def test_data_and_noise_differ_from_two_stages_on_and_from_multistep() -> None:
    grid = "uniform:steps=4,start=0.9,end=0.1"
    for stages in (2, 3):
        assert DPMSolver(stages).tableau("vp", grid) != DPMSolver(stages, "data").tableau("vp", grid)
    assert DPMSolver(2, "data").tableau("vp", grid) != DPMpp2M().tableau("vp", grid)


def test_three_stages_are_of_order_three_at_two_thirds_only() -> None:
    assert [DPMSolver(stages).order for stages in (1, 2, 3)] == [1, 2, 3]
    assert DPMSolver(r2=0.5).order == 2
    assert DPMSolver(tail=(2, 1)).order == 2 and DPMSolver(tail=(2,)).order == 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stages": 4}, "stages is 1, 2 or 3, got 4"),
        ({"face": "flow"}, "face is noise or data, got flow"),
        ({"r1": 0.7}, "of three stages r1 < r2 <= 1; got r1=0.7"),
        ({"r2": 1.5}, "r2=1.5"),
        ({"stages": 2, "r1": 0.0}, "0 < r1 <= 1"),
        ({"tail": (4,)}, r"tail holds 1, 2 and 3, got \(4,\)"),
    ],
)
def test_settings_out_of_range_are_refused_with_the_range(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        DPMSolver(**settings)
