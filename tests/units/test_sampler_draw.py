"""What is known of a run afterwards: its ledger, its trajectory; and thresholding on the way."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from obverse.ground.errors import InvalidArgument
from obverse.guidance import Guided
from obverse.model import Clamped, Dynamic, Gaussian, Mixture, Model, Network
from obverse.path import Level, Schedule
from obverse.sampler import Angle, Grid, Solver, Uniform, sample, sampled

ORACLE = Gaussian(torch.tensor([0.3, -0.4]), torch.tensor([[0.5, 0.2], [0.2, 0.3]]), "linear")
DATA = torch.tensor([[0.1, -0.2], [1.1, 0.4], [-0.7, -1.0], [0.3, 0.3], [0.0, -0.9], [0.6, -0.1]]).double()


class Counting(nn.Module):
    """A network that counts the rows it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = self.calls = 0

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        self.rows, self.calls = self.rows + len(x), self.calls + 1
        return -x


@pytest.mark.parametrize("solver", ["ddim", "heun", "dpmpp-2m", "sde"])
@pytest.mark.parametrize("guided", [False, True])
def test_the_ledger_says_what_the_network_has_seen(solver: str, guided: bool) -> None:
    net = Counting()
    model: Model = Network(net, "linear")
    model = Guided(model, 2.0) if guided else model
    run = sampled(model, (5, 3), solver=solver, steps=6, cond=torch.zeros(5, dtype=torch.long))
    assert (net.calls, net.rows) == (run.ledger.rounds, run.ledger.evaluations)
    assert run.ledger.calls * 5 == net.rows
    assert torch.equal(run.x, sample(model, (5, 3), solver=solver, steps=6, cond=torch.zeros(5, dtype=torch.long)))


def test_a_given_start_is_taken_to_the_device_too() -> None:
    seen = list[str]()

    def net(x_t: Tensor, _: Tensor) -> Tensor:
        seen.append(x_t.device.type)
        raise StopAsyncIteration

    with pytest.raises(StopAsyncIteration):
        sample(Network(net, "linear", cond="none"), (2, 2), start=torch.zeros(2, 2), device="meta")
    assert seen == ["meta"]


def test_what_is_not_asked_for_is_not_kept() -> None:
    assert sampled(ORACLE, (2, 2), steps=3).trajectory is None


@pytest.mark.parametrize("solver", ["ddim", "heun", "sde"])
def test_a_trajectory_begins_with_noise_and_ends_with_the_samples(solver: str) -> None:
    run = sampled(ORACLE, (4, 2), solver=solver, steps=5, record=True)
    kept = run.trajectory
    assert kept is not None
    assert len(kept.states) == len(kept.levels) and torch.equal(kept.states[-1], run.x)
    assert len(kept.data) == len(kept.noise) == len(kept.called) == run.ledger.rounds
    again = kept.called.alpha[:, None, None] * kept.data + kept.called.sigma[:, None, None] * kept.noise
    first = sampled(ORACLE, (4, 2), solver=solver, steps=5, start=kept.states[0]).x
    assert torch.allclose(again[0].float(), kept.states[0], atol=1e-6)
    assert solver == "sde" or torch.equal(first, run.x)


def at(schedule: Schedule, *times: float) -> Level:
    return schedule.at(torch.tensor(times, dtype=torch.float64))


def test_states_between_are_those_of_the_flow() -> None:
    """Heun is of second order, so what lies between its states is so too: 4x fewer for half the step."""
    times = at(ORACLE.schedule, 0.83, 0.57, 0.31, 0.17)
    errors = []
    for steps in (20, 40, 80):
        grid = Uniform(steps, start=0.9, end=0.1)
        run = sampled(ORACLE, (6, 2), solver="heun", grid=grid, record=True, dtype=torch.float64)
        assert run.trajectory is not None
        start, first = run.trajectory.states[0], ORACLE.schedule.at(0.9)
        want = torch.stack([ORACLE.flow(start, first, level) for level in times])
        errors.append(float((run.trajectory.at(times) - want).abs().max()))
    assert errors[0] < 1e-2 and math.log2(errors[0] / errors[2]) / 2 == pytest.approx(2, abs=0.2), errors


@pytest.mark.parametrize("grid", ["inverted:base=(uniform:start=0.9,end=0.1)", "inverted:base=angle"])
def test_states_between_are_those_of_the_flow_on_the_way_up_too(grid: str) -> None:
    times = at(ORACLE.schedule, 0.001, 0.17, 0.31, 0.83) if "angle" in grid else at(ORACLE.schedule, 0.17, 0.31, 0.83)
    errors = []
    for steps in (20, 40, 80):
        levels = Grid.of(grid).resized(steps)
        run = sampled(ORACLE, (6, 2), solver="heun", grid=levels, start=DATA, record=True, dtype=torch.float64)
        assert run.trajectory is not None
        first = run.trajectory.levels.floats()[0]
        want = torch.stack([ORACLE.flow(DATA, first, level) for level in times])
        errors.append(float((run.trajectory.at(times) - want).abs().max()))
    assert errors[0] < 1e-2 and math.log2(errors[0] / errors[2]) / 2 > 1.8, errors


def test_states_are_asked_for_at_levels() -> None:
    kept = sampled(ORACLE, (3, 2), steps=3, record=True).trajectory
    assert kept is not None
    with pytest.raises(InvalidArgument, match=r"at Levels, model.schedule.at\(t\), got float"):
        kept.at(0.5)  # type: ignore[arg-type]


def test_a_run_without_calls_has_states_and_no_estimates() -> None:
    kept = sampled(ORACLE, (6, 2), solver="ddim", grid="given:times=(0,0.5)", start=DATA, record=True).trajectory
    assert kept is not None and kept.data.shape == kept.noise.shape == (0, 6, 2) and len(kept.called) == 0
    assert torch.allclose(kept.at(kept.levels), kept.states, atol=1e-6)


def test_states_at_the_levels_of_the_run_are_its_states() -> None:
    for solver in ("dpmpp-2m", "sde"):
        kept = sampled(ORACLE, (3, 2), solver=solver, steps=6, record=True).trajectory
        assert kept is not None
        assert torch.allclose(kept.at(kept.levels), kept.states, atol=1e-6)


def test_a_rough_path_has_no_states_between() -> None:
    kept = sampled(ORACLE, (3, 2), solver="sde", steps=6, record=True).trajectory
    assert kept is not None
    with pytest.raises(InvalidArgument, match="a stochastic run has states at its own levels only"):
        kept.at(at(ORACLE.schedule, 0.333))


def test_beyond_the_run_there_is_nothing() -> None:
    grid = Uniform(6, start=0.8, end=0.2)
    kept = sampled(ORACLE, (3, 2), solver="ddim", grid=grid, record=True).trajectory
    assert kept is not None
    for t in (0.9, 0.1):
        with pytest.raises(InvalidArgument, match=r"the run goes from t = 0\.8"):
            kept.at(at(ORACLE.schedule, t))


WIDE = Mixture(torch.tensor([[-3.0, 0.1], [3.0, 0.2]]), 0.05, None, "linear")


def test_clamped_estimates_lead_to_clamped_samples() -> None:
    x = sample(Clamped(WIDE), (64, 2), solver="dpmpp-2m", steps=20)
    assert float(x.abs().max()) <= 1.0 and float(x[:, 0].abs().min()) > 0.9


def test_dynamic_bounds_are_each_samples_own() -> None:
    data = torch.tensor([[0.2, -0.5, 0.4, 0.9], [4.0, -2.0, 1.0, 0.5]])
    within = Dynamic(WIDE, quantile=0.75).threshold(data)
    assert torch.equal(within[0], data[0])  # three of four numbers are below 0.5: nothing to do
    assert within[1].tolist() == [1.0, -1.0, 0.5, 0.25]
    assert torch.equal(Dynamic(WIDE, quantile=0.75).threshold(data[1:])[0], within[1])
    assert Dynamic(WIDE, quantile=1.0, bound=2.0).threshold(data)[1].tolist() == [2.0, -1.0, 0.5, 0.25]


def test_thresholding_keeps_its_place_in_a_run() -> None:
    x = sample(Dynamic(WIDE), (64, 2), solver=("dpmpp-2m"), grid=Angle(20))
    assert float(x.abs().max()) <= 1.0 + 1e-6


@pytest.mark.parametrize("how", [{"quantile": 0.0}, {"quantile": 1.5}, {"bound": 0.0}])
def test_bounds_out_of_range_are_refused(how: dict[str, float]) -> None:
    with pytest.raises(InvalidArgument, match=r"Dynamic needs .*, got"):
        Dynamic(WIDE, **how)


def test_an_adaptive_solver_is_a_solver_like_any_other() -> None:
    run = sampled(ORACLE, (6, 2), solver="adaptive:rtol=1e-4", seed=4, dtype=torch.float64)
    start = sampled(ORACLE, (6, 2), solver="ddim", steps=1, seed=4, record=True, dtype=torch.float64).trajectory
    assert start is not None
    want = ORACLE.flow(start.states[0], ORACLE.schedule.at(1.0), ORACLE.schedule.at(0.0))
    assert float((run.x - want).abs().max()) < 1e-3
    assert run.ledger.rounds >= run.ledger.calls > 3


REFUSED = [{"steps": 5}, {"grid": "uniform"}, {"record": True}, {"watch": print}]


@pytest.mark.parametrize("how", REFUSED, ids=str)
def test_what_an_adaptive_solver_cannot_do_is_refused(how: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=rf"chooses its own steps: leave {next(iter(how))} out"):
        sampled(ORACLE, (6, 2), solver="adaptive", **how)


def test_a_table_is_a_solver_that_is_already_made() -> None:
    made = Solver.of("heun").tableau("linear", Angle(6))
    want = sample(ORACLE, (3, 2), solver="heun", grid=Angle(6), seed=2)
    assert torch.equal(sample(ORACLE, (3, 2), solver=made, seed=2), want)
    for how in ({"steps": 5}, {"grid": "uniform"}, {"eta": 0.5}):
        with pytest.raises(InvalidArgument, match=rf"A tableau is complete: leave {next(iter(how))} out"):
            sample(ORACLE, (3, 2), solver=made, **how)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"grid": "karras:steps=5", "steps": 10}, "asks for 5 steps, steps for 10"),
        ({"grid": Uniform(steps=5), "steps": 10}, "asks for 5 steps, steps for 10"),
    ],
)
def test_steps_that_are_said_twice_are_said_alike(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(words)):
        sample(ORACLE, (2, 2), solver="ddim", **asked)


def test_steps_that_are_said_twice_alike_are_taken() -> None:
    once = sample(ORACLE, (2, 2), solver="ddim", grid="uniform", steps=5)
    assert torch.equal(sample(ORACLE, (2, 2), solver="ddim", grid="uniform:steps=5", steps=5), once)
