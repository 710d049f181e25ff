"""Runge-Kutta in any clock: tables by Butcher's conditions, steps by textbooks, ends by their rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.laws.problems import carried, hills, starts
from obverse.laws.propagation import run
from obverse.model import Empirical, Mixture
from obverse.path import EDM, VE, VP, Cosine, Linear, Rescaled, Schedule, Shifted
from obverse.sampler import DDIM, TABLES, Butcher, Euler, Heun, RungeKutta, Solver, sample

PATHS: list[Schedule] = [Linear(), Cosine(), VP(), VE(), EDM(), Shifted()]
DOUBLE = {"dtype": torch.float64}
DATA = Mixture(torch.tensor([[-0.8, 0.3], [1.0, -0.2]]), 0.15, torch.tensor([0.3, 0.7]), "linear")


def trees(table: Butcher) -> dict[int, list[float]]:
    """By order: the elementary weights of the rooted trees, times their densities; all 1 up to a method's order."""
    b, size = np.array(table.weights), len(table.weights)
    a = np.zeros((size, size))
    for i, row in enumerate(table.rows, start=1):
        a[i, : len(row)] = row
    one = np.ones(size)
    c = a @ one
    return {
        1: [b @ one],
        2: [2 * b @ c],
        3: [3 * b @ c**2, 6 * b @ a @ c],
        4: [4 * b @ c**3, 8 * b @ (c * (a @ c)), 12 * b @ a @ c**2, 24 * b @ a @ a @ c],
    }


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_its_order_and_no_more(name: str) -> None:
    table = TABLES[name]
    weights = trees(table)
    for order in range(1, table.order + 1):
        assert weights[order] == pytest.approx([1.0] * len(weights[order]), abs=1e-14)
    if table.order < 4:
        assert max(abs(weight - 1) for weight in weights[table.order + 1]) > 0.05
    assert RungeKutta(name).order == table.order


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.spec)
@pytest.mark.parametrize("grid", ["uniform:steps=5,start=0.97", "uniform:steps=4,start=0.9,end=0.2", "angle:steps=3"])
def test_euler_in_the_clocks_of_data_noise_and_flow_is_ddim(path: Schedule, grid: str) -> None:
    for face in ("data", "noise", "flow"):
        assert RungeKutta("euler", face).tableau(path, grid) == DDIM().tableau(path, grid), face


@pytest.mark.parametrize("face", ["data", "noise", "flow", "velocity", "v"])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.spec)
def test_tables_of_a_name_are_the_methods_of_that_name(path: Schedule, face: str) -> None:
    grid = "angle:steps=4"
    assert RungeKutta("euler", face).tableau(path, grid) == Euler(face).tableau(path, grid)
    assert RungeKutta("heun", face, last="euler").tableau(path, grid) == Heun(face).tableau(path, grid)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("grid", ["uniform:steps=5", "angle:steps=4", "uniform:steps=3,start=0.9,end=0.3"])
def test_velocity_is_flow_on_the_linear_path_and_v_on_the_cosine_path(grid: str, name: str) -> None:
    flow, velocity, v = (RungeKutta(name, face) for face in ("flow", "velocity", "v"))
    assert velocity.tableau("linear", grid) == flow.tableau("linear", grid)
    assert velocity.tableau("cosine", grid) == v.tableau("cosine", grid)
    assert flow.tableau("cosine", grid) != v.tableau("cosine", grid)
    assert velocity.tableau("vp", grid) != flow.tableau("vp", grid)


@pytest.mark.parametrize("face", ["flow", "v", "noise", "data"])
@pytest.mark.parametrize("name", ["rk4", "kutta3", "ralston"])
def test_the_scale_of_a_path_is_no_matter(name: str, face: str) -> None:
    grid = "angle:steps=4"
    swollen = Rescaled(Cosine(), lambda t: 1 + 3 * t**2)
    assert RungeKutta(name, face).tableau(swollen, grid) == RungeKutta(name, face).tableau("cosine", grid)


def textbook_rk4(f: Callable[[Tensor, float], Tensor], y: Tensor, u: float, h: float) -> Tensor:
    k1 = f(y, u)
    k2 = f(y + h / 2 * k1, u + h / 2)
    k3 = f(y + h / 2 * k2, u + h / 2)
    k4 = f(y + h * k3, u + h)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def test_rk4_of_flow_matching_is_the_textbooks() -> None:
    start = starts(DATA.schedule.at(0.9)).repeat(1, 2)
    got = sample(DATA, (8, 2), solver="runge-kutta", grid="uniform:steps=4,start=0.9,end=0.1", start=start, **DOUBLE)
    x = start
    for t in (0.9, 0.7, 0.5, 0.3):
        x = textbook_rk4(lambda y, u: DATA(y, u).flow, x, t, -0.2)
    assert float((got - x).abs().max()) < 1e-13


def test_rk4_in_the_angle_is_the_textbooks_on_the_circle() -> None:
    path = Linear()  # where r is not 1

    def turned(y: Tensor, theta: float) -> Tensor:
        t = math.tan(theta) / (1 + math.tan(theta))
        r = math.hypot(t, 1 - t)
        return DATA(y * r, t).v / r

    start = starts(path.at(0.9)).repeat(1, 2)
    grid = "uniform:steps=1,start=0.9,end=0.5"
    got = sample(DATA, (8, 2), solver="runge-kutta:face=v", grid=grid, start=start, **DOUBLE)
    first, last = math.atan(9.0), math.atan(1.0)
    want = textbook_rk4(turned, start / math.hypot(0.9, 0.1), first, last - first) * math.hypot(0.5, 0.5)
    assert float((got - want).abs().max()) < 1e-13


@pytest.mark.parametrize("solver", ["heun:face=noise", "runge-kutta:table=heun,face=noise,last=euler"])
def test_heun_of_noise_is_edms_sampler(solver: str) -> None:
    """Karras et al. (2022), algorithm 1, with their denoiser D(x; nsr), on their levels."""
    oracle = DATA.on("edm")
    levels = [float(n) for n in Solver.of("ddim").tableau("edm", "karras:steps=9").levels.nsr]
    start = 80 * torch.linspace(-1, 1, 8, dtype=torch.float64)[:, None].repeat(1, 2)

    def rate(x: Tensor, nsr: float) -> Tensor:
        return (x - oracle(x, oracle.schedule.at_logsnr(-2 * math.log(nsr)).t).data) / nsr

    x = start
    for here, there in pairwise(levels):
        slope = rate(x, here)
        end = x + (there - here) * slope
        x = end if there == 0 else x + (there - here) / 2 * (slope + rate(end, there))
    got = sample(oracle, (8, 2), solver=solver, grid="karras:steps=9", start=start, **DOUBLE)
    assert float((got - x).abs().max()) < 1e-10


@pytest.mark.parametrize("face", ["data", "noise", "flow"])
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_constant_data_is_reached_from_pure_noise_in_every_clock_of_a_constant_row(
    steps: int, name: str, face: str
) -> None:
    point = torch.tensor([[0.7, -1.2]], dtype=torch.float64)
    table = RungeKutta(name, face).tableau("linear", f"uniform:steps={steps}")
    end = run(table, Empirical(point, "linear"), torch.ones(3, 2, dtype=torch.float64))
    assert float((end - point).abs().max()) < 1e-11


@pytest.mark.parametrize("path", ["linear", "cosine"])
@pytest.mark.parametrize("face", ["flow", "v", "velocity"])
def test_down_to_the_data_the_last_step_decides(face: str, path: str) -> None:
    """Against the exact quantiles: with euler the order is 2 at most, with midpoint the error is ten times less."""
    oracle = hills(path)

    def errors(last: str, counts: tuple[int, ...]) -> list[float]:
        found = []
        for count in counts:
            table = RungeKutta("rk4", face, last).tableau(path, f"uniform:steps={count}")
            x = starts(table.levels[0])
            found.append(float((run(table, oracle, x) - carried(oracle, x, *table.levels[[0, -1]])).abs().max()))
        return found

    counts = (16, 32, 64)
    by_euler, by_midpoint = errors("euler", counts), errors("midpoint", counts)
    assert -np.polyfit(np.log(counts), np.log(by_euler), 1)[0] < 2.15
    assert -np.polyfit(np.log(counts), np.log(by_midpoint), 1)[0] > 3
    assert all(good < bad / 10 for good, bad in zip(by_midpoint, by_euler, strict=True))


def test_calls_are_counted_and_the_last_step_calls_what_it_can() -> None:
    for steps in (1, 2, 3):
        assert RungeKutta().tableau("linear", f"uniform:steps={steps}").calls == 4 * steps - 2
        assert RungeKutta(last="euler").tableau("linear", f"uniform:steps={steps}").calls == 4 * steps - 3
        assert RungeKutta().tableau("edm", f"uniform:steps={1 + steps}").calls == 4 * steps + 1  # no level in between
        assert RungeKutta().tableau("linear", f"uniform:steps={steps},end=0.1").calls == 4 * steps


def test_what_does_not_exist_is_refused_with_what_does() -> None:
    with pytest.raises(UnknownName, match="No Butcher table is called 'ralton'; did you mean 'ralston'"):
        RungeKutta("ralton")
    with pytest.raises(InvalidArgument, match="last=rk4 would call at zero noise"):
        RungeKutta(last="rk4")
    with pytest.raises(InvalidArgument, match="'score' has no clock"):
        RungeKutta(face="score").tableau("linear", "uniform:steps=2")
