"""What a run keeps alive: never more than its table says, however many steps it has, and whatever draws it makes."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

from obverse.model import Network
from obverse.sampler import Angle, Sampler, Solver, parallel

SOLVERS = ["ddim", "euler", "dpmpp-2m", "unipc", "heun", "pndm", "thrifty"]
STOCHASTIC = ["sde", "ddpm", "sde-adams", "sa-solver", "churn", "restart"]
LOOKS = 2048  # bytes of small change: weights of a matrix, times, shapes
ALIVE = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "sampler_memory.py"))["Alive"]  # counts bytes


def peak_and_said(solver: str, steps: int, shape: tuple[int, ...]) -> tuple[int, int]:
    model = Network(lambda x_t, _: x_t * 0.5, "linear", predicts="flow", cond="none")
    table, start = Solver.of(solver).tableau(model.schedule, Angle(steps=steps)), torch.ones(shape)
    table.on_face(model.face).program.weights(start.dtype)  # made once for all runs
    with torch.no_grad(), ALIVE() as alive:
        Sampler(table).end(model, start)
    return alive.peak, table.on_face(model.face).held(shape)


@pytest.mark.parametrize("solver", [*SOLVERS, *STOCHASTIC])
@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (16, 1000)])  # one by one, and as rows of a matrix
def test_a_run_holds_what_its_table_says_at_most(solver: str, shape: tuple[int, ...]) -> None:
    peak, said = peak_and_said(solver, 10, shape)
    assert peak <= said + LOOKS * 10


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_beyond_the_shared_path_too(solver: str) -> None:
    peak, said = peak_and_said(solver, 120, (4, 3, 64, 64))
    assert 0.3 * said < peak <= said + LOOKS * 120


@pytest.mark.parametrize("solver", ["ddim", "dpmpp-2m", "heun", "sde"])
def test_a_window_of_calls_holds_no_more_of_a_longer_run(solver: str) -> None:
    model, start = Network(lambda x_t, _: x_t * 0.5, "linear", predicts="flow", cond="none"), torch.ones(4, 3, 32, 32)

    def peak(steps: int) -> int:
        table = Solver.of(solver).tableau("linear", Angle(steps=steps))
        with torch.no_grad(), ALIVE() as alive:
            parallel(table, model, start, window=4)
        return int(alive.peak)

    assert peak(240) < 1.2 * peak(120)
