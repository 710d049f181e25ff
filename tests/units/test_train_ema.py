"""The averaged weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from obverse.ground.errors import InvalidArgument
from obverse.train import EMA
from obverse.train.ema import Average, PowerEMA, gamma_of


def constant(value: float, dtype: torch.dtype = torch.float32) -> nn.Linear:
    net = nn.Linear(2, 1, dtype=dtype)
    for parameter in net.parameters():
        nn.init.constant_(parameter, value)
    return net


def test_a_jump_is_half_forgotten_after_a_half_life() -> None:
    ema = EMA(constant(0.0), halflife=50)
    ema.load(ema.weights, count=10**6)
    for _ in range(50):
        ema.update(constant(1.0))
    assert float(ema.weights["bias"]) == pytest.approx(0.5, abs=1e-5)


def test_the_first_update_takes_the_weights_over() -> None:
    ema = EMA(constant(5.0), halflife=1000)
    ema.update(constant(1.0))
    assert float(ema.weights["bias"]) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("steps", [500, 2000])
def test_while_it_ramps_up_the_average_spans_a_fixed_fraction_of_training(steps: int) -> None:
    net = constant(0.0, torch.float64)
    ema = EMA(net, halflife=math.inf, rampup=0.05)
    for step in range(steps):
        nn.init.constant_(net.bias, step / steps)
        ema.update(net)
    # of a ramp, the power-law average of exponent c = log 2 / 0.05 - 1 is (c + 1)/(c + 2)
    c = math.log(2) / 0.05 - 1
    assert float(ema.weights["bias"]) == pytest.approx((c + 1) / (c + 2), abs=2 / steps)


def test_constant_weights_are_their_own_average() -> None:
    net = constant(0.3)
    ema = EMA(net, halflife=10)
    for _ in range(100):
        ema.update(net)
    assert float(ema.weights["bias"]) == pytest.approx(0.3, abs=1e-7)


def test_half_life_zero_follows_the_weights() -> None:
    ema, net = EMA(constant(0.0), halflife=0), constant(0.7)
    ema.update(net)
    assert torch.equal(ema.weights["weight"], net.state_dict()["weight"])


@pytest.mark.parametrize("lost", [False, True])
def test_a_resumed_average_is_the_average_only_with_its_count(lost: bool) -> None:
    def run(ema: EMA, start: int) -> EMA:
        for step in range(start, 100):
            ema.update(constant(math.sin(step)))
        return ema

    whole, half = run(EMA(constant(0.0), 30), 0), EMA(constant(0.0), 30)
    for step in range(60):
        half.update(constant(math.sin(step)))
    resumed = EMA(constant(9.0), 30)
    resumed.load(half.weights, count=0 if lost else half.count)
    assert torch.equal(run(resumed, 60).weights["bias"], whole.weights["bias"]) is not lost


def test_applied_puts_the_weights_back_even_after_an_error() -> None:
    net, ema = constant(1.0), EMA(constant(2.0), 10)
    inside = []

    def sample() -> None:
        with ema.applied(net):
            inside.append(net.bias.item())
            raise RuntimeError("sampling failed")

    with pytest.raises(RuntimeError, match="sampling failed"):
        sample()
    assert (inside, net.bias.item()) == ([2.0], 1.0)


def test_buffers_are_copied() -> None:
    net = nn.BatchNorm1d(2)
    ema = EMA(net, 10)
    net(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)))
    ema.update(net)
    assert torch.equal(ema.weights["running_mean"], net.state_dict()["running_mean"])
    assert ema.weights["num_batches_tracked"] == 1


def test_complex_weights_are_averaged_as_real_ones_are() -> None:
    net = nn.Module()
    net.both = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    net.real = nn.Parameter(torch.zeros(2))
    ema = EMA(net, 10)
    for _ in range(50):
        with torch.no_grad():
            net.both += 1 + 2j
            net.real += 1
        ema.update(net)
    assert torch.allclose(ema.weights["both"], ema.weights["real"] * (1 + 2j))
    assert ema.copied == []


@pytest.mark.parametrize(
    ("own", "averaged"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_the_average_is_float32_at_least(own: torch.dtype, averaged: torch.dtype) -> None:
    net = constant(1.0, own)
    ema = EMA(net, 10)
    ema.update(net)
    assert ema.weights["weight"].dtype == averaged
    with ema.applied(net):
        assert net.weight.dtype == own


def test_the_average_of_another_module_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"'weight' is \(1, 2\) here and \(1, 3\) there"):
        EMA(nn.Linear(2, 1), 10).load(nn.Linear(3, 1).state_dict(), count=1)


def averaged(average: Average, path: Callable[[int], float], steps: int) -> float:
    net = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    for step in range(1, steps + 1):
        nn.init.constant_(net.weight, path(step))
        average.update(net)
    return float(average.weights["weight"])


def power(sigma_rel: float) -> PowerEMA:
    return PowerEMA(nn.Linear(1, 1, bias=False, dtype=torch.float64), sigma_rel)


@pytest.mark.parametrize("sigma_rel", [0.05, 0.1, 0.25])
def test_the_power_profile_has_the_deviation_it_is_named_after(sigma_rel: float) -> None:
    mean, square = (averaged(power(sigma_rel), lambda k, p=p: float(k) ** p, 3000) for p in (1, 2))  # type: ignore[misc]
    assert math.sqrt(square - mean**2) / 3000 == pytest.approx(sigma_rel, rel=2e-3)


def test_the_power_average_of_a_ramp_is_a_polynomial_in_the_number_of_steps() -> None:
    # gamma = 1: step k weighs (k² - (k - 1)²) / T², and the sums of k and of k² are polynomials
    found, steps = power(math.sqrt(2) / 3 / 2), 50
    assert found.gamma == pytest.approx(1, abs=1e-12)
    assert averaged(found, float, steps) == pytest.approx((steps + 1) * (4 * steps - 1) / (6 * steps), rel=1e-12)


def test_the_power_profile_starts_with_the_first_weights() -> None:
    assert averaged(power(0.1), lambda _: 7.0, 1) == 7.0


@pytest.mark.parametrize("sigma_rel", [0.0, 0.2887, -0.1, math.nan])
def test_lengths_beyond_those_of_positive_exponents_are_refused(sigma_rel: float) -> None:
    with pytest.raises(InvalidArgument, match="sigma_rel lies in"):
        gamma_of(sigma_rel)


def test_a_buffer_that_is_put_anew_is_copied_too() -> None:
    net = nn.BatchNorm1d(2)
    ema = PowerEMA(net, 0.1)
    for value in (1.0, 2.0):
        net.running_mean = torch.full((2,), value)
        ema.update(net)
        assert torch.equal(ema.weights["running_mean"], net.running_mean)
