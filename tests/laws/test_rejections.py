"""Schedules, predictions, grids, solvers that are not what they claim are rejected, by the laws that they break."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from obverse.ground.families import Family
from obverse.model.inputs import Precondition, TimeInput
from obverse.path import VP, Level, Linear, Prediction, Schedule, V, Velocity
from obverse.sampler import DDIM, Euler, Grid, Solver, Strength, Uniform
from obverse.sampler.solvers.symbols import Combination, Trace

Broken = Callable[[Family | type[Family]], dict[str, str]]
DERIVATIVE = "alpha_dot and sigma_dot are the derivatives of alpha and sigma"
SDE = "f and g² of its SDE lead back to the path"
ORDER = "the declared order is the measured one"
FINITE = "every step leads to finite numbers, and sampling reaches the noiseless end"
MEMORY = "it remembers nothing from table to table"
END = "more steps come nearer to the noiseless end too"
CONSTANT = "constant data is exact in any number of steps"
WEIGHTS = "its weights of the data sum to what is left of the data, and no noise is left"
TABLE = "the same noise levels on another schedule give the same table"


def test_a_schedule_with_a_wrong_derivative_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Schedule, name="wrong"):
        def alpha(self, t: Tensor) -> Tensor:
            return 1 - t

        def sigma(self, t: Tensor) -> Tensor:
            return t**1.5

        def sigma_dot(self, t: Tensor) -> Tensor:
            return 1.49 * t**0.5

    found = broken(Wrong)
    assert set(found) == {DERIVATIVE, SDE}
    told = re.match(r"sigma_dot is (\S+), not (\S+) at t = ([^:]+): off by ", found[DERIVATIVE])
    assert told is not None
    own, measured, t = map(float, told.groups())
    assert (own, measured) == pytest.approx((1.49 * t**0.5, 1.5 * t**0.5), rel=1e-5)


def test_a_schedule_whose_inverse_is_of_another_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Linear, name="wrong"):
        def sigma(self, t: Tensor) -> Tensor:
            return t**2

        def sigma_dot(self, t: Tensor) -> Tensor:
            return 2 * t

    assert set(broken(Wrong)) == {
        "time_of inverts log-SNR",
        "radius is the scale of the path in every direction",
        "the level at a log-SNR has that log-SNR and lies on the path",
    }


def test_a_schedule_that_turns_back_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Schedule, name="wrong"):
        def alpha(self, t: Tensor) -> Tensor:
            return 1 - t + 0.2 * (2 * math.pi * t).sin()

        def sigma(self, t: Tensor) -> Tensor:
            return t - 0.2 * (2 * math.pi * t).sin()

    assert "log-SNR falls in t" in broken(Wrong)


def test_a_schedule_in_single_precision_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Schedule, name="wrong"):
        def alpha(self, t: Tensor) -> Tensor:
            return 1 - t

        def sigma(self, t: Tensor) -> Tensor:
            return t.float()

    assert "float32" in broken(Wrong)["times of any shape give levels of that shape, in float64"]


@pytest.mark.parametrize("power", [1, 2])
def test_a_schedule_whose_end_is_rounding_is_rejected(broken: Broken, power: int) -> None:
    @dataclass(frozen=True)
    class Wrong(Schedule, name="wrong"):
        def angle(self, t: Tensor) -> Tensor:
            return math.pi / 2 * (1 - (1 - t) ** power)

        def alpha(self, t: Tensor) -> Tensor:
            return self.angle(t).cos()  # of pi / 2 it is 6e-17

        def sigma(self, t: Tensor) -> Tensor:
            return self.angle(t).sin()

    told = broken(Wrong)["an end that is reached is reached exactly"]
    assert told.startswith("alpha is 6.12323e-17 at t = 1, which is rounding")


@pytest.mark.parametrize("beta_max", [130.0, 200.0, 1000.0])
def test_a_schedule_that_runs_steeply_into_an_end_without_reaching_it_is_accepted(
    beta_max: float, broken: Broken
) -> None:
    assert not broken(VP(0.1, beta_max))  # alpha ends at exp(-32.5) and less, below any rounding of 1


@pytest.mark.parametrize("beta_max", [20.0, 200.0])
@pytest.mark.parametrize(("name", "error"), [("alpha_dot", 1.001), ("sigma_dot", 1.05)])
def test_a_steep_schedule_with_a_slightly_wrong_derivative_is_rejected(
    name: str, error: float, beta_max: float, broken: Broken
) -> None:
    class Wrong(VP, name="wrong"):
        pass

    setattr(Wrong, name, lambda schedule, t: error * getattr(VP, name)(schedule, t))
    assert set(broken(Wrong(0.1, beta_max))) == {DERIVATIVE, SDE}


def test_a_solver_that_claims_order_two_and_has_one_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(DDIM, name="wrong"):
        order = 2

    found = broken(Wrong)
    assert set(found) == {ORDER}
    assert found[ORDER].startswith("declared order 2, measured 1.00 (errors ")


def test_a_stochastic_solver_with_too_little_noise_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Solver, name="wrong"):
        order = 1

        def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
            e = trace.call(x_t, t)
            kept = s.sigma * t.alpha / (s.alpha * t.sigma)
            fresh: float = 0.9 * s.sigma * math.sqrt(1 - kept**2)
            x_s: Combination = s.alpha * e.data + s.sigma * kept * e.noise
            return x_s + fresh * trace.draw()

    assert set(broken(Wrong)) == {ORDER, END}


def test_a_solver_with_a_nan_in_one_place_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(DDIM, name="wrong"):
        def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
            last_of_twenty = s.sigma == 0 and 0.045 < t.t < 0.055
            return super().step(trace, x_t, t, s) * (math.nan if last_of_twenty else 1.0)

    assert set(broken(Wrong)) == {FINITE}


def test_a_solver_whose_last_step_looks_back_at_the_first_call_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Solver, name="wrong"):
        order = 1

        def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
            e = trace.call(x_t, t)
            x_s: Combination = s.alpha * (trace.guesses[0] if s.sigma == 0 else e).data + s.sigma * e.noise
            return x_s

    found = broken(Wrong)
    assert set(found) == {END}
    assert found[END].endswith("at 10, 40 steps to the end: if its order holds, the last step is wrong")


def test_a_solver_that_keeps_its_memory_to_itself_is_rejected(broken: Broken) -> None:
    class Wrong(Solver, name="wrong"):
        """Adams-Bashforth for the noise over nsr, right in every single run."""

        order = 2

        def __init__(self) -> None:
            self.last: tuple[float, Combination] | None = None

        def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
            e = trace.call(x_t, t)
            if t.alpha == 0:
                return float(s.alpha) * e.data + float(s.sigma) * e.noise
            eps, here, there = e.noise, float(t.nsr), float(s.nsr)
            if self.last is not None and self.last[0] > here:  # of this run, it hopes
                eps = eps + 0.5 * (there - here) / (here - self.last[0]) * (e.noise - self.last[1])
            self.last = (here, e.noise)
            return float(s.alpha / t.alpha) * x_t + float(s.alpha) * (there - here) * eps

    found = broken(Wrong)
    assert found[MEMORY].endswith("keep what steps remember in trace.notes, not on self")


def test_a_solver_that_follows_t_and_says_that_only_noise_levels_matter_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Euler, name="wrong"):
        invariant = exact = True

    assert set(broken(Wrong(Velocity()))) == {CONSTANT, WEIGHTS, TABLE}


def test_a_grid_that_forgets_the_last_step_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Uniform, name="wrong"):
        def levels(self, schedule: Schedule) -> Level:
            return super().levels(schedule)[:-1]

    assert "it has steps + 1 levels, which fall from noise to data or rise from data to noise" in broken(Wrong)


def test_a_grid_that_keeps_noise_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Grid, name="wrong"):
        steps: int = 20

        def calls(self, schedule: Schedule) -> Level:
            return schedule.at(torch.linspace(1, 0.1, self.steps, dtype=torch.float64))

        def levels(self, schedule: Schedule) -> Level:
            times = torch.linspace(1, 0.1, self.steps + 1, dtype=torch.float64)
            return schedule.at(times)

    assert set(broken(Wrong)) == {"it ends where it says, and without noise unless it says otherwise"}


def test_a_prediction_that_repeats_the_state_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Prediction, name="wrong"):
        def row(self, level: Level) -> tuple[object, object]:
            return level.alpha, level.sigma

    assert "its row is finite and tells data from noise on the open path" in broken(Wrong)


def test_a_prediction_that_repeats_the_state_somewhere_between_is_rejected(broken: Broken) -> None:
    class Wrong(Prediction, name="wrong"):
        def row(self, level: Level) -> tuple[Tensor, Tensor]:
            return level.sigma, level.alpha  # the state itself where alpha = sigma

    (told,) = broken(Wrong).values()
    assert "on linear between t = 0.4" in told and "and 0.5" in told


def test_a_prediction_with_the_clock_of_another_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(V, name="wrong"):
        def clock(self, level: Level) -> tuple[object, object]:
            return 1.0, level.t

    assert set(broken(Wrong)) == {"along its clock the state moves as fast as it says"}


def test_a_time_input_that_turns_back_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(TimeInput, name="wrong"):
        def __call__(self, level: Level) -> object:
            return level.t * (1 - level.t)

    assert set(broken(Wrong)) == {"it is finite and runs one way along the path"}


def test_a_precondition_that_is_infinite_at_an_end_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Precondition, name="wrong"):
        def __call__(self, level: Level) -> object:
            return 1 / level.sigma

    assert set(broken(Wrong)) == {"the scale of the state is finite and positive, at the ends too"}


def test_a_strength_whose_integral_is_of_another_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Strength, name="wrong"):
        def eta(self, logsnr: Tensor) -> Tensor:
            return 0.5 * torch.ones_like(logsnr)

        def spent(self, low: float, high: float) -> float:
            return 0.5 * (high - low)

    assert set(broken(Wrong)) == {"what a step keeps is the exponential of the integral of eta squared"}


def test_a_strength_below_zero_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Strength, name="wrong"):
        def eta(self, logsnr: Tensor) -> Tensor:
            return (logsnr / 4).sin()

    assert "it is neither negative nor infinite" in broken(Wrong)
