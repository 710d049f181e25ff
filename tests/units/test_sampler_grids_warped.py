"""Grids even in a warped quantity, shifted, fitted, or of whole indices: as papers and other libraries have them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from obverse.path import DDPM, EDM, VP, Cosine, Linear, Schedule
from obverse.sampler.grids import (
    AlignYourSteps,
    Angle,
    Beta,
    Exponential,
    Given,
    GivenAngle,
    GivenLogSNR,
    GivenNSR,
    Grid,
    Indices,
    Karras,
    LogSNR,
    Quadratic,
    ResolutionShift,
    Shift,
    Sigmoid,
    Uniform,
)

STABLE = DDPM("scaled-linear", beta_start=0.00085, beta_end=0.012)


def of(value: object) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def evenly(values: Tensor) -> bool:
    steps = values.diff()
    return torch.allclose(steps, steps.mean().expand(len(steps)), rtol=1e-8)


def same(one: Tensor, two: Tensor) -> bool:
    return torch.allclose(one, two, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
@pytest.mark.parametrize("last", [0.0, 1e-3])
def test_quadratic_times_are_even_to_a_power(power: float, last: float) -> None:
    t = of(Quadratic(9, power, last=last).levels(Linear()).t)
    assert evenly((t if last == 0 else t[:-1]) ** (1 / power))
    assert float(t[0]) == 1.0 and float(t[-1]) == 0.0 and (last == 0 or float(t[-2]) == pytest.approx(last))


@pytest.mark.parametrize("path", [VP(), Linear(), Cosine()], ids=lambda s: s.spec)
def test_quadratic_in_the_time_of_vp_visits_the_same_noise_on_every_path(path: Schedule) -> None:
    levels = Grid.of("quadratic:steps=8,clock=vp,last=0.001").levels(path)
    t = VP().time_of(of(levels.logsnr)[:-1])
    assert evenly(t**0.5) and t[[0, -1]].tolist() == pytest.approx([1.0, 0.001])


def test_the_time_of_another_schedule_begins_where_ones_own_does() -> None:
    levels = Quadratic(1000, clock=VP()).levels(EDM())
    assert float(levels[0].sigma) == pytest.approx(80.0) and evenly(VP().time_of(of(levels.logsnr)[:-1]) ** 0.5)


def test_a_clock_is_a_schedule_or_its_spec() -> None:
    assert Grid.of("quadratic:clock=(vp:beta_max=10)").spec == "quadratic:clock=(vp:beta_max=10.0)"
    assert Quadratic(clock="vp") == Quadratic(clock=VP()) and Quadratic().spec == "quadratic"


@pytest.mark.parametrize("sigma_data", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("path", [Linear(), EDM()], ids=lambda s: s.spec)
def test_angles_are_those_of_data_of_a_given_spread(path: Schedule, sigma_data: float) -> None:
    nsr = of(Angle(9, 2.0, sigma_data=sigma_data).levels(path).nsr)
    nsr = nsr[:-1] if path == EDM() else nsr
    assert evenly((nsr / sigma_data).atan() ** 0.5)


def test_an_s_curve_of_spread_2_is_uniform_time_on_the_linear_path_and_its_mean_is_a_shift() -> None:
    assert same(of(Sigmoid(7).levels(Linear()).t), of(Uniform(7).levels(Linear()).t))
    moved = Sigmoid(7, mean=-2 * math.log(3)).levels(Linear())
    assert same(of(moved.t), of(Shift(7, k=3.0).levels(Linear()).t))


def test_an_s_curve_of_spread_1_is_even_in_the_variance_of_the_noise() -> None:
    assert evenly(of(Sigmoid(7, spread=1.0).levels(Cosine()).sigma) ** 2)


def test_an_s_curve_spends_its_steps_around_its_mean() -> None:
    logsnr = of(Sigmoid(100, mean=3.0, spread=0.5).levels(VP()).logsnr)
    assert float(logsnr[50]) == pytest.approx(3.0, abs=0.1)
    assert int(((logsnr - 3.0).abs() < 1.1).sum()) == pytest.approx(80, abs=2)  # the logistic law: tanh(1.1)


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.6), (0.5, 0.7), (2.0, 1.0)])
def test_times_are_at_the_quantiles_of_a_beta_distribution(a: float, b: float) -> None:
    t = of(Beta(11, a, b).levels(Linear()).t)
    assert evenly(torch.from_numpy(scipy.stats.beta(a, b).cdf(t.numpy()))) and t[[0, -1]].tolist() == [1.0, 0.0]


def test_beta_of_ones_is_uniform_and_of_06_symmetric() -> None:
    assert same(of(Beta(8, 1.0, 1.0).levels(Cosine()).t), of(Uniform(8).levels(Cosine()).t))
    t = of(Beta(8).levels(Cosine()).t)
    assert same(t + t.flip(0), torch.ones(9, dtype=torch.float64))


@pytest.mark.parametrize("rho", [-7.0, -1.0, 1.0, 3.0, 40.0])
def test_karras_takes_any_rho(rho: float) -> None:
    nsr = of(Karras(12, rho=rho).levels(VP()).nsr)[:-1]
    assert evenly(nsr ** (1 / rho)) and nsr[[0, -1]].tolist() == pytest.approx([80.0, 0.002], rel=1e-9)


def test_exponential_is_the_limit_of_karras_and_even_log_snr_by_another_name() -> None:
    levels = of(Exponential(9).levels(Linear()).nsr)[:-1]
    assert torch.allclose(levels, of(Karras(9, rho=1e6).levels(Linear()).nsr)[:-1], rtol=1e-4)
    ends = {"low": -2 * math.log(80), "high": -2 * math.log(0.002)}
    assert same(levels, of(LogSNR(9, **ends).levels(Linear()).nsr)[:-1])


@pytest.mark.parametrize("tokens", [256, 1024, 2048, 4096])
def test_a_shift_by_resolution_is_that_of_diffusers(tokens: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    mu = float(np.interp(tokens, [256, 4096], [0.5, 1.15]))
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    theirs.set_timesteps(sigmas=[1 - i / 10 for i in range(10)], mu=mu)
    ours = of(ResolutionShift(10, tokens=tokens).levels(Linear()).t)
    assert torch.allclose(ours, theirs.sigmas.double(), atol=1e-6)


def test_a_shift_by_resolution_meets_the_two_points_of_its_line() -> None:
    assert ResolutionShift(tokens=256).k == pytest.approx(math.exp(0.5))
    assert ResolutionShift(tokens=4096).k == pytest.approx(math.exp(1.15))
    assert Grid.of("resolution-shift:base=(uniform:end=0.2)").levels(Linear())[-1].t == pytest.approx(
        float(Shift(20, Uniform(end=0.2), math.exp(1.15)).levels(Linear())[-1].t)
    )


PUBLISHED = {  # the indices that the authors' guide gives beside the levels
    "sd15": [999, 850, 736, 645, 545, 455, 343, 233, 124, 24],
    "sdxl": [999, 845, 730, 587, 443, 310, 193, 116, 53, 13],
}


@pytest.mark.parametrize("network", PUBLISHED)
def test_aligned_steps_lie_at_the_published_indices_of_stable_diffusion(network: str) -> None:
    levels = AlignYourSteps(10, network).levels(STABLE)
    assert (of(levels.t)[:-1] * 1000 - 1).tolist() == pytest.approx(PUBLISHED[network], abs=0.51)
    assert float(levels[-1].sigma) == 0.0


@pytest.mark.parametrize(
    "name", ["sd15:StableDiffusionSigmas", "sdxl:StableDiffusionXLSigmas", "svd:StableDiffusionVideoSigmas"]
)
def test_aligned_steps_are_those_of_diffusers(name: str) -> None:
    tables = pytest.importorskip("diffusers.schedulers").AysSchedules
    network, key = name.split(":")
    nsr = of(AlignYourSteps(10, network).levels(Linear()).nsr)
    assert nsr.tolist() == pytest.approx(tables[key], rel=2e-2)  # they round to three places, twice


def test_more_aligned_steps_lie_between_in_log_snr() -> None:
    coarse, fine = (of(AlignYourSteps(steps).levels(Linear()).logsnr) for steps in (10, 20))
    assert same(fine[:-2:2], coarse[:-1]) and same(fine[1:-3:2], (coarse[:-2] + coarse[1:-1]) / 2)


def test_aligned_steps_begin_where_the_schedule_does_if_that_is_less() -> None:
    nsr = of(AlignYourSteps(10, "svd").levels(EDM()).nsr)
    assert nsr[:3].tolist() == pytest.approx([80.0, 54.5, 15.886])


def test_given_levels_are_visited_as_given() -> None:
    assert of(GivenNSR((30.0, 0.5, 0.0)).levels(VP()).nsr).tolist() == pytest.approx([30.0, 0.5, 0.0])
    assert of(GivenLogSNR((-3.0, 4.0)).levels(EDM()).logsnr).tolist() == pytest.approx([-3.0, 4.0, math.inf])
    theta = of(GivenAngle((1.0, 0.25, 1e-9, 0.0)).levels(Cosine()).theta) / (math.pi / 2)
    assert theta.tolist() == pytest.approx([1.0, 0.25, 1e-9, 0.0], rel=1e-12)
    assert (GivenNSR().steps, GivenLogSNR().steps, GivenAngle().steps, Given().steps) == (2, 3, 2, 2)
    assert of(GivenNSR((0.0, 0.5, 3.0)).levels(Linear()).t).tolist() == pytest.approx([0.0, 1 / 3, 0.75])


def test_an_angle_near_noise_keeps_its_digits() -> None:
    level = GivenAngle((1 - 2**-40, 0.0)).levels(Linear())[0]
    assert float(level.nsr) == pytest.approx(2**41 / math.pi, rel=1e-11)


LIN = {  # Lin et al. (2023), table 2, counted from 1
    "leading": [901, 801, 701, 601, 501, 401, 301, 201, 101, 1],
    "linspace": [1000, 889, 778, 667, 556, 445, 334, 223, 112, 1],
    "trailing": [1000, 900, 800, 700, 600, 500, 400, 300, 200, 100],
}


@pytest.mark.parametrize("spacing", LIN)
def test_indices_are_those_of_the_paper(spacing: str) -> None:
    assert [index + 1 for index in Indices(10, spacing).visited(1000)] == LIN[spacing]
    assert (of(Indices(10, spacing).levels(STABLE).t) * 1000).tolist() == pytest.approx([*LIN[spacing], 0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("steps", [1, 3, 7, 20, 30, 50, 333, 1000])
@pytest.mark.parametrize("spacing", LIN)
def test_indices_are_those_of_diffusers(spacing: str, steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(timestep_spacing=spacing, steps_offset=0)
    theirs.set_timesteps(steps)
    assert Indices(steps, spacing).visited(1000) == theirs.timesteps.tolist()
    if steps < 1000:
        theirs = diffusers.DPMSolverMultistepScheduler(timestep_spacing=spacing, steps_offset=0)
        theirs.set_timesteps(steps)
        dropped = 0 if spacing == "trailing" else 1
        assert Indices(steps, spacing, dropped=dropped).visited(1000) == theirs.timesteps.tolist()


def test_a_discrete_schedule_knows_its_indices_and_a_continuous_one_is_told() -> None:
    assert of(Indices(2).levels(DDPM(count=10)).t).tolist() == [1.0, 0.5, 0.0]
    assert of(Indices(4).levels(DDPM(table=(0.1, 0.2, 0.3, 0.4))).t).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert of(Indices(2, "leading", count=4).levels(Linear()).t).tolist() == [0.75, 0.25, 0.0]
