"""Schedules made from something else: tables of betas, SDEs, shifts, scales; against numpy, papers and limits."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from pathing import INSIDE, TwoMethods, same, slope
from torch import Tensor

from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.ground.quadrature import legendre
from obverse.path import (
    DDPM,
    EDM,
    VE,
    VP,
    Cosine,
    FromSDE,
    Laplace,
    Linear,
    Polynomial,
    Rescaled,
    Schedule,
    Shifted,
    Slider,
    VPLinear,
)


def exact(value: object) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("betas", ["linear", "scaled-linear", "cosine"])
def test_ddpm_is_the_running_product_of_its_betas_at_every_index(betas: str) -> None:
    diffusers_like = {
        "linear": np.linspace(1e-4, 0.02, 1000),
        "scaled-linear": np.linspace(1e-4**0.5, 0.02**0.5, 1000) ** 2,
        "cosine": np.array(
            [
                min(
                    0.999,
                    1 - math.cos((i + 1.0 + 8) / 1008 * math.pi / 2) ** 2 / math.cos((i + 8) / 1008 * math.pi / 2) ** 2,
                )
                for i in range(1000)
            ]
        ),
    }[betas]
    product = np.cumprod(1 - diffusers_like)
    level = DDPM(betas=betas).at(torch.arange(1, 1001, dtype=torch.float64) / 1000)
    assert np.allclose(np.asarray(level.alpha) ** 2, product, rtol=1e-10, atol=1e-14)
    assert np.allclose(np.asarray(level.sigma) ** 2, 1 - product, rtol=1e-10)


def test_stable_diffusions_schedule_starts_and_ends_where_it_is_known_to() -> None:
    schedule = DDPM(betas="scaled-linear", beta_start=0.00085, beta_end=0.012)
    least, most = (float(schedule.at(t).nsr) for t in (0.001, 1.0))
    assert least == pytest.approx(0.0292, abs=5e-5) and most == pytest.approx(14.6146, abs=5e-4)  # k-diffusion's sigmas


def test_ddpm_takes_ones_own_betas() -> None:
    betas = (0.1, 0.2, 0.4)
    assert torch.allclose(
        DDPM(table=betas).at(torch.tensor([1, 2, 3]) / 3).alpha ** 2, torch.tensor([0.9, 0.72, 0.432]).double()
    )


def test_zero_terminal_snr_ends_in_pure_noise_and_keeps_the_first_index() -> None:
    plain, zero = DDPM(betas="scaled-linear"), DDPM(betas="scaled-linear", zero_terminal_snr=True)
    end = zero.at(1.0)
    assert (float(end.alpha), float(end.sigma)) == (0.0, 1.0) and zero.range[0] == -math.inf
    assert float(zero.at(1e-3).alpha) == pytest.approx(float(plain.at(1e-3).alpha), rel=1e-14)
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    squeezed = np.polyfit(np.asarray(plain.at(t).alpha), np.asarray(zero.at(t).alpha), 1, full=True)
    assert squeezed[1].sum() < 1e-24  # algorithm 1 moves and scales sqrt(alpha_bar), nothing else


def test_ddpm_knows_its_times_whatever_the_shape_of_the_question() -> None:
    schedule = DDPM()
    times = torch.tensor([[0.2, 0.5], [0.7, 0.9]], dtype=torch.float64)
    assert torch.allclose(schedule.time_of(schedule.logsnr(times)), times, atol=1e-12)
    assert float(schedule.at_logsnr(float(schedule.logsnr(0.5))).t) == pytest.approx(0.5, abs=1e-12)


def test_ddpm_tends_to_the_vp_sde_it_discretises() -> None:
    errors = [
        float((DDPM(count=n, beta_start=0.1 / n, beta_end=20 / n).logsnr(INSIDE) - VP().logsnr(INSIDE)).abs().max())
        for n in (1000, 2000)
    ]
    assert errors[0] < 0.2 and errors[1] < 0.6 * errors[0]


def test_an_sde_with_linear_beta_is_the_vp_path() -> None:
    def beta(t: Tensor) -> Tensor:
        return 0.1 + 19.9 * t

    assert same(FromSDE(lambda t: -beta(t) / 2, beta).at(INSIDE), VP().at(INSIDE), 1e-10)


def test_an_sde_without_drift_is_the_ve_path() -> None:
    def g2(t: Tensor) -> Tensor:
        return 2 * math.log(5000) * (0.01 * 5000**t) ** 2

    assert same(FromSDE(torch.zeros_like, g2, sigma_0=0.01).at(INSIDE), VE().at(INSIDE), 1e-10)


def test_the_vp_path_leads_back_to_its_sde() -> None:
    level = VP(0.3, 7.0).at(INSIDE)
    beta = torch.from_numpy(np.interp(INSIDE.numpy(), [0, 1], [0.3, 7.0]))
    assert torch.allclose(exact(level.f), -beta / 2, rtol=1e-12) and torch.allclose(exact(level.g2), beta, rtol=1e-11)


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), Laplace(0.5, 0.7), EDM(), VP()], ids=lambda s: s.spec)
def test_a_path_is_the_path_of_its_own_sde(schedule: Schedule) -> None:
    t = torch.tensor([0.3, 0.6], dtype=torch.float64)
    middle, h = schedule.at(t), 1e-5
    up, down = schedule.at(t + h), schedule.at(t - h)
    assert torch.allclose((up.alpha.log() - down.alpha.log()) / (2 * h), exact(middle.f), rtol=1e-7, atol=1e-9)
    grown = (up.sigma**2 - down.sigma**2) / (2 * h)  # d sigma^2 = 2 f sigma^2 + g^2
    assert torch.allclose(grown, 2 * middle.f * middle.sigma**2 + middle.g2, rtol=1e-7)


@pytest.mark.parametrize("k", [0.2, 1.0, 3.0])
def test_the_shifted_linear_path_is_sd3s_warp_of_time(k: float) -> None:
    warped = Linear().at(k * INSIDE / (1 + (k - 1) * INSIDE))
    shifted = Shifted(Linear(), k).at(INSIDE)
    assert torch.allclose(shifted.alpha, warped.alpha, rtol=1e-13) and torch.allclose(
        shifted.sigma, warped.sigma, rtol=1e-13
    )


@pytest.mark.parametrize(
    "base", [Linear(), Cosine(), VP(), VE(), Polynomial(), DDPM(), TwoMethods(), Slider()], ids=lambda s: s.name
)
def test_a_shift_multiplies_all_noise_and_knows_its_rates(base: Schedule) -> None:
    shifted = Shifted(base, 3.0)
    t = torch.tensor([0.1234, 0.4567, 0.8765], dtype=torch.float64)
    assert torch.allclose(exact(shifted.at(t).nsr), 3 * exact(base.at(t).nsr), rtol=1e-11)
    for name in ("alpha", "sigma"):
        rate = getattr(shifted.at(t), f"{name}_dot")
        assert torch.allclose(rate, slope(getattr(shifted, name), t), rtol=1e-6, atol=1e-8), name


def test_the_slider_goes_from_the_path_to_the_unit_circle() -> None:
    assert same(Slider(Linear(), 0.0).at(INSIDE), Linear().at(INSIDE))
    assert same(Slider(Linear(), 1.0).at(INSIDE), VPLinear().at(INSIDE))
    assert same(Slider(Cosine(), 0.3).at(INSIDE), Cosine().at(INSIDE))


def test_the_slider_moves_scales_and_keeps_noise_levels() -> None:
    half = Slider(Linear(), 0.5).at(INSIDE)
    assert torch.allclose(exact(half.logsnr), Linear().logsnr(INSIDE), atol=1e-12)
    ends = torch.stack([Linear().at(INSIDE).alpha, VPLinear().at(INSIDE).alpha])
    assert torch.allclose(half.alpha, ends.mean(0), rtol=1e-13)


def test_rescaling_keeps_noise_levels_and_follows_the_product_rule() -> None:
    schedule = Rescaled(Cosine(), lambda t: (2 * t).exp())
    level = schedule.at(INSIDE)
    assert torch.allclose(exact(level.logsnr), Cosine().logsnr(INSIDE), atol=1e-12)
    assert torch.allclose(level.sigma_dot, slope(schedule.sigma, INSIDE), rtol=1e-8)
    assert torch.allclose(exact(level.r), (2 * INSIDE).exp(), rtol=1e-13)


def test_a_log_snr_beyond_the_range_of_a_python_only_schedule_is_refused_likewise() -> None:
    schedule = Rescaled(VP(), torch.ones_like)
    with pytest.raises(InvalidArgument, match="log-SNR of rescale"):
        schedule.at_logsnr(-20.0)


def test_unknown_tables_of_betas_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="No table of betas is called 'scaled_linear'; did you mean 'scaled-linear'"):
        Schedule.of("ddpm:betas=scaled_linear")


@pytest.mark.parametrize("schedule", [TwoMethods(), Shifted(Linear(), 2.0), Slider(VP())], ids=lambda s: s.label)
def test_rates_do_not_depend_on_what_the_caller_does_without(schedule: Schedule) -> None:
    with torch.inference_mode():
        level = schedule.at(INSIDE * 1)
    assert torch.allclose(level.alpha_dot, slope(schedule.alpha, INSIDE), rtol=1e-7, atol=1e-7)
    assert torch.allclose(level.sigma_dot, slope(schedule.sigma, INSIDE), rtol=1e-7, atol=1e-7)


def test_a_path_of_an_sde_has_rates_after_a_run_without_derivatives() -> None:
    legendre.cache_clear()
    path = FromSDE(lambda t: -t, lambda t: 2 * t)
    with torch.inference_mode():
        path.at(0.5)
    scaled = Rescaled(path, lambda t: 1 + t)
    assert torch.allclose(scaled.at(INSIDE).alpha_dot, slope(scaled.alpha, INSIDE), rtol=1e-7, atol=1e-7)


DERIVED = [TwoMethods(), Shifted(TwoMethods(), 2.0), Slider(TwoMethods()), Rescaled(Slider(Linear()), lambda t: 1 + t)]


@pytest.mark.parametrize("schedule", [*DERIVED, VP(), Cosine()], ids=lambda s: s.label)
def test_rates_have_derivatives_in_time_themselves(schedule: Schedule) -> None:
    t = INSIDE[4:-4].clone().requires_grad_()
    level = schedule.at(t)
    for rate, name in ((level.alpha_dot, "alpha_dot"), (level.sigma_dot, "sigma_dot")):
        (found,) = torch.autograd.grad(rate.sum(), t, retain_graph=True)
        rates = partial(_rate, schedule, name)
        assert torch.allclose(found, slope(rates, t.detach()), rtol=1e-5, atol=1e-5), name


def _rate(schedule: Schedule, name: str, t: Tensor) -> Tensor:
    rate: Tensor = getattr(schedule.at(t), name)
    return rate
