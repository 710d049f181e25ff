"""Grids: which levels are visited, on schedules with clean and with noisy ends."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.path import DDPM, EDM, VE, VP, Cosine, Linear, Polynomial, Schedule
from obverse.sampler import Angle, Given, GivenAngle, GivenLogSNR, GivenNSR, Grid, Karras, LogSNR, Shift, Uniform

PATHS: list[Schedule] = [Linear(), Cosine(), VP(), VE(), EDM(), DDPM(), DDPM(zero_terminal_snr=True), Linear(1e-4)]
GRIDS = ["uniform", "angle", "angle:power=1", "logsnr", "karras", "shift", "shift:base=angle,k=0.5"]
GRIDS += ["uniform:start=0.9,end=0.1", "quadratic", "quadratic:power=3,last=0.001", "quadratic:clock=vp,last=0.001"]
GRIDS += ["exponential", "sigmoid", "sigmoid:mean=1,spread=0.7", "beta", "resolution-shift:tokens=1024", "indices"]
GRIDS += ["indices:spacing=leading,offset=1", "indices:spacing=linspace,dropped=1", "align-your-steps", "karras:rho=-2"]
GRIDS += ["align-your-steps:network=sdxl", "angle:sigma_data=0.5", "part:base=uniform,skip=2"]


def evenly(values: Tensor) -> bool:
    steps = values.diff()
    return torch.allclose(steps, steps.mean().expand(len(steps)), rtol=1e-9)


def of(value: object) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("path", PATHS, ids=lambda s: s.spec)
@pytest.mark.parametrize("spec", GRIDS)
def test_a_grid_falls_from_noise_to_its_end_in_as_many_steps_as_asked(spec: str, path: Schedule, steps: int) -> None:
    grid = Grid.of(spec).resized(steps)
    levels = grid.levels(path)
    assert len(levels) == steps + 1 and bool((of(levels.theta).diff() < 0).all())
    assert float(levels[-1].sigma) == (0.0 if "end" not in spec else pytest.approx(float(path.at(0.1).sigma)))


@pytest.mark.parametrize("spec", ["uniform", "angle", "shift"])
@pytest.mark.parametrize("path", PATHS, ids=lambda s: s.spec)
def test_a_grid_starts_at_the_source_unless_told_otherwise(spec: str, path: Schedule) -> None:
    assert float(Grid.of(spec).levels(path)[0].sigma) == pytest.approx(float(path.at(1.0).sigma), rel=1e-12)


@pytest.mark.parametrize("spec", ["karras:nsr_max=1e9", "logsnr:low=-40"])
@pytest.mark.parametrize("path", [VP(), VE(), EDM(), DDPM()], ids=lambda s: s.spec)
def test_a_grid_that_reaches_further_than_the_path_starts_at_the_source(spec: str, path: Schedule) -> None:
    assert float(Grid.of(spec).levels(path)[0].sigma) == pytest.approx(float(path.at(1.0).sigma), rel=1e-12)


def test_uniform_steps_are_even_in_time() -> None:
    assert Uniform(4).levels(Linear()).t.tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert Uniform(4, start=0.8).levels(Linear()).t.tolist() == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])
    assert Uniform(4, start=0.9, end=0.1).levels(Linear()).t.tolist() == pytest.approx([0.9, 0.7, 0.5, 0.3, 0.1])


def test_on_a_path_with_a_noisy_end_that_end_is_visited_too() -> None:
    levels = Uniform(5).levels(EDM())
    assert levels.t[:5].tolist() == [1.0, 0.75, 0.5, 0.25, 0.0] and float(levels.sigma[4]) == pytest.approx(0.002)
    assert float(levels.sigma[5]) == 0.0 and float(levels.alpha[5]) == 1.0


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("path", [Linear(), Cosine(), Polynomial()], ids=lambda s: s.spec)
def test_angles_are_even_to_a_power(path: Schedule, power: float) -> None:
    theta = of(Angle(9, power).levels(path).theta)
    assert evenly(theta ** (1 / power)) and float(theta[0]) == pytest.approx(math.pi / 2, abs=1e-15)


def test_angles_are_even_down_to_a_noisy_end() -> None:
    theta = of(Angle(9, 2.0).levels(VE()).theta)[:-1]
    assert evenly(theta**0.5) and math.tan(float(theta[-1])) == pytest.approx(0.01, rel=1e-9)


@pytest.mark.parametrize("spec", ["angle", "logsnr", "karras"])
def test_grids_of_noise_levels_do_not_ask_which_schedule(spec: str) -> None:
    one, two = (of(Grid.of(spec).levels(path).logsnr)[1:-1] for path in (Linear(), Cosine()))
    assert torch.allclose(one, two, rtol=1e-10)


def test_log_snr_is_even_as_far_as_the_schedule_reaches() -> None:
    on_linear, on_edm = (of(LogSNR(11).levels(path).logsnr)[:-1] for path in (Linear(), EDM()))
    assert torch.allclose(on_linear, torch.linspace(-10, 10, 11, dtype=torch.float64))
    assert (
        evenly(on_edm)
        and float(on_edm[0]) == pytest.approx(-2 * math.log(80))
        and float(on_edm[-1]) == pytest.approx(10)
    )


@pytest.mark.parametrize("path", [Linear(), Cosine(), VE(0.001, 100.0)], ids=lambda s: s.spec)
def test_karras_levels_are_those_of_the_paper_on_any_path(path: Schedule) -> None:
    nsr = of(Karras(18).levels(path).nsr)
    assert [round(float(s), 3) for s in nsr[:3]] == [80.0, 57.586, 40.786]  # edm's generate.py with 18 steps
    assert float(nsr[17]) == pytest.approx(0.002) and float(nsr[18]) == 0.0


def test_karras_levels_on_edm_are_its_uniform_grid() -> None:
    assert torch.allclose(of(Karras(18).levels(EDM()).sigma), of(Uniform(18).levels(EDM()).sigma), rtol=1e-9)


def test_a_shift_multiplies_the_noise_of_the_linear_path() -> None:
    plain, moved = Uniform(8).levels(Linear()), Shift(8, k=3.0).levels(Linear())
    assert torch.allclose(of(moved.nsr)[1:], 3 * of(plain.nsr)[1:], rtol=1e-12)
    assert moved.t[[0, -1]].tolist() == [1.0, 0.0]
    assert torch.allclose(Shift(8, k=1.0).levels(Linear()).t, plain.t)


def test_a_shift_stops_where_its_base_does() -> None:
    stop = Shift(4, base=Uniform(end=0.25), k=3.0).levels(Linear())[-1]
    assert float(stop.nsr) == pytest.approx(3 * 0.25 / 0.75)


def test_ones_own_times_are_visited_as_given() -> None:
    assert Grid.of("given:times=(1,0.3,0)").levels(Linear()).t.tolist() == [1.0, 0.3, 0.0]
    assert Given((0.9, 0.4)).levels(VP()).t.tolist() == [0.9, 0.4] and Given((0.9, 0.4)).steps == 1
    assert float(Given((1.0, 0.0)).levels(EDM())[-1].sigma) == 0.0


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ("uniform:steps=0", Linear(), r"Grid needs a whole number of steps >= 1, got 0 \(try steps=20\)"),
        ("given:times=(1)", Linear(), "steps >= 1, got 0"),
        (
            "given:times=(1,0.2,0.5,0)",
            Linear(),
            r"from noise to data without a halt or a turn; given:times=\(1.0,0.2,0.5,0.0\) on linear does not: "
            "step 1 goes from t = 0.2 .* to t = 0.5",
        ),
        ("given:times=(1,1)", Linear(), "step 0 goes from t = 1 .* to t = 1"),
        ("given:times=(2,1)", Linear(), r"t lies in \[0, 1\]"),
        ("given:times=(0,0.5,0.2,1)", Linear(), "from data to noise without .* step 1 goes from t = 0.5 .* to t = 0.2"),
    ],
)
def test_a_grid_that_neither_falls_nor_rises_is_refused_where_it_turns(spec: str, path: Schedule, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        Grid.of(spec).levels(path)


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        (
            "logsnr:low=20,high=30",
            EDM(),
            r"low=20.0,high=30.0 asks for log-SNR from 20 to 30, beyond edm, which has -8.76",
        ),
        (
            "karras:nsr_min=200,nsr_max=300",
            VP(),
            r"nsr_min=200.0,.* beyond vp, .* \(nsr 152.167 to 0\); choose ends within",
        ),
        ("exponential:nsr_max=0.001,nsr_min=0.0005", EDM(), "beyond edm, .*nsr 80 to 0.002"),
        ("given-nsr:nsr=(100,1,0)", EDM(), r"given-nsr asks for log-SNR -9.21034 \(nsr 100\), beyond edm"),
        ("given-nsr:nsr=(1,0.001,0)", EDM(), r"\(nsr 0.001\), beyond edm"),
        ("given-logsnr:logsnr=(-20,0)", VP(), "given-logsnr asks for log-SNR -20"),
        ("given-angle:turns=(1,0.5,0)", VP(), r"given-angle asks for log-SNR -inf \(nsr inf\), beyond vp"),
        ("indices:steps=12,count=10", Linear(), "asks for 12 indices up to 9; linear has 10, 0 ... 9"),
        ("indices:spacing=leading,offset=60", Linear(), "up to 1010; linear has 1000, 0 ... 999"),
        ("indices:steps=3", DDPM(table=(0.1, 0.4)), "has 2, 0 ... 1"),
    ],
)
def test_levels_that_a_schedule_has_not_are_refused_with_those_it_has(spec: str, path: Schedule, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        Grid.of(spec).levels(path)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("uniform:start=0.2,end=0.5", "0 <= end < start <= 1, got start=0.2, end=0.5"),
        ("uniform:start=1.5", "start=1.5"),
        ("angle:power=0", "power > 0, got 0"),
        ("logsnr:low=3,high=2", "low < high, got low=3.0, high=2.0"),
        ("karras:nsr_min=0", "0 < nsr_min < nsr_max"),
        ("karras:rho=0", "rho is not 0"),
        ("exponential:nsr_min=90", "0 < nsr_min < nsr_max"),
        ("quadratic:power=-1", "power > 0, got -1"),
        ("quadratic:last=1", "0 <= last < start <= 1, got start=1.0, last=1.0"),
        ("angle:sigma_data=0", "sigma_data > 0, got 0"),
        ("sigmoid:spread=0", "spread > 0, got 0"),
        ("beta:a=0", "a > 0 and b > 0, got a=0.0, b=0.6"),
        ("beta:start=0", "0 < start <= 1, got 0"),
        ("given-nsr:nsr=(1,-1)", "every nsr >= 0"),
        ("given-angle:turns=(1.5,0)", r"quarter turns, 0 \(data\) to 1 \(noise\)"),
        ("indices:spacing=even", "No spacing of indices is called 'even'; .*leading, linspace, trailing"),
        ("indices:count=0", "count >= 1, got 0"),
        ("indices:dropped=-1", "dropped >= 0, got -1"),
        ("indices:offset=-1", "offset >= 0, got -1"),
        ("align-your-steps:network=sd2", "known: sd15, sdxl, svd"),
        ("resolution-shift:tokens=0", "tokens >= 1, got 0"),
        ("resolution-shift:low_tokens=5000", "1 <= low_tokens < high_tokens"),
        ("part:skip=-1", "skip >= 0 and spare >= 0, got skip=-1"),
        ("shift:k=-1", "k > 0, got -1"),
    ],
)
def test_parameters_out_of_range_are_refused_with_the_range(spec: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        Grid.of(spec)


def test_unknown_grids_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'karras'"):
        Grid.of("karas")


@pytest.mark.parametrize("made", [list, np.array, lambda levels: torch.tensor(levels, dtype=torch.float64)])
@pytest.mark.parametrize("kind", [Given, GivenNSR, GivenLogSNR, GivenAngle])
def test_levels_may_be_given_as_lists_arrays_and_tensors(kind: Any, made: Any) -> None:
    levels = (1.0, 0.5, 0.25)
    assert kind(made(levels)) == kind(levels) and hash(kind(made(levels))) == hash(kind(levels))


@pytest.mark.parametrize("spec", ["uniform", "scales", "karras"])
def test_the_number_of_steps_may_be_of_numpy(spec: str) -> None:
    grid = Grid.of(spec)
    assert grid.resized(np.int64(3)) == grid.resized(3)  # type: ignore[arg-type]
    assert type(grid)(steps=np.int64(3)).levels(Linear()).t.tolist() == grid.resized(3).levels(Linear()).t.tolist()  # type: ignore[call-arg]


@pytest.mark.parametrize("steps", ["8", 2.0, math.nan, None])
def test_a_number_of_steps_that_is_not_whole_is_refused(steps: Any) -> None:
    with pytest.raises(InvalidArgument, match="Grid needs a whole number of steps >= 1, got"):
        Grid.of("scales").resized(steps)
