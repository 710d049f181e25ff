"""Strengths: numbers, windows, ramps and functions of log-SNR, against quadrature and published formulas."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import quad

from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.model import Gaussian
from obverse.path import EDM, Cosine, Level, Linear
from obverse.sampler import SDE, Constant, FromFunction, NoiseScale, Ramp, Solver, Strength, Uniform, Window, sample

SHAPES = [Constant(0.6), Window(0.8, 0.3, 3.0), Ramp(1.2, 0.1, 4.0, 0.2), Ramp(0.0, 1.0), NoiseScale()]


def named(value: object) -> str:
    return getattr(value, "label", str(value))


def between(low: float, high: float) -> tuple[Level, Level]:
    t, s = Cosine().at_logsnr(torch.tensor([low, high], dtype=torch.float64)).floats()
    return t, s


@pytest.mark.parametrize("strength", SHAPES, ids=named)
@pytest.mark.parametrize(("low", "high"), [(-6.0, 5.0), (-1.0, -0.5), (0.0, 8.0), (-2.5, 2.5), (3.0, 4.0)])
def test_what_is_kept_is_the_exponential_of_the_integral(strength: Strength, low: float, high: float) -> None:
    spent, _ = quad(
        lambda half: float(strength.eta(torch.tensor(2 * half, dtype=torch.float64))) ** 2,
        low / 2,
        high / 2,
        points=[p for p in (-math.log(x) for x in (4.0, 3.0, 0.3, 0.2, 10.0, 0.1)) if low / 2 < p < high / 2],
        epsabs=1e-12,
        epsrel=1e-12,
    )
    kept, fresh = strength.split(*between(low, high))
    assert kept == pytest.approx(math.exp(-spent), abs=1e-7) and fresh == pytest.approx(math.sqrt(1 - kept**2))
    assert strength.over(*between(low, high)) == pytest.approx(math.sqrt(spent / (high - low) * 2), abs=1e-7)


@pytest.mark.parametrize("strength", SHAPES, ids=named)
def test_a_function_does_what_the_formula_does(strength: Strength) -> None:
    if not isinstance(strength, Window):  # a jump costs quadrature its digits
        same = FromFunction(strength.eta)
        for ends in ((-6.0, 5.0), (-1.0, 0.5)):
            assert same.split(*between(*ends)) == pytest.approx(strength.split(*between(*ends)), abs=1e-4)


def test_er_sde_carries_the_state_by_its_noise_scale() -> None:
    """Cui et al. (2023): x_s = phi(nsr_s) / phi(nsr_t) x_t + ..., x / alpha being the state."""
    t, s = EDM().at_logsnr(torch.tensor([-3.0, 1.0], dtype=torch.float64)).floats()
    phi_t, phi_s = (nsr * (math.exp(nsr**0.3) + 10) for nsr in (t.nsr, s.nsr))
    kept, _ = NoiseScale().split(t, s)
    assert kept * s.nsr / t.nsr == pytest.approx(phi_s / phi_t, rel=1e-12)


def test_a_window_leaves_the_steps_outside_alone() -> None:
    table = SDE("window:value=1,nsr_min=0.5,nsr_max=2").tableau("cosine", "uniform:steps=20")
    drawn = [span for span in table.spans if span]
    assert 0 < len(drawn) < 20
    assert all(math.tan(first) > 0.5 and math.tan(last) < 2 for first, last in (sorted(s)[::-1] for s in drawn))


def test_ends_are_limits() -> None:
    noise, middle, data = Linear().at(torch.tensor([1.0, 0.5, 0.0])).floats()
    assert Constant(0.3).split(noise, middle) == (0.0, 1.0) and Constant(0.0).split(noise, data) == (1.0, 0.0)
    assert NoiseScale().split(noise, middle) == (0.0, 1.0)
    kept, _ = NoiseScale().split(middle, data)
    assert kept == pytest.approx(11 / (math.e + 10), rel=1e-12)  # a finite amount on an infinite step
    assert Ramp(1.0, 0.0).split(noise, middle)[0] == 0 and 0 < Ramp(1.0, 0.0).split(middle, data)[0] < 1
    assert Window().split(noise, data)[0] == pytest.approx(50.0**-1 * 0.05, rel=1e-12)


def test_a_strength_is_written_as_a_number_a_spec_or_a_function() -> None:
    assert SDE(0.5) == SDE(Constant(0.5)) == Solver.of("sde:eta=0.5") and SDE(0.5).spec == "sde:eta=0.5"
    assert Solver.of("sde:eta=(window:nsr_max=9)") == SDE(Window(nsr_max=9.0))
    assert SDE(0.5).tableau("vp", Uniform(5)) == SDE(FromFunction(lambda logsnr: 0.5 + 0 * logsnr)).tableau(
        "vp", Uniform(5)
    )
    with pytest.raises(UnknownName):
        Strength.of("much")
    for bad in ("-1", "nan", "inf"):
        with pytest.raises(InvalidArgument, match="eta >= 0"):
            Strength.of(bad)
    with pytest.raises(InvalidArgument, match="strength is >= 0"):
        SDE(FromFunction(lambda logsnr: -1 + 0 * logsnr)).tableau("vp", Uniform(3))


def test_sampling_takes_a_number_for_any_strength() -> None:
    data = Gaussian(torch.zeros(2), 1.0, "cosine")
    one = sample(data, (3, 2), solver="sde:eta=window", eta=0.5, steps=4)
    assert torch.equal(one, sample(data, (3, 2), solver="sde:eta=0.5", steps=4))
