"""Finite or refused by name: every solver, what any network predicts, every kind of schedule, few steps and many.

Both ends are exact: t = 1, where no data may be left, and the noiseless end. The tables decide, so every face of every
table is looked at; a network with coarse weights runs the cells in turn (all of them in the slow test).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from obverse.ground.errors import InvalidArgument, ObverseError, SingularConversion
from obverse.ground.families import Family
from obverse.laws.problems import FACES
from obverse.model import Network
from obverse.path import DDPM, EDM, VE, VP, Cosine, Laplace, Linear, NicholDhariwal, Polynomial, Schedule, Sqrt
from obverse.path.prediction import Prediction
from obverse.sampler import Solver, Tableau, Uniform, sample
from obverse.sampler.grids import Inverted

SCHEDULES: tuple[Schedule, ...] = (
    *(Linear(), Polynomial(), Cosine(), NicholDhariwal(), VP(), Sqrt(), Laplace(), EDM(), VE()),
    DDPM(zero_terminal_snr=True),
)
FEW, MANY = (1, 2, 3, 5, 20), 1000
DTYPES = (torch.float64, torch.float32, torch.bfloat16)
SOLVERS: list[Solver] = [kind() for kind in Solver.members.values() if kind.__module__.startswith("obverse.")]
CHEAP = {"ddim", "heun", "sde", "pndm", "sde-dpmpp"}  # whose tables of a thousand steps do not take a second
ENDLESS = {"euler-maruyama"}  # the drift x alpha_dot / alpha is infinite at alpha = 0

CELLS = [pytest.param(solver, path, id=f"{solver.label}-{path.spec}") for solver in SOLVERS for path in SCHEDULES]
by_cell = pytest.mark.parametrize(("solver", "path"), CELLS)


def says_nothing(face: Prediction, path: Schedule) -> bool:
    """Whether a face holds nothing of the data at t = 1, as is seen from its definition and that of the path."""
    if float(path.at(1.0).alpha) > 0:
        return False
    at_rest = isinstance(path, Polynomial | Laplace)  # alpha_dot is 0 at t = 1, or both rates are infinite
    return face.name in ("noise", "score") or (face.name == "velocity" and at_rest)


def may_not_start(solver: Solver, path: Schedule) -> bool:
    return solver.name in ENDLESS and float(path.at(1.0).alpha) == 0


class Coarse(nn.Module):
    """A network of bounded output, at the precision of its weights."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.7, -0.4], [0.3, 0.9]], dtype=dtype))

    def forward(self, x_t: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        return (x_t @ self.weight + t.to(x_t.dtype)[:, None]).tanh()


def tableau(solver: Solver, path: Schedule, steps: int) -> Tableau | None:
    """The table with finite numbers only; None where the method says that it cannot start."""
    if may_not_start(solver, path) and steps > 1:
        with pytest.raises(InvalidArgument, match=r"cannot step|infinite coefficients"):
            solver.tableau(path, Uniform(steps))
        return None
    table = solver.tableau(path, Uniform(steps))
    assert all(math.isfinite(number) for row in table.rows for number in row.values())
    assert float(table.levels[-1].sigma) == 0
    return table


def look_at(table: Tableau, path: Schedule) -> None:
    """Every face of a table is finite, or says nothing at its first level and is refused there."""
    for face in FACES:
        if says_nothing(face, path):
            with pytest.raises(SingularConversion, match=rf"{face.name} does not determine v at t = 1 "):
                table.on_face(face)
        else:
            rows = table.on_face(face).rows
            assert all(math.isfinite(number) for row in rows for number in row.values()), face


def run(solver: Solver, path: Schedule, steps: int, face: Prediction, dtype: torch.dtype) -> None:
    model = Network(Coarse(dtype), path, predicts=face)
    try:
        x = sample(model, (2, 2), solver=solver, grid=Uniform(steps), dtype=dtype)
    except SingularConversion:
        assert says_nothing(face, path)
    else:
        assert not says_nothing(face, path)
        assert x.dtype == dtype and bool(x.isfinite().all())


def turns(solver: Solver, path: Schedule) -> Iterator[tuple[int, Prediction, torch.dtype]]:
    """A face and a precision for every number of steps: over all cells, each with each."""
    pairs = list(itertools.product(FACES, DTYPES))
    first = SOLVERS.index(solver) + 3 * SCHEDULES.index(path)
    return ((steps, *pairs[(first + 4 * place) % len(pairs)]) for place, steps in enumerate(FEW))


@by_cell
def test_every_table_is_finite_or_refused_by_name(solver: Solver, path: Schedule) -> None:
    for steps in FEW:
        table = tableau(solver, path, steps)
        if table is not None:
            look_at(table, path)


@by_cell
def test_every_run_is_finite_or_refused_by_name(solver: Solver, path: Schedule) -> None:
    for steps, face, dtype in turns(solver, path):
        if not may_not_start(solver, path) or steps == 1:
            run(solver, path, steps, face, dtype)


@pytest.mark.parametrize("solver", [one for one in SOLVERS if one.name in CHEAP], ids=lambda s: s.label)
@pytest.mark.parametrize("path", [Linear(), EDM()], ids=lambda s: s.spec)
def test_a_thousand_steps_are_finite_too(solver: Solver, path: Schedule) -> None:
    table = tableau(solver, path, MANY)
    assert table is not None
    look_at(table, path)
    run(solver, path, MANY, FACES[0], DTYPES[SOLVERS.index(solver) % 3])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@by_cell
def test_every_cell_of_the_grid_is_finite_or_refused_by_name(solver: Solver, path: Schedule) -> None:
    for steps in (*FEW, MANY):
        table = tableau(solver, path, steps)
        if table is not None:
            look_at(table, path)
            pairs = (
                zip(FACES, itertools.cycle(DTYPES), strict=False) if steps == MANY else itertools.product(FACES, DTYPES)
            )
            for face, dtype in pairs:
                run(solver, path, steps, face, dtype)


@pytest.mark.parametrize("path", [Linear(), VP(), EDM()], ids=lambda s: s.spec)
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.label)
def test_upward_every_table_is_finite_or_refused_by_name(solver: Solver, path: Schedule) -> None:
    for steps in (1, 5):
        try:
            table = solver.tableau(path, Inverted(steps))
        except ObverseError:
            continue
        assert all(math.isfinite(number) for row in table.rows for number in row.values())


def test_the_grid_has_every_face_path_and_method() -> None:
    assert (len(FACES), len(SCHEDULES), len({path.name for path in SCHEDULES})) == (7, 10, 10)
    assert {member.name for member in SOLVERS} >= {"ddim", "euler", "heun", "sde", "dpmpp-2m"}
    tried = {(face, dtype) for one in SOLVERS for path in SCHEDULES for _, face, dtype in turns(one, path)}
    assert len(tried) == 7 * 3 and isinstance(SOLVERS[0], Family)
