"""Comparisons: equal where theory says so, and where tables differ the place and the size are right."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from obverse.ground.errors import InvalidArgument
from obverse.path import Linear, clean, join
from obverse.sampler import DDIM, SDE, DPMpp2M, Euler, Given, Heun, Trace, compare, reached, remarks
from obverse.sampler.remarks import wasted, without_waste

GRID = Given((1.0, 0.6, 0.3, 0.0))


def test_the_same_algorithm_on_two_faces_is_the_same() -> None:
    found = compare(DDIM().tableau("linear", GRID), Euler().tableau("linear", GRID).on_face("flow"))
    assert found.same and found.first is None and found.difference < 1e-14
    assert found.words().startswith("They are the same algorithm: 3 calls")


def test_tables_part_where_their_first_differing_step_ends() -> None:
    # DPM-Solver++ 2M is DDIM in its first step, in one from alpha = 0, and in one to sigma = 0
    found = compare(
        DDIM().tableau("linear", "given:times=(0.9,0.7,0.5,0.3)"),
        DPMpp2M().tableau("linear", "given:times=(0.9,0.7,0.5,0.3)"),
    )
    assert found.first == 3 and not found.same
    assert max(found.partings[0]) == 0.0 and max(found.partings[1]) < 1e-14
    assert found.partings[2].outputs > 1e-3 and found.partings[2].noise == 0.0


def test_a_level_that_is_elsewhere_is_seen_at_its_call_by_its_angle() -> None:
    moved = Given((1.0, 0.6, 0.25, 0.0))
    found = compare(DDIM().tableau("linear", GRID), DDIM().tableau("linear", moved))
    assert found.first == 3
    assert found.partings[2].level == pytest.approx(math.atan(0.3 / 0.7) - math.atan(0.25 / 0.75), abs=1e-14)
    assert "the level by 0.083 in angle" in found.words()


def test_a_rotation_of_the_noise_makes_no_difference() -> None:
    table = SDE().tableau("linear", GRID)
    turned = replace(table, rows=tuple({k: -v if k.kind == "xi" else v for k, v in row.items()} for row in table.rows))
    assert compare(table, turned).same


def test_less_noise_is_a_difference_of_its_covariance() -> None:
    table = SDE().tableau("linear", GRID)
    halved = replace(
        table, rows=tuple({k: v / 2 if k.kind == "xi" else v for k, v in row.items()} for row in table.rows)
    )
    found = compare(table, halved)
    first = found.partings[1]
    assert (first.level, first.start, first.outputs) == (0.0, 0.0, 0.0)
    variance = float((table.canonical().draws[1] ** 2).sum())
    assert first.noise == pytest.approx(variance * 3 / 4)


def test_tables_with_other_numbers_of_calls_say_so() -> None:
    found = compare(DDIM().tableau("linear", GRID), Heun().tableau("linear", GRID))
    assert not found.same and found.difference == math.inf and found.partings == []
    assert "makes 3 calls, heun 5" in found.words("ddim", "heun")


def test_only_one_that_draws_is_named() -> None:
    words = compare(DDIM().tableau("linear", GRID), SDE().tableau("linear", GRID)).words("ddim", "sde")
    assert "Only sde draws noise (2 draws); ddim draws none." in words


@pytest.mark.parametrize("solver", [DDIM(), DPMpp2M(), Heun(), SDE(), SDE(0.5)], ids=str)
@pytest.mark.parametrize("path", ["linear", "cosine", "ddpm", "edm"])
def test_members_are_where_their_levels_say(solver: DDIM, path: str) -> None:
    table = solver.tableau(path, "uniform:steps=6")
    for there, level in zip(reached(table), table.moments, strict=True):
        assert there.alpha == pytest.approx(level.alpha, abs=1e-12)
        assert there.sigma == pytest.approx(level.sigma, abs=1e-11 * (1 + level.sigma))
    assert list(remarks(table)) == [] or path == "edm"  # whose last call is 0.002 away from the end


def test_a_wrong_level_told_to_the_network_is_remarked_on() -> None:
    table = DDIM().tableau("linear", GRID)
    at = Linear().at(torch.tensor([1.0, 0.61, 0.3], dtype=torch.float64))
    told = replace(table.on_face("flow"), levels=join(at, clean()))
    assert [round(level.sigma, 12) for level in reached(told)] == [1.0, 0.6, 0.3, 0.0]
    (remark,) = remarks(told)
    assert remark.startswith("at 1 of 3 calls the network is told another level") and "1.564 for 1.5" in remark


def test_a_call_that_nothing_depends_on_is_remarked_on_and_can_be_left_out() -> None:
    levels = Linear().at(torch.tensor([0.8, 0.4, 0.0], dtype=torch.float64)).floats()
    trace = Trace(Linear(), levels)
    first = trace.call(trace.start, levels[0])
    middle = trace.state(levels[1].alpha * first.data + levels[1].sigma * first.noise, levels[1])
    trace.call(middle, levels[1])
    trace.state(levels[2].alpha * first.data + levels[2].sigma * first.noise, levels[2])
    table = trace.tableau()
    assert wasted(table) == [2] and "call 2 is wasted: nothing depends on it" in remarks(table)
    assert without_waste(table) == DDIM().tableau("linear", Given((0.8, 0.0)))


def test_a_table_that_keeps_noise_is_remarked_on() -> None:
    table = DDIM().tableau("linear", Given((1.0, 0.5, 0.2)))
    assert list(remarks(table)) == ["it stops at sigma/alpha = 0.25 instead of 0"]


def test_tables_are_compared_and_no_names() -> None:
    with pytest.raises(InvalidArgument, match=r"compare takes tables, got str .*Solver\.of\('ddim'\)\.tableau\("):
        compare("ddim", DDIM().tableau("linear", GRID))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="compare takes tables, got Euler"):
        compare(DDIM().tableau("linear", GRID), Euler())  # type: ignore[arg-type]
