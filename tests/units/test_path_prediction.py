"""Levels, rows, conversions: the closed forms of the field's tables, and where no conversion exists."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, SingularConversion
from obverse.path import (
    VE,
    VP,
    Cosine,
    Data,
    Edm,
    Estimate,
    Flow,
    Level,
    Linear,
    Noise,
    Polynomial,
    Prediction,
    Schedule,
    Score,
    Sqrt,
    V,
    Velocity,
    change,
    clean,
    coefficients,
    gain,
    join,
)

FACES: list[Prediction] = [Data(), Noise(), Flow(), V(), Velocity(), Score(), Edm(0.7)]
PATHS: list[Schedule] = [Linear(), Cosine(), VP(), VE(), Polynomial(3.0), Linear(1e-2)]
TIMES = torch.tensor([0.05, 0.3, 0.5, 0.8, 0.97], dtype=torch.float64)


def named(value: object) -> str:
    return getattr(value, "spec", str(value))


def draws(batch: int = 5) -> tuple[Tensor, Tensor]:
    x, eps = (noise.normal((batch, 3), seed=0, purpose=p, dtype=torch.float64) for p in ("x", "eps"))
    return x, eps


def told(face: Prediction, level: Level, x: Tensor, eps: Tensor, path: Schedule) -> Tensor:
    """What a face is in words, without its row: a target, a rate by finite difference, a score by autograd."""
    a, s = level.alpha[:, None], level.sigma[:, None]
    if isinstance(face, Velocity):
        up, down = path.at(level.t + 1e-6), path.at(level.t - 1e-6)
        higher, lower = (end.alpha[:, None] * x + end.sigma[:, None] * eps for end in (up, down))
        return torch.as_tensor(higher - lower) / 2e-6
    if isinstance(face, Score):
        x_t = (a * x + s * eps).requires_grad_()
        exponent = -(((x_t - a * x) / s) ** 2).sum() / 2
        (slope,) = torch.autograd.grad(exponent, x_t)
        return torch.as_tensor(slope)
    if isinstance(face, Edm):  # the network inside D(y; sigma) = c_skip y + c_out F, y = x_t / alpha (Karras et al.)
        nsr, sd = s / a, face.sigma_data
        c_skip, c_out = sd**2 / (nsr**2 + sd**2), nsr * sd / (nsr**2 + sd**2).sqrt()
        return torch.as_tensor((x - c_skip * (x + nsr * eps)) / c_out)
    return torch.as_tensor({Data: x, Noise: eps, Flow: eps - x, V: a * eps - s * x}[type(face)])


@pytest.mark.parametrize("path", PATHS, ids=named)
@pytest.mark.parametrize(("have", "want"), list(itertools.product(FACES, FACES)), ids=named)
def test_every_face_leads_to_every_other(have: Prediction, want: Prediction, path: Schedule) -> None:
    x, eps = draws()
    level = path.at(TIMES)
    x_t = level.alpha[:, None] * x + level.sigma[:, None] * eps
    got = change(told(have, level, x, eps, path), x_t, level, have, want)
    truth = told(want, level, x, eps, path)
    assert torch.allclose(got, truth, rtol=1e-6, atol=1e-6 * float(truth.abs().max()))


@pytest.mark.parametrize("path", PATHS, ids=named)
@pytest.mark.parametrize("want", FACES, ids=named)
@pytest.mark.parametrize("have", FACES, ids=named)
def test_the_gain_is_what_an_error_of_one_becomes(have: Prediction, want: Prediction, path: Schedule) -> None:
    x, eps = draws()
    level = path.at(TIMES)
    x_t = level.alpha[:, None] * x + level.sigma[:, None] * eps
    output = told(have, level, x, eps, path)
    moved = change(output + 1, x_t, level, have, want) - change(output, x_t, level, have, want)
    grown = torch.as_tensor(gain(have, want, level)).double().expand(5)
    assert torch.allclose(moved.abs(), grown[:, None].expand(5, 3), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("want", "factor"),
    [  # Gao et al. 2024, table "MSE on the outputs, in terms of log-SNR": factors of the noise's squared error
        (Data(), lambda lam, _: (-lam).exp()),
        (V(), lambda lam, a: a**2 * ((-lam).exp() + 1) ** 2),
        (Flow(), lambda lam, _: ((-lam / 2).exp() + 1) ** 2),
    ],
    ids=["data", "v", "flow"],
)
@pytest.mark.parametrize("path", PATHS, ids=named)
def test_squared_gains_are_the_published_factors(path: Schedule, want: Prediction, factor: object) -> None:
    assert callable(factor)
    level = path.at(TIMES)
    squared = torch.as_tensor(gain(Noise(), want, level)) ** 2
    assert torch.allclose(squared, factor(path.logsnr(TIMES), level.alpha), rtol=1e-11)


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_edms_output_has_the_unit_variance_it_was_made_for(path: Schedule) -> None:
    """Data of standard deviation sigma_data makes F of variance 1, uncorrelated with the state (Karras et al. 2022)."""
    level, sd = path.at(TIMES), 0.7
    a, b = Edm(sd).row(level)
    assert torch.allclose(a**2 * sd**2 + b**2, torch.ones(5).double())
    assert float((a * sd**2 * level.alpha + b * level.sigma).abs().max()) < 1e-12


SINGULAR = {
    (0.0, "data"): ["noise", "flow", "v", "score", "edm", "velocity"],
    (1.0, "noise"): ["data", "flow", "v", "edm", "velocity"],
    (1.0, "score"): ["data", "flow", "v", "edm", "velocity"],
}


@pytest.mark.parametrize(("t", "have", "want"), [(t, h, w) for (t, h), every in SINGULAR.items() for w in every])
@pytest.mark.parametrize("path", [Linear(), Cosine()], ids=named)
@pytest.mark.parametrize("plain", [False, True])
def test_a_conversion_that_does_not_exist_is_named(t: float, have: str, want: str, path: Schedule, plain: bool) -> None:
    level = path.at(torch.tensor([t]))
    level = level.floats()[0] if plain else level
    with pytest.raises(SingularConversion, match=rf"{have} does not determine {want} at t = {t:g} "):
        coefficients(Prediction.of(have), Prediction.of(want), level)


@pytest.mark.parametrize("have", ["flow", "v", "velocity", "edm"])
@pytest.mark.parametrize("want", ["data", "noise", "flow", "v"])
@pytest.mark.parametrize("t", [0.0, 1.0])
@pytest.mark.parametrize("path", [Linear(), Cosine(), Polynomial(1.0)], ids=named)
def test_balanced_faces_convert_at_both_ends(have: str, want: str, t: float, path: Schedule) -> None:
    x, eps = draws(1)
    level = path.at(torch.tensor([t]))
    x_t = level.alpha[:, None] * x + level.sigma[:, None] * eps
    a, b = Prediction.of(have).row(level)
    got = change(
        torch.as_tensor(a).reshape(-1, 1) * x + torch.as_tensor(b).reshape(-1, 1) * eps,
        x_t,
        level,
        Prediction.of(have),
        Prediction.of(want),
    )
    assert torch.allclose(got, told(Prediction.of(want), level, x, eps, path), atol=1e-12)


@pytest.mark.parametrize("want", ["noise", "flow", "v"])
def test_data_is_enough_at_the_source(want: str) -> None:
    x, eps = draws(1)
    level = Linear().at(torch.tensor([1.0]))
    truth = told(Prediction.of(want), level, x, eps, Linear())
    assert torch.equal(change(x, eps, level, Data(), Prediction.of(want)), truth)


def test_the_velocity_of_a_path_with_an_infinite_rate_is_refused_there() -> None:
    with pytest.raises(SingularConversion, match="v does not determine velocity at t = 0 "):
        coefficients(V(), Velocity(), Sqrt().at(0.0))


def test_an_error_that_grows_without_bound_is_refused() -> None:
    with pytest.raises(SingularConversion, match="An error in noise has no finite size in data at t = 1 "):
        gain(Noise(), Data(), Linear().at(1.0))
    assert float(gain(Data(), Noise(), Linear().at(1.0))) == 0.0


@pytest.mark.parametrize("face", ["v", "score", "edm"])
def test_faces_without_a_clock_say_so(face: str) -> None:
    with pytest.raises(InvalidArgument, match=f"'{face}' has no clock of its own; Euler and Heun step in data, noise"):
        Prediction.of(face).clock(Linear().at(0.5))


@pytest.mark.parametrize("face", [Data(), Noise(), Flow(), Velocity()], ids=named)
@pytest.mark.parametrize("path", PATHS, ids=named)
def test_a_prediction_is_the_slope_in_its_own_clock(path: Schedule, face: Prediction) -> None:
    x, eps = draws(1)
    here, there = (path.at(torch.tensor([t], dtype=torch.float64)) for t in (0.4, 0.4 + 1e-7))
    (c, m), (c_up, m_up) = face.clock(here), face.clock(there)
    states = [level.alpha * x + level.sigma * eps for level in (here, there)]
    slope = (states[1] / c_up - states[0] / c) / (m_up / c_up - m / c)
    assert torch.allclose(slope, told(face, here, x, eps, path), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("face", FACES, ids=named)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_one_level_for_all_is_the_same_level_for_each(face: Prediction, dtype: torch.dtype) -> None:
    x, eps = (a.to(dtype) for a in draws(4))
    one, each = Cosine().at(0.3), Cosine().at(torch.full((4,), 0.3, dtype=torch.float64))
    got = [change(x, eps, level, face, Flow()) for level in (one, each)]
    assert torch.equal(*got) and got[0].dtype == dtype


def test_estimates_read_one_belief_in_every_face() -> None:
    x, eps = draws()
    path = Cosine()
    level = path.at(TIMES)
    x_t = level.alpha[:, None] * x + level.sigma[:, None] * eps
    belief = Estimate(x_t, level, eps - x, Flow())
    for name in ("data", "noise", "flow", "v", "velocity", "score"):
        truth = told(Prediction.of(name), level, x, eps, path)
        assert torch.allclose(getattr(belief, name), truth, rtol=1e-6, atol=1e-6), name


def test_levels_are_cut_and_joined_like_lists() -> None:
    grid = join(Linear().at(torch.tensor([1.0, 0.5, 0.25])), clean())
    assert len(grid) == 4 and grid.t.tolist() == [1.0, 0.5, 0.25, 0.0]
    assert grid[1:3].t.tolist() == [0.5, 0.25] and float(grid[-2].sigma) == 0.25
    assert grid[torch.tensor([2, 0])].t.tolist() == [0.25, 1.0]
    assert [float(level.alpha) for level in grid] == [0.0, 0.5, 0.75, 1.0]
    assert [level.alpha for level in grid.floats()] == [0.0, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("path", [*PATHS, Sqrt()], ids=named)
@pytest.mark.parametrize("t", [0.0, 0.4, 1.0])
def test_plain_floats_carry_the_same_numbers(path: Schedule, t: float) -> None:
    tensors = path.at(torch.tensor([t]))
    (plain,) = tensors.floats()
    for name in ("r", "theta", "logsnr", "nsr", "f", "g2", "logsnr_dot"):
        here, there = float(getattr(tensors, name)), float(getattr(plain, name))
        assert here == pytest.approx(there, rel=1e-14, nan_ok=True), name


def test_the_ends_of_the_circle_have_infinite_log_snr() -> None:
    data, source = Linear().at(torch.tensor([0.0, 1.0])).floats()
    assert (data.theta, data.logsnr, data.nsr) == (0.0, math.inf, 0.0)
    assert (source.theta, source.logsnr, source.nsr) == (math.pi / 2, -math.inf, math.inf)


def test_a_level_is_told_in_one_line() -> None:
    assert str(Linear().at(0.25)) == "t = 0.25 (alpha 0.75, sigma 0.25)"
    assert str(Linear().at(torch.tensor([1.0, 0.0]))) == "t = 1 ... 0 (alpha 0 ... 1, sigma 1 ... 0)"


def test_edm_needs_data_that_varies() -> None:
    with pytest.raises(InvalidArgument, match="sigma_data > 0, got 0"):
        Prediction.of("edm:sigma_data=0")
