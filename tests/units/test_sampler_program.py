"""What the loop runs: slots as few as liveness says, and the numbers of the table whatever the memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from obverse.model import Gaussian, Network
from obverse.sampler import Angle, Register, Sampler, Solver, Tableau
from obverse.sampler.memory import Loose, Matrix, Memory
from obverse.sampler.program import combine

ORACLE = Gaussian(torch.tensor([0.3, -0.2]), 0.36, "linear")
SOLVERS = ["ddim", "euler", "heun", "dpmpp-2m", "sde", "euler:face=data"]


def table_of(solver: str, steps: int = 6) -> Tableau:
    return Solver.of(solver).tableau("linear", Angle(steps, start=0.98)).on_face(ORACLE.face)


def draws(table: Tableau, start: Tensor) -> list[Tensor]:
    make = torch.Generator().manual_seed(0)
    return [torch.randn(start.shape, generator=make, dtype=start.dtype) for _ in range(table.draws)]


def by_rows(table: Tableau, start: Tensor) -> Tensor:
    """Every register kept, every row taken literally."""
    held = {Register("xi", m): draw for m, draw in enumerate(draws(table, start))}
    calls = {state: j for j, state in enumerate(table.reads)}
    for n, row in enumerate(table.rows):
        held[Register("e", n)] = combine(row, held) if n else start
        if n in calls:
            call = ORACLE.at(table.levels[n], start)
            held[Register("o", calls[n])] = call(held[Register("e", n)], None)
    return held[Register("e", len(table.rows) - 1)]


def by_program(table: Tableau, start: Tensor, memory: Memory) -> Tensor:
    made = draws(table, start)
    calls = ORACLE.along(table.called, start)
    turns = [*memory.turns(calls, start, iter([made[m] for m in table.program.draws]), None)]
    return turns[-1][1][-1]


@pytest.mark.parametrize("solver", SOLVERS)
def test_slots_hold_what_the_rows_say(solver: str) -> None:
    table, start = table_of(solver), torch.linspace(-2, 2, 10, dtype=torch.float64).reshape(5, 2)
    want = by_rows(table, start)
    for memory in (Matrix(table.program, start), Loose(table.program)):
        assert torch.allclose(by_program(table, start, memory), want, rtol=0, atol=1e-14)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_long_run_holds_no_more_than_a_short_one(solver: str) -> None:
    short, long = (table_of(solver, steps).program for steps in (10, 1000))
    assert (long.slots, long.width) == (short.slots, short.width)


def test_a_run_holds_as_little_as_its_method_needs() -> None:
    """In flow on the linear path: the states before and after a step, and outputs and draws until their last use."""
    held = {name: table_of(name).on_face("flow").program.held for name in ("euler", "sde", "dpmpp-2m", "heun")}
    assert held == {"euler": 2, "sde": 3, "dpmpp-2m": 5, "heun": 4}


def test_gradients_pass_through_a_run() -> None:
    table = table_of("dpmpp-2m")
    start = torch.tensor([[0.5, -0.5]], dtype=torch.float64)

    def end(x: Tensor) -> Tensor:
        return [step.x_t for step in Sampler(table).steps(ORACLE, x)][-1]

    assert torch.autograd.gradcheck(end, start.requires_grad_())


class Net(nn.Module):
    """A network of random weights."""

    def __init__(self) -> None:
        super().__init__()
        make = torch.Generator().manual_seed(5)
        self.first, self.last = (nn.Parameter(torch.randn(*s, generator=make)) for s in ((3, 32), (32, 2)))

    def forward(self, x: Tensor, t: Tensor, cond: object) -> Tensor:
        return torch.cat([x, t[:, None]], 1).mm(self.first).tanh().mm(self.last) / 6


BACKENDS = ["eager", pytest.param("inductor", marks=pytest.mark.slow)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_whole_run_compiles_to_one_graph_with_the_same_samples(solver: str, backend: str) -> None:
    model, start = Network(Net().requires_grad_(False), "linear"), torch.linspace(-2, 2, 16).reshape(8, 2)
    sampler = Sampler(table_of(solver, 4))
    run = torch.compile(sampler.bound(model, start), backend=backend, fullgraph=True)
    torch.compiler.reset()
    with torch.no_grad():
        end = run(start, sampler.draws(start, seed=2))
        assert torch.allclose(end, sampler.end(model, start, seed=2), atol=1e-5)
