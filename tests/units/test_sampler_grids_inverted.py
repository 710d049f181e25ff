"""Grids upward, and parts of grids: data to their latents and back, starting and stopping anywhere."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, ObverseError
from obverse.laws.problems import carried, draws, hills
from obverse.model import Network
from obverse.path import EDM, VE, VP, Cosine, Level, Linear, Schedule, clean
from obverse.sampler import DDIM, Grid, Heun, Sampler, Solver, Uniform, sample
from obverse.sampler.grids import Angle, Given, Indices, Inverted, Karras, Part

PATHS: list[Schedule] = [Linear(), Cosine(), VP(), EDM(), VE()]
BASES: list[Grid] = [Uniform(), Angle(), Karras(), Uniform(end=0.1), Indices()]
TOP = 0.9


def of(value: object) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def end(solver: Solver, path: Schedule, grid: Grid, start: Tensor) -> tuple[Tensor, Level]:
    table = solver.tableau(path, grid)
    with torch.no_grad():
        return Sampler(table).end(hills(path), start), table.levels[-1]


def slope(errors: list[float]) -> float:
    return math.log2(errors[0] / errors[-1]) / (len(errors) - 1)


@pytest.mark.parametrize("path", PATHS, ids=lambda s: s.spec)
@pytest.mark.parametrize("base", BASES, ids=lambda g: g.spec)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_an_inverted_grid_rises_through_the_levels_of_another(base: Grid, path: Schedule, steps: int) -> None:
    levels, falling = Inverted(steps, base).levels(path), base.resized(steps).levels(path)
    assert len(levels) == steps + 1 and bool((of(levels.theta).diff() > 0).all())
    assert float(levels[-1].nsr) == float(falling[0].nsr)
    if float(path.at(0.0).sigma) == 0:
        assert of(levels.theta).flip(0).tolist() == of(falling.theta).tolist()
    elif float(falling[-1].sigma) == 0:
        assert float(levels[0].nsr) == pytest.approx(float(path.at(0.0).nsr))  # the least noise there is


def test_an_inverted_grid_turned_again_falls() -> None:
    twice = Inverted(5, Inverted(5, Uniform(5, start=0.8))).levels(Linear())
    assert of(twice.t).tolist() == of(Uniform(5, start=0.8).levels(Linear()).t).tolist()


@pytest.mark.parametrize(("solver", "order"), [(DDIM(), 1), (Heun(), 2)], ids=["ddim", "heun"])
@pytest.mark.parametrize("path", [Linear(), Cosine(), VP()], ids=lambda s: s.spec)
def test_data_rise_to_their_exact_latents_with_the_order_of_the_method(
    solver: Solver, order: int, path: Schedule
) -> None:
    x = draws((6, 1), "data") * 0.5
    errors = []
    for steps in (40, 80, 160):
        latent, top = end(solver, path, Inverted(steps, Angle(start=TOP)), x)
        errors.append(float((latent - carried(hills(path), x, clean(), top)).abs().max()))
    assert errors[-1] < 0.05 and slope(errors) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("path", [Linear(), VP(), EDM()], ids=lambda s: s.spec)
def test_a_round_trip_of_ddim_errs_by_the_square_of_the_step_a_step(path: Schedule) -> None:
    """O(h²) a step, and so O(h) for the trip (T29)."""
    x = draws((6, 1), "data") * 0.5
    errors = []
    for steps in (40, 80, 160):
        latent, _ = end(DDIM(), path, Inverted(steps), x)
        back, last = end(DDIM(), path, Angle(steps), latent)
        errors.append(float((back / float(last.alpha) - x).abs().max()))
    assert errors[-1] < 0.1 and slope(errors) == pytest.approx(1, abs=0.2)


def test_to_the_very_top_nothing_of_the_data_is_left_but_the_latent() -> None:
    latent, top = end(DDIM(), Linear(), Inverted(400), draws((400, 1), "data").sign() * 0.9)
    assert float(top.alpha) == 0.0 and bool(latent.isfinite().all())


class Zero(torch.nn.Module):
    def forward(self, x_t: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        return torch.zeros_like(x_t)


@pytest.mark.parametrize("face", ["data", "noise", "flow", "v", "velocity", "edm", "score"])
@pytest.mark.parametrize("solver", [DDIM(), Heun()], ids=["ddim", "heun"])
def test_a_step_up_from_no_noise_asks_no_network_there(solver: Solver, face: str) -> None:
    table = solver.tableau(Linear(), Inverted(4, Uniform(start=TOP)))
    assert float(table.called.sigma.min()) > 0
    out = Sampler(table).end(Network(Zero(), Linear(), predicts=face), torch.ones(2, 3))
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("spec", ["sde", "ddpm", "euler-maruyama"])
def test_methods_that_cannot_rise_say_so(spec: str) -> None:
    with pytest.raises(ObverseError, match=r"up to .* takes an ODE"):
        Solver.of(spec).tableau(Linear(), Inverted(4))


def test_one_step_up_to_the_very_top_would_leave_nothing() -> None:
    with pytest.raises(InvalidArgument, match=r"step to t = 1 .* leaves nothing of the state \(take 2 steps\)"):
        DDIM().tableau("linear", Inverted(1))


def test_sampling_upward_asks_for_the_data() -> None:
    model, x = hills(Cosine()), draws((3, 1), "data")
    with pytest.raises(InvalidArgument, match=r"This run goes from data to noise: give the data to start from"):
        sample(model, (3, 1), solver="ddim", grid="inverted:steps=9")
    out = sample(model, (3, 1), solver="ddim", grid="inverted:steps=9", start=x, dtype=torch.float64)
    assert torch.allclose(out, end(DDIM(), Cosine(), Inverted(9), x)[0])


def test_a_part_is_the_grid_without_its_ends() -> None:
    whole = of(Uniform(10).levels(Linear()).t).tolist()
    assert of(Part(5, Uniform(), skip=3, spare=2).levels(Linear()).t).tolist() == whole[3:9]
    assert of(Part(10, Uniform()).levels(Linear()).t).tolist() == whole
    assert of(Grid.of("part:base=(given:times=(1,0.5,0.2,0)),skip=1,steps=2").levels(VP()).t).tolist() == [
        0.5,
        0.2,
        0.0,
    ]


def test_half_a_run_goes_on_as_the_whole_does() -> None:
    first, second = Part(6, Angle(), spare=4), Part(4, Angle(), skip=6)
    start = draws((5, 1), "start")
    middle, _ = end(DDIM(), Cosine(), first, start)
    one, _ = end(DDIM(), Cosine(), second, middle)
    whole, _ = end(DDIM(), Cosine(), Angle(10), start)
    assert torch.allclose(one, whole, atol=1e-12)


def test_a_grid_of_given_levels_cannot_be_made_longer() -> None:
    with pytest.raises(InvalidArgument, match="'given' has its own 2 steps, got steps=20"):
        Inverted(20, Given()).levels(Linear())
    assert len(Inverted(2, Given()).levels(EDM())) == 3
