"""Two methods after each other: the table is theirs, step by step."""

from __future__ import annotations

import pytest

from obverse.ground.errors import InvalidArgument
from obverse.path import Cosine, Level, Linear
from obverse.sampler import DDIM, SDE, DPMpp2M, Heun, Solver, Switch, SwitchAt, Trace
from obverse.sampler.solvers.symbols import Combination

GRID = "uniform:steps=6,start=0.95"
TIMES = [0.95 * (1 - i / 6) for i in range(7)]


def given(times: list[float]) -> str:
    return f"given:times=({','.join(map(repr, times))})"


@pytest.mark.parametrize("after", [0, 1, 3, 6, 9])
def test_each_step_is_that_of_its_method(after: int) -> None:
    table = Switch("heun:face=noise", "ddim", after).tableau("cosine", GRID)
    early = Heun("noise").tableau("cosine", given(TIMES[: after + 1])) if after else None
    late = DDIM().tableau("cosine", given(TIMES[after:])) if after < 6 else None
    assert table.calls == sum(part.calls for part in (early, late) if part)
    if early is None or late is None:
        assert table == (early or late)
        return
    end = table.canonical()
    one, two = early.canonical(), late.canonical()
    assert float((end.start[-1] - one.start[-1] * two.start[-1]).abs()) < 1e-13
    assert float((end.outputs[-1, early.calls :] - two.outputs[-1]).abs().max()) < 1e-13
    assert float((end.outputs[-1, : early.calls] - two.start[-1] * one.outputs[-1]).abs().max()) < 1e-13


def test_the_same_method_twice_is_that_method() -> None:
    for spec in ("ddim", "heun", "dpmpp-2m", "sde", "pndm:starter=none", "dpm-solver:tail=(2,1)"):
        both = Switch(spec, spec, after=3).tableau("vp", GRID)
        assert both == Solver.of(spec).tableau("vp", GRID), spec


class Before(Solver):
    """DDIM of the data estimate before the last, wherever that was made."""

    name, order = "before", 1

    def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
        e = trace.call(x_t, t)
        data = trace.guesses[-2].data if len(trace.guesses) > 1 else e.data
        return s.alpha * data + s.sigma * e.noise


def looked_at(solver: Solver, steps: int) -> set[int]:
    """Which calls the last step reads."""
    table = solver.tableau("linear", f"uniform:steps={steps},start=0.9,end=0.3")
    return {key.place for key in table.rows[-1] if key.kind == "o"}


def test_the_later_method_looks_back_at_states_and_not_at_stages() -> None:
    assert looked_at(Switch("ddim", Before(), after=1), 2) == {0, 1}
    assert looked_at(Switch("heun", Before(), after=1), 2) == {0, 2}  # call 1 was made on the way
    assert looked_at(Switch("runge-kutta", Before(), after=2), 3) == {4, 8}


def test_levels_decide_where_to_change() -> None:
    grid = "logsnr:steps=8,low=-7,high=7"
    for schedule in ("linear", "vp"):
        table = SwitchAt("heun", "ddim", logsnr=-2.0).tableau(schedule, grid)
        assert table == Switch("heun", "ddim", after=3).tableau(schedule, grid)  # -7, -5, -3 | -1 ...
    assert SwitchAt("heun", "ddim", -20.0).tableau("linear", grid) == DDIM().tableau("linear", grid)
    assert SwitchAt("heun", "ddim", 20.0).tableau("linear", grid) == Heun().tableau("linear", grid)


def test_a_start_at_pure_noise_is_early() -> None:
    assert SwitchAt("heun", "ddim", -1e6).tableau("linear", "uniform:steps=3").calls == 4


def test_what_it_promises_is_what_both_promise() -> None:
    assert (Switch("heun", "dpmpp-2m").order, Switch("ddim", "runge-kutta").order) == (2, 2)
    assert (Switch("ddim", "runge-kutta", 0).order, SwitchAt("ddim", "runge-kutta").order) == (4, 1)
    assert not Switch("euler:face=velocity", "ddim").invariant and Switch("ddim", "heun").invariant
    assert not Switch("euler:face=v", "ddim").exact and Switch("euler:face=v", "ddim").invariant


def test_noise_may_be_drawn_in_one_part_only() -> None:
    table = Switch(SDE(), DDIM(), after=2).tableau(Cosine(), GRID)
    assert table.draws == 2 and table.spans == SDE().tableau(Cosine(), GRID).spans[:2]


@pytest.mark.parametrize("then", ["adams", "dpmpp-2m", "pndm:starter=none", "unipc"])
@pytest.mark.parametrize("first", ["sde", "heun", "adams", "sa-solver", "dpm-solver"])
def test_constant_data_is_reached_whatever_the_first_method_left_behind(first: str, then: str) -> None:
    table = Switch(first, then, after=3).tableau("cosine", GRID)
    weights, noises = table.weights("data")
    assert float(weights.sum() / table.levels.alpha[-1]) == pytest.approx(1.0, abs=1e-10)
    assert float(noises.norm()) < 1e-10


def test_estimates_from_before_fresh_noise_are_forgotten() -> None:
    assert looked_at(Switch("sde", Before(), after=2), 3) == {2}
    assert looked_at(Switch("sde", Before(), after=2), 4) == {2, 3}


def test_a_switch_in_a_switch_hands_over_twice() -> None:
    inner = Switch("ddim", "heun", after=1)
    assert looked_at(Switch(inner, Before(), after=2), 3) == {1, 3}  # Heun made call 2 on its way


def test_specs_are_read_and_written() -> None:
    switch = Solver.of("switch:first=heun,then=dpmpp-2m,after=5")
    assert switch == Switch(Heun(), DPMpp2M(), 5) and Solver.of(switch.spec) == switch
    nested = Solver.of("switch:first=(switch:first=ddim,then=heun,after=2),then=(sde:eta=0.5),after=4")
    assert Solver.of(nested.spec) == nested
    assert nested.tableau(Linear(), GRID).calls == 8
    with pytest.raises(InvalidArgument, match="switch: after >= 0, got -1"):
        Solver.of("switch:after=-1")
