"""Schedules: what is particular to each, against what their papers say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pathing import INSIDE, TwoMethods, same, slope
from scipy.stats import laplace
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.path import (
    DDPM,
    EDM,
    VE,
    VP,
    Cosine,
    Laplace,
    Linear,
    NicholDhariwal,
    Polynomial,
    Schedule,
    Slider,
    Sqrt,
    VPLinear,
)

EXACT_ENDS = [Linear(), Cosine(), NicholDhariwal(), VPLinear(), Sqrt(), Polynomial(), Laplace(), DDPM(betas="cosine")]


@pytest.mark.parametrize("schedule", EXACT_ENDS[:-1], ids=lambda s: s.spec)
def test_paths_that_reach_both_ends_reach_them_exactly(schedule: Schedule) -> None:
    data, source = schedule.at(0.0), schedule.at(1.0)
    assert (float(data.alpha), float(data.sigma)) == (1.0, 0.0)
    assert (float(source.alpha), float(source.sigma)) == (0.0, 1.0)
    assert schedule.range == (-math.inf, math.inf)
    assert float(schedule.at_logsnr(math.inf).t) == 0.0 and float(schedule.at_logsnr(-math.inf).t) == 1.0


def test_the_range_of_the_vp_sde_is_that_of_its_total_noise() -> None:
    low, high = VP().range
    assert high == math.inf and low == pytest.approx(-math.log(math.expm1(10.05)), abs=1e-12)


def test_ve_and_edm_keep_noise_at_the_data_end_and_step_off_it() -> None:
    for schedule, least, most in ((VE(), 0.01, 50.0), (EDM(), 0.002, 80.0)):
        assert float(schedule.at(0.0).sigma) == pytest.approx(least, rel=1e-12)
        assert float(schedule.at(1.0).sigma) == pytest.approx(most, rel=1e-12)
        assert (float(schedule.end.alpha), float(schedule.end.sigma)) == (1.0, 0.0)


@pytest.mark.parametrize("sigma_min", [1e-4, 0.1])
def test_the_linear_path_with_sigma_min_starts_at_that_much_noise(sigma_min: float) -> None:
    schedule = Linear(sigma_min)
    assert float(schedule.at(0.0).sigma) == sigma_min and float(schedule.at(1.0).sigma) == pytest.approx(1.0)
    assert torch.allclose(schedule.time_of(schedule.logsnr(INSIDE)), INSIDE, atol=1e-13)


def test_laplace_spreads_log_snr_as_that_law() -> None:
    quantiles = laplace(loc=0.4, scale=0.7).ppf(1 - INSIDE.numpy())
    assert np.allclose(Laplace(0.4, 0.7).logsnr(INSIDE).numpy(), quantiles, atol=1e-12)


@pytest.mark.parametrize("t", [0.25, 0.5, 0.75])
def test_laplace_is_as_fast_as_its_finite_difference_also_in_the_middle(t: float) -> None:
    at = torch.tensor(t, dtype=torch.float64)
    assert float(Laplace().at(t).logsnr_dot) == pytest.approx(float(slope(Laplace().logsnr, at)), rel=1e-4)


def test_nichol_and_dhariwals_cosine_tends_to_the_cosine_as_the_offset_vanishes() -> None:
    assert torch.allclose(NicholDhariwal(1e-9).logsnr(INSIDE), Cosine().logsnr(INSIDE), atol=1e-6)


def test_polynomials_of_power_one_are_linear() -> None:
    assert same(Polynomial(1.0).at(INSIDE), Linear().at(INSIDE))


def test_a_uniform_grid_of_edm_is_karras() -> None:
    sigmas = EDM().at(torch.linspace(1, 0, 18, dtype=torch.float64)).sigma
    roots = sigmas ** (1 / 7)
    assert torch.allclose(roots.diff(), roots.diff().mean().expand(17), rtol=1e-10)
    assert [round(float(s), 3) for s in sigmas[:3]] == [80.0, 57.586, 40.786]  # edm's generate.py, 18 steps


@pytest.mark.parametrize(
    "schedule", [VP(), NicholDhariwal(), Cosine(), Sqrt(), Polynomial(0.5), Laplace()], ids=lambda s: s.spec
)
def test_rates_are_numbers_or_infinite_at_the_ends(schedule: Schedule) -> None:
    level = schedule.at(torch.tensor([0.0, 1.0]))
    assert not bool(level.alpha_dot.isnan().any()) and not bool(level.sigma_dot.isnan().any())


@pytest.mark.parametrize(
    "schedule",
    [Linear(), Cosine(), NicholDhariwal(), VP(), VPLinear(), Sqrt(), Polynomial(), Laplace(), TwoMethods(), Slider()],
    ids=lambda s: s.name,
)
@pytest.mark.parametrize("logsnr", [-9.0, -1.0, 0.0, 3.0, 20.0, 45.0, 60.0])
def test_levels_of_a_log_snr_are_exact_where_t_has_no_digits_left(schedule: Schedule, logsnr: float) -> None:
    level = schedule.at_logsnr(logsnr)
    assert float(level.logsnr) == pytest.approx(logsnr, abs=1e-12)
    at_t = schedule.at(level.t)
    assert float(level.r) == pytest.approx(float(at_t.r), rel=1e-12)
    assert logsnr > 20 or float(at_t.logsnr) == pytest.approx(logsnr, abs=1e-6)


@pytest.mark.parametrize("t", [-1e-9, 1 + 1e-9, math.nan, [0.5, 2.0]])
def test_times_lie_between_data_and_source(t: float) -> None:
    with pytest.raises(InvalidArgument, match=r"t lies in \[0, 1\] \(0 = data, 1 = source\), got"):
        Linear().at(torch.tensor(t, dtype=torch.float64))


def test_a_level_in_place_of_a_time_stays_what_it_is() -> None:
    level = EDM().at_logsnr(3.0)
    assert EDM().at(level) is level


@pytest.mark.parametrize("logsnr", [-10.5, math.nan])
def test_a_log_snr_beyond_the_range_is_refused_by_name_and_range(logsnr: float) -> None:
    with pytest.raises(InvalidArgument, match=r"log-SNR of vp lies in \[-10\.05, inf\], got"):
        VP().at_logsnr(logsnr)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("linear:sigma_min=1", "0 <= sigma_min < 1, got 1"),
        ("vp:beta_min=5,beta_max=1", "0 < beta_min <= beta_max, got 5.0, 1.0"),
        ("vp:beta_min=0", "0 < beta_min <= beta_max, got 0.0"),
        ("ve:sigma_min=0", "0 < sigma_min < sigma_max, got 0"),
        ("edm:rho=0", "rho > 0"),
        ("polynomial:power=0", "power > 0, got 0"),
        ("laplace:spread=-1", "spread > 0, got -1"),
        ("nichol-dhariwal:offset=0", "offset > 0, got 0"),
        ("ddpm:count=1", "count >= 2"),
        ("ddpm:beta_end=1", "beta_end < 1"),
        ("ddpm:table=(0.1,1.5)", r"every beta lies in \[0, 1\], got 0.1 ... 1.5"),
        ("ddpm:table=(0.1)", "two or more betas, one after the first above 0, got 1"),
        ("ddpm:table=(0.1,0.0),zero_terminal_snr=true", "two or more betas, one after the first above 0, got 2"),
        ("shift:k=0", "k > 0, got 0"),
        ("slider:vp=2", r"vp lies in \[0, 1\]"),
    ],
)
def test_parameters_out_of_range_are_refused_with_the_range(spec: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        Schedule.of(spec)


class Backwards(Schedule):
    name = "backwards"

    def alpha(self, t: Tensor) -> Tensor:
        return t

    def sigma(self, t: Tensor) -> Tensor:
        return 1 - t


def test_a_schedule_that_runs_from_source_to_data_is_told_so() -> None:
    with pytest.raises(InvalidArgument, match="so log-SNR falls in t; that of backwards goes from -inf to inf"):
        Backwards().at_logsnr(0.0)
