"""DDIM and Euler: in every clock, up as well as down, and at the ends."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from obverse.laws.problems import carried, hills, starts
from obverse.laws.propagation import run
from obverse.model import Empirical
from obverse.path import EDM, VP, Cosine, Linear, Schedule, Sqrt
from obverse.sampler import Solver, Tableau, Trace

PATHS: list[Schedule] = [Linear(), Cosine(), VP(), EDM()]
FACES = ["data", "noise", "flow", "velocity", "v"]
ROUND = ["ddim", *(f"euler:face={face}" for face in FACES), *(f"heun:face={face}" for face in FACES)]
ROUND += [f"runge-kutta:table={name}" for name in ("midpoint", "kutta3", "rk4")]
ROUND += ["dpm-solver:stages=2", "dpm-solver", "dpm-solver:face=data"]


def visiting(solver: str, path: Schedule, times: list[float]) -> Tableau:
    """The table that goes from time to time, up or down."""
    levels = path.at(torch.tensor(times, dtype=torch.float64)).floats()
    trace = Trace(path, levels)
    x_t = trace.start
    for trace.number, (t, s) in enumerate(pairwise(levels)):
        x_t = trace.state(Solver.of(solver).step(trace, x_t, t, s), s)
    return trace.tableau()


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.spec)
@pytest.mark.parametrize("face", ["data", "noise", "flow"])
def test_one_step_from_pure_noise_to_data_is_ddim_in_every_constant_clock(face: str, path: Schedule) -> None:
    grid = "uniform:steps=1"
    assert Solver.of(f"euler:face={face}").tableau(path, grid) == Solver.of("ddim").tableau(path, grid)


@pytest.mark.parametrize("path", [Linear(), Cosine()], ids=lambda path: path.spec)
def test_a_step_in_the_angle_is_a_tangent_to_the_circle(path: Schedule) -> None:
    table = visiting("euler:face=v", path, [0.7, 0.4])
    turned = float(path.at(0.7).theta - path.at(0.4).theta)
    canonical = table.canonical()
    assert canonical.start.tolist() == pytest.approx([1.0, 1.0])
    assert canonical.outputs.flatten().tolist() == pytest.approx([0.0, -turned])


def test_the_angle_is_the_time_of_the_cosine_path() -> None:
    grid = "uniform:steps=6"
    one, two = (Solver.of(f"euler:face={face}").tableau("cosine", grid) for face in ("v", "velocity"))
    assert one == two
    assert one != Solver.of("euler:face=v").tableau("linear", grid)


@pytest.mark.parametrize("solver", ["euler:face=velocity", "heun:face=velocity", "runge-kutta:face=velocity"])
def test_the_noise_that_a_schedule_keeps_is_taken_away_though_time_stands_still(solver: str) -> None:
    table = Solver.of(solver).tableau("edm", "uniform:steps=2")
    oracle = Empirical(torch.tensor([[0.7, -1.2]], dtype=torch.float64), "edm")
    end = run(table, oracle, 80 * torch.tensor([[1.0, -0.5]], dtype=torch.float64))
    assert end.tolist()[0] == pytest.approx([0.7, -1.2], abs=1e-10)


@pytest.mark.parametrize("path", ["linear", "cosine"])
@pytest.mark.parametrize("solver", ROUND)
def test_up_and_down_again_ends_where_it_began_up_to_its_order(solver: str, path: str) -> None:
    oracle = hills(path)
    errors, counts = [], (20, 40)
    for count in counts:
        up = [0.1 + 0.7 * i / count for i in range(count + 1)]
        table = visiting(solver, oracle.schedule, up + up[-2::-1])
        x = starts(table.levels[0])
        errors.append(float((run(table, oracle, x) - x).abs().max()))
    slope = math.log(errors[0] / errors[1]) / math.log(counts[1] / counts[0])
    assert slope > Solver.of(solver).order - 0.2, errors
    assert errors[1] < 0.2


@pytest.mark.parametrize("solver", ["ddim", "heun", "runge-kutta", "dpm-solver:face=data"])
def test_up_from_the_data_it_arrives_where_the_flow_does(solver: str) -> None:
    oracle = hills("linear")
    clean, noisy = oracle.schedule.at(0.0), oracle.schedule.at(0.9)
    x = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)[:, None]
    want = carried(oracle, x, clean, noisy)
    errors = []
    for count in (10, 20, 40):
        table = visiting(solver, oracle.schedule, [0.9 * (i / count) ** 2 for i in range(count + 1)])
        assert float(table.levels.sigma[list(table.reads)].min()) > 0
        errors.append(float((run(table, oracle, x) - want).abs().max()))
    order = Solver.of(solver).order
    measured = -np.polyfit(np.log([10, 20, 40]), np.log(errors), 1)[0]
    assert measured > min(order, 2) - 0.25, errors


@pytest.mark.parametrize("solver", ROUND)
def test_a_step_up_from_the_data_calls_nothing(solver: str) -> None:
    table = visiting(solver, Linear(), [0.0, 0.1])
    assert table.calls == 0 and dict(table.rows[1]).popitem()[1] == pytest.approx(0.9)


@pytest.mark.parametrize("solver", ROUND)
@pytest.mark.parametrize("path", ["linear", "cosine"])
def test_a_step_up_to_pure_noise_is_finite_and_comes_back(path: str, solver: str) -> None:
    oracle = hills(path)
    table = visiting(solver, oracle.schedule, [0.9, 1.0, 0.9])
    x = starts(table.levels[0])
    assert float((run(table, oracle, x) - x).abs().max()) < 0.1


@pytest.mark.parametrize("path", [*PATHS, Sqrt()], ids=lambda path: path.spec)
@pytest.mark.parametrize("solver", [*ROUND, "runge-kutta:last=heun3", "pndm", "pndm:starter=heun", "switch"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_nothing_is_called_without_noise_nor_where_the_schedule_has_no_level(
    steps: int, solver: str, path: Schedule
) -> None:
    for grid in (f"uniform:steps={steps}", f"angle:steps={steps}", f"uniform:steps={steps},start=0.9,end=0.2"):
        table = Solver.of(solver).tableau(path, grid)
        called = table.levels[torch.tensor(table.reads)]
        assert bool((called.sigma > 0).all())
        assert float(called.logsnr.max()) <= path.range[1] * (1 + 1e-12)
