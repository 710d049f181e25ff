"""Tables made of tables."""

from __future__ import annotations

import pytest
import torch

from obverse.ground.errors import InvalidArgument
from obverse.model import Gaussian
from obverse.sampler import Angle, Given, LogSNR, Sampler, Solver, composed, rescaled

SOLVERS = ["ddim", "heun", "dpmpp-2m", "sde"]
ORACLE = Gaussian(torch.tensor([0.3, -0.2]), 0.36, "linear")


@pytest.mark.parametrize("path", ["vp", "cosine", "edm"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_table_on_another_schedule_is_the_one_made_there(solver: str, path: str) -> None:
    grid = LogSNR(6, low=-8.0, high=8.0)
    moved = rescaled(Solver.of(solver).tableau("linear", grid), path)
    there = Solver.of(solver).tableau(path, grid)
    assert moved == there
    for name in ("alpha", "sigma"):
        assert torch.allclose(getattr(moved.levels, name), getattr(there.levels, name), rtol=1e-9)


def test_a_rescaled_table_runs_where_the_first_was_refused() -> None:
    table, start = Solver.of("heun").tableau("linear", Angle(5)), torch.ones(3, 2, dtype=torch.float64)
    with pytest.raises(InvalidArgument, match="of another schedule"):
        Sampler(table).end(ORACLE.on("cosine"), start)
    moved = rescaled(table, "cosine")
    assert torch.allclose(Sampler(moved).end(ORACLE.on("cosine"), start), Sampler(table).end(ORACLE, start))


def test_a_schedule_that_does_not_reach_the_levels_says_so() -> None:
    with pytest.raises(InvalidArgument, match=r"log-SNR of vp lies in"):
        rescaled(Solver.of("ddim").tableau("linear", Angle(5)), "vp")


@pytest.mark.parametrize("second", SOLVERS)
@pytest.mark.parametrize("first", SOLVERS)
def test_one_table_after_the_other_is_one_run_after_the_other(first: str, second: str) -> None:
    one = Solver.of(first).tableau("linear", Given((0.95, 0.7, 0.5)))
    two = Solver.of(second).tableau("linear", Given((0.5, 0.3, 0.1, 0.0)))
    both = composed(one, two)
    assert (both.calls, both.draws) == (one.calls + two.calls, one.draws + two.draws)
    start = torch.ones(3, 2, dtype=torch.float64)
    if not both.draws:
        middle = Sampler(one).end(ORACLE, start)
        assert torch.allclose(Sampler(both).end(ORACLE, start), Sampler(two).end(ORACLE, middle), atol=1e-14)
    weights, _ = two.weights()
    assert torch.allclose(both.weights()[0][one.calls :], weights)


def test_tables_that_do_not_meet_are_not_joined() -> None:
    one, two = (Solver.of("ddim").tableau("linear", Given(times)) for times in ((0.9, 0.5), (0.4, 0.1)))
    with pytest.raises(InvalidArgument, match=r"stops at t = 0\.5 .* starts at t = 0\.4"):
        composed(one, two)
