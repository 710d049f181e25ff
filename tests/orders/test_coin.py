"""One network, one list of noise levels: every schedule gives the same x / alpha."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from obverse.model import Model, Network
from obverse.path import Schedule
from obverse.sampler import LogSNR, Sampler, Solver, sample

PATHS = ["linear", "vp", "cosine", "edm"]
SOLVERS = ["ddim", "euler", "heun:face=noise", "heun:face=flow", "dpmpp-2m", "sde", "sde:eta=0.5"]
SOLVERS += [
    "runge-kutta",
    "runge-kutta:face=v",
    "dpm-solver",
    "dpm-solver:stages=2,face=data",
    "switch",
]
GRID = LogSNR(12, low=-8.0, high=8.0)  # all four schedules reach these levels
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


class Small(nn.Module):
    """A network of random weights."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        make = torch.Generator().manual_seed(5)
        self.first = nn.Parameter(torch.randn(4, 32, generator=make, dtype=torch.float64).to(dtype))
        self.last = nn.Parameter(torch.randn(32, 3, generator=make, dtype=torch.float64).to(dtype) / 6)

    def forward(self, x: Tensor, time: Tensor, cond: object) -> Tensor:
        return torch.cat([x, time[:, None].to(x.dtype) / 10], 1).mm(self.first).tanh().mm(self.last)


def network(predicts: str, dtype: torch.dtype = torch.float64) -> Model:
    return Network(
        Small(dtype).requires_grad_(False), "linear", predicts=predicts, time="logsnr", precondition="circle"
    )


def difference(one: Tensor, two: Tensor) -> float:
    return float((one - two).abs().max() / two.abs().max())


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("predicts", ["v", "flow", "data", "noise"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_schedule_ends_in_the_same_data(solver: str, predicts: str, dtype: torch.dtype) -> None:
    model = network(predicts, dtype)
    first, *others = (sample(model.on(path), (6, 3), solver=solver, grid=GRID, seed=1, dtype=dtype) for path in PATHS)
    assert float(first.std()) > 0.1
    for other in others:
        assert difference(other, first) <= TOLERANCE[dtype]


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_state_on_the_way_is_the_same_up_to_alpha(solver: str) -> None:
    def states(path: str) -> Tensor:
        model = network("v").on(path)
        table = Solver.of(solver).tableau(model.schedule, GRID)
        start = torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(4, 3) * table.levels[0].sigma
        return torch.stack([step.x_t / step.level.alpha for step in Sampler(table).steps(model, start, seed=1)])

    first, *others = (states(path) for path in PATHS)
    for other in others:
        assert difference(other, first) <= TOLERANCE[torch.float64]


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_tables_of_all_schedules_are_one_table(solver: str) -> None:
    first, *others = (Solver.of(solver).tableau(path, GRID) for path in PATHS)
    assert all(other.difference(first) <= 1e-12 for other in others)


def test_another_list_of_noise_levels_is_another_sample() -> None:
    model = network("v")
    one, two = (sample(model, (6, 3), solver="ddim", grid=f"logsnr:steps={n}", dtype=torch.float64) for n in (5, 6))
    assert difference(one, two) > 1e-3


def test_every_schedule_reaches_the_levels() -> None:
    for path in PATHS:
        low, high = Schedule.of(path).range
        assert low <= GRID.low < GRID.high <= high
