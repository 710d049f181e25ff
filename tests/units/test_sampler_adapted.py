"""A grid adapted to a model: better than one that is not, on noise that it has not seen."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, NonFinite
from obverse.model import Empirical, Gaussian, Mixture, Network
from obverse.path import EDM, VP, Cosine, Linear, Schedule
from obverse.sampler import DDIM, Angle, Grid, Sampler, Solver, Step, Uniform
from obverse.sampler.grids.adapted import adapted

PATHS: list[Schedule] = [Linear(), Cosine(), VP(), EDM()]


def ring(path: Schedule) -> Mixture:
    angle = torch.arange(8) * (math.pi / 4)
    return Mixture(1.3 * torch.stack([angle.cos(), angle.sin()], 1), 0.01, None, path)


def crowd(path: Schedule) -> Mixture:
    return Mixture(0.6 * noise.normal((8, 16), seed=0, purpose="crowd", dtype=torch.float64), 0.04, None, path)


def errors(model: Mixture, grid: Grid, solver: str = "ddim") -> Tensor:
    """Distances to where 200 steps of Heun's method lead from the same noise."""
    start = noise.normal((128, *model.shape), seed=1, purpose="held out", dtype=torch.float64)

    def run(solver: Solver, grid: Grid) -> Tensor:
        table = solver.tableau(model.schedule, grid)
        with torch.no_grad():
            return Sampler(table).end(model, start * float(table.levels[0].sigma))

    away = run(Solver.of(solver), grid) - run(Solver.of("heun"), Angle(200))
    return away.square().mean(1).sqrt()


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpmpp-2m", 2)])
@pytest.mark.parametrize("path", PATHS, ids=lambda s: s.spec)
def test_methods_err_less_on_it_than_on_a_uniform_grid(path: Schedule, solver: str, order: int) -> None:
    model = ring(path)
    one, two = (errors(model, g, solver) for g in (adapted(model, (64, 2), 10, order=order), Uniform(10)))
    assert rms(one) < 0.98 * rms(two)
    model = crowd(path)  # where the mean square is owned by the few that change mode
    one, two = (errors(model, g, solver) for g in (adapted(model, (64, 16), 10, order=order), Uniform(10)))
    assert float(one.median()) < 0.95 * float(two.median())


@pytest.mark.parametrize("path", PATHS, ids=lambda s: s.spec)
@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
def test_it_is_a_grid_from_the_source_to_the_clean_end(path: Schedule, steps: int) -> None:
    levels = adapted(ring(path), (8, 2), steps).levels(path)
    assert len(levels) == steps + 1 and float(levels[-1].sigma) == 0.0
    assert float(levels[0].sigma) == pytest.approx(float(path.at(1.0).sigma), rel=1e-9)


def test_it_does_not_depend_on_the_schedule() -> None:
    one, two = (adapted(ring(path), (32, 2), 8) for path in (Linear(), Cosine()))
    assert one.turns == pytest.approx(two.turns, abs=1e-4)


def test_steps_are_short_where_the_data_estimate_moves() -> None:
    """Two far and narrow modes are told apart where noise is as large as the distance, and nothing moves later."""
    model = Mixture(torch.tensor([[-1.0], [1.0]]), 1e-6, None, Linear())
    turns = torch.tensor(adapted(model, (64, 1), 20).turns)
    assert int((turns < 0.15).sum()) <= 2


def test_where_nothing_moves_steps_are_even() -> None:
    model = Empirical(torch.tensor([[0.3, 0.3]]), Linear())
    turns = torch.tensor(adapted(model, (4, 2), 4).turns)
    assert turns.diff().tolist() == pytest.approx([-0.25] * 4, abs=1e-6)


def test_its_spec_makes_it_again_and_its_seed_is_its_own() -> None:
    model = ring(Linear())
    one, same, other = (adapted(model, (16, 2), 5, seed=seed) for seed in (0, 0, 1))
    assert Grid.of(one.spec) == one == same != other


def test_pilots_are_watched() -> None:
    seen: list[Step] = []
    adapted(ring(Linear()), (4, 2), 5, pilot="uniform:steps=12", watch=seen.append)
    assert [(step.number, step.total) for step in seen] == [(k, 12) for k in range(1, 13)]


def test_bad_arguments_are_refused() -> None:
    model = Gaussian(torch.zeros(2), 1.0, Linear())
    with pytest.raises(InvalidArgument, match="steps >= 1 and order >= 1, got steps=0, order=1"):
        adapted(model, (4, 2), 0)
    with pytest.raises(InvalidArgument, match=r"steps >= 1 and order >= 1, got steps=2\.5, order=1"):
        adapted(model, (4, 2), 2.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"every size >= 1, got \(0, 2\)"):
        adapted(model, (0, 2))
    for pilot in ("uniform:steps=1", "inverted:steps=9"):
        with pytest.raises(InvalidArgument, match=f"pilot grid falls in at least 2 steps, got {pilot}"):
            adapted(model, (4, 2), pilot=pilot)

    def broken(x_t: Tensor, t: Tensor, cond: Any) -> Tensor:  # noqa: ARG001
        return x_t * math.nan

    with pytest.raises(NonFinite, match="data estimates are not finite"):
        adapted(Network(broken, Linear()), (4, 2))
    assert DDIM().tableau(Linear(), adapted(model, (4, 2), 3)).calls == 3
