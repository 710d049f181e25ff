"""Adaptive runs: what they reach, what they cost, and that nobody's step is anybody else's."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from adapting import FLOAT64, PATHS, TWO, gaussian, noise_at, rms
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from obverse.ground.errors import InvalidArgument, NonFinite, SingularConversion
from obverse.model import Empirical, Network
from obverse.path import EDM, VE, VP, Linear, Schedule
from obverse.sampler import Adaptive, AdaptiveRun, BogackiShampine, adaptive, sample


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("path", PATHS, ids=lambda s: s.spec)
def test_the_end_is_as_exact_as_was_asked(path: Schedule, tolerance: float) -> None:
    model, start = gaussian(path), noise_at(path, 32)
    run = adaptive(model, (32, 2), start=start, rtol=tolerance, atol=0.0, **FLOAT64)
    truth = model.flow(start, path.at(1.0), path.end)
    assert float(rms(run.x - truth).max()) < 3 * tolerance and bool(run.finished.all())
    if float(path.at(0.0).sigma) == 0:  # else the last jump, from the last level there is, is judged with caution
        assert float(run.error.max()) < 10 * tolerance


@pytest.mark.parametrize("pair", ["dopri5", "bs32"])
def test_a_mixture_ends_where_another_integrator_does(pair: str) -> None:
    start = noise_at(TWO.schedule, 16)

    def slope(t: float, x: np.ndarray) -> Any:
        return TWO(torch.as_tensor(x).reshape(-1, 2), float(t)).velocity.flatten().numpy()

    truth = solve_ivp(slope, (1.0, 1e-9), start.flatten().numpy(), "DOP853", rtol=1e-11, atol=1e-11).y[:, -1]
    for tolerance in (1e-2, 1e-3, 1e-4, 1e-5):
        x = adaptive(TWO, (16, 2), start=start, rtol=tolerance, atol=0.0, pair=pair, **FLOAT64).x
        assert float(rms(x - torch.as_tensor(truth).reshape(16, 2)).median()) < 3 * tolerance


def test_less_tolerance_costs_more_calls_as_the_order_says() -> None:
    for pair, order in (("dopri5", 5), ("bs32", 3)):
        runs = [adaptive(TWO, (32, 2), rtol=r, atol=0.0, pair=pair, **FLOAT64) for r in (1e-4, 1e-7)]
        few, many = (run.calls.double().mean() for run in runs)
        assert abs(float((many / few).log()) / math.log(1e3) - 1 / order) < 0.07


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("path", PATHS, ids=lambda s: s.spec)
def test_there_and_back_from_anywhere_to_anywhere(path: Schedule, tolerance: float) -> None:
    model = gaussian(path)
    x = model.sample(16, seed=1)
    for clean, noisy in ((path.end, path.at(1.0)), (path.end, path.at(0.4)), (path.at(0.2), path.at(0.7))):
        here = model.flow(x, path.end, clean)
        how = {"rtol": tolerance, "atol": 0.0, **FLOAT64}
        up = adaptive(model, (16, 2), start=here, start_level=clean, stop_level=noisy, **how)
        wrong = rms(up.x - model.flow(here, clean, noisy)) / float(noisy.r)
        assert float(wrong.median()) < 3 * tolerance and float(wrong.max()) < 10 * tolerance
        down = adaptive(model, (16, 2), start=up.x, start_level=noisy, stop_level=clean, **how)
        assert float(rms(down.x - here).max()) < 20 * tolerance


@pytest.mark.parametrize(
    "how",
    [{"rtol": 1e-3}, {"rtol": 3e-2, "eta": 1.0}, {"rtol": 1e-2, "pair": "bs32", "cond": torch.arange(12.0)}],
    ids=str,
)
def test_no_sample_knows_its_neighbours(how: dict[str, Any]) -> None:
    cond = how.get("cond")

    def run(who: list[int], **more: Any) -> AdaptiveRun:
        mine = how | more | ({} if cond is None else {"cond": cond[who]})
        return adaptive(TWO, (len(who), 2), samples=who, seed=3, **FLOAT64, **mine)

    whole = run(list(range(12)))
    assert len(set(whole.calls.tolist())) > 1
    for who in ([7], [3, 2, 1], [11, 0, 5, 5]):
        part = run(who)
        assert float((part.x - whole.x[who]).abs().max()) < 1e-12
        assert torch.equal(part.calls, whole.calls[who]) and torch.equal(part.steps, whole.steps[who])
        assert torch.allclose(part.error, whole.error[who], rtol=1e-9)


@pytest.mark.parametrize(("eta", "dtype"), [(0.0, torch.float32), (0.0, torch.float64), (1.0, torch.float32)], ids=str)
def test_all_bits_of_a_sample_are_its_own_at_a_fixed_microbatch(eta: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 3)).to(dtype)

    def net(x: Tensor, t: Tensor, _: object) -> Tensor:
        out: Tensor = mlp(torch.cat([x, t[:, None].to(x)], 1)) - x
        return out

    def run(who: list[int]) -> AdaptiveRun:
        model = Network(net, VP())
        return adaptive(model, (len(who), 3), samples=who, rtol=5e-2, eta=eta, microbatch=16, dtype=dtype)

    whole = run(list(range(21)))
    for who in ([17], [5, 4, 20], list(range(20, -1, -2))):
        assert torch.equal(run(who).x, whole.x[who])


def test_a_condition_follows_its_sample() -> None:
    def net(x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
        assert len(cond["to"]) == len(x) == len(t)
        return cond["to"].expand_as(x) + 0 * x

    goals = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    run = adaptive(Network(net, "cosine", predicts="data"), (9, 2), cond={"to": goals}, **FLOAT64)
    assert torch.allclose(run.x, goals.expand(9, 2), atol=1e-12)


def test_who_has_arrived_is_not_called_again() -> None:
    rows: list[int] = []

    def net(x: Tensor, t: Tensor, cond: Tensor) -> Tensor:  # noqa: ARG001
        rows.append(len(x))
        return torch.tanh(cond * x)

    model = Network(net, "cosine", predicts="data")
    run = adaptive(model, (6, 2), cond=torch.tensor([[0.0], [0.0], [1.0], [2.0], [3.0], [4.0]]), rtol=1e-4)
    assert sum(rows) == run.evaluations == int(run.calls.sum()) and len(rows) == run.rounds
    assert run.rounds == int(run.calls.max()) and rows[-1] < 6
    assert int(run.calls[0]) < int(run.calls[5])


@pytest.mark.parametrize(
    ("path", "eta"), [(Linear(), 0.0), (EDM(), 0.0), (VE(), 0.0), (VP(), 0.0), (Linear(), 1.0), (EDM(), 1.0)], ids=str
)
def test_nothing_is_called_without_noise(path: Schedule, eta: float) -> None:
    seen: list[float] = []

    def net(x: Tensor, t: Tensor) -> Tensor:
        seen.extend(t.tolist())
        return 0.3 * x / (1 + x.square())

    model = Network(net, path, predicts="data", time="nsr", cond="none")
    run = adaptive(model, (5, 2), rtol=3e-2, eta=eta)
    adaptive(model, (5, 2), start=run.x, start_level=path.end, stop_level=0.9, rtol=1e-2)
    least = float(path.at(0.0).nsr)
    assert bool(run.x.isfinite().all()) and min(seen) > 0 and min(seen) >= least * (1 - 1e-6)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("budget", [1, 2, 7, 8, 20])
def test_a_budget_is_kept_and_the_best_so_far_comes_back(budget: int, eta: float) -> None:
    run = adaptive(gaussian(), (8, 2), rtol=1e-8, atol=0.0, max_calls=budget, eta=eta, **FLOAT64)
    assert int(run.calls.max()) <= budget and not bool(run.finished.any())
    assert bool(run.x.isfinite().all()) and bool((run.error > 1e-8).all())
    estimate = gaussian()(run.x, run.level.__class__(*(torch.zeros(8, dtype=torch.float64) for _ in range(5))))
    assert estimate.x_t.shape == (8, 2) and len(run.level) == 8 and bool((run.level.theta > 0).all())


def test_one_call_is_the_data_estimate() -> None:
    start = noise_at(Linear(), 4)
    run = adaptive(TWO, (4, 2), start=start, max_calls=1, **FLOAT64)
    assert torch.allclose(run.x, TWO(start, 1.0).data, atol=1e-12) and bool(run.error.isinf().all())


def test_a_larger_budget_is_nearer_the_end() -> None:
    model, start = gaussian(), noise_at(Linear(), 32)
    truth = model.flow(start, Linear().at(1.0), Linear().end)
    errors, told = [], []
    for budget in (13, 25, 49, 97):
        run = adaptive(model, (32, 2), start=start, rtol=1e-7, atol=0.0, max_calls=budget, **FLOAT64)
        errors.append(float(rms(run.x - truth).median()))
        told.append(float(run.error.median()))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-2 * errors[0]
    assert all(0.1 < guess / error < 100 for guess, error in zip(told, errors, strict=True))


def test_separate_points_are_reached() -> None:
    points = torch.tensor([[-1.0, 0.0], [1.0, 0.5], [0.0, 2.0]], dtype=torch.float64)
    run = adaptive(Empirical(points, "linear"), (64, 2), rtol=1e-3, **FLOAT64)
    assert float(torch.cdist(run.x, points).amin(1).max()) < 3e-3
    assert len(set(torch.cdist(run.x, points).argmin(1).tolist())) == 3


@pytest.mark.parametrize("shape", [(3, 1), (3, 2, 4), (2, 3, 4, 5)])
def test_data_of_any_shape(shape: tuple[int, ...]) -> None:
    model = Network(lambda x, *_: 0.5 * x.sin(), "cosine", predicts="data")
    run = adaptive(model, shape, rtol=1e-2)
    assert run.x.shape == shape and run.x.dtype == torch.float32 and run.error.shape == shape[:1]
    assert torch.allclose(run.x, adaptive(model, shape, rtol=1e-2, **FLOAT64).x.float(), atol=1e-3)


def test_half_precision_networks_stop_where_their_noise_is() -> None:
    torch.manual_seed(0)
    net = nn.Linear(2, 2).to(torch.bfloat16)
    model = Network(lambda x, *_: net(x.bfloat16()).to(x), "linear", cond="none")
    run = adaptive(model, (8, 2), rtol=1e-2, max_calls=200)
    assert bool(run.x.isfinite().all()) and int(run.calls.max()) <= 200


def test_a_network_that_jumps_ends_without_an_exception() -> None:
    model = Network(lambda x, t: torch.where(t[:, None] > 0.5, x, -30 * x), "linear", cond="none")
    run = adaptive(model, (4, 2), rtol=1e-9, atol=0.0, max_calls=300, **FLOAT64)
    assert bool(run.x.isfinite().all()) and not bool((run.finished & run.stalled).any())


def test_what_is_not_finite_is_named() -> None:
    def net(x: Tensor, t: Tensor, _: object) -> Tensor:
        return torch.where((t < 0.5)[:, None] & (torch.arange(len(x))[:, None] >= 1), math.nan, -x)

    with pytest.raises(NonFinite, match=r"Round \d+ of calls.*t = 0\.\d+.*sample 12"):
        adaptive(Network(net, "linear"), (3, 2), samples=[11, 12, 13])


@pytest.mark.parametrize(
    "wrong",
    [
        {"rtol": 0.0, "atol": 0.0},
        {"rtol": -1e-3},
        {"max_calls": 0},
        {"eta": -1.0},
        {"eta": math.nan},
        {"microbatch": 0},
        {"samples": [1]},
        {"cond": torch.zeros(3)},
        {"start": torch.zeros(3, 2)},
        {"start": [[0.0, 0.0]] * 4},
        {"start_level": 0.5, "stop_level": 0.5},
        {"start_level": 0.2, "stop_level": 0.5, "eta": 1.0},
        {"pair": "rk99"},
        {"dtype": torch.int64},
    ],
    ids=str,
)
def test_arguments_outside_their_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        adaptive(TWO, (4, 2), **wrong)


@pytest.mark.parametrize("shape", [4, (4,), (0, 2), (4.0, 2), ("4", "2")], ids=str)
def test_a_shape_that_is_none_is_refused(shape: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"shape is \(batch \*data\), every size >= 1, got"):
        adaptive(TWO, shape)


def test_a_prediction_that_is_nothing_at_pure_noise_is_refused_by_name() -> None:
    with pytest.raises(SingularConversion, match="noise"):
        adaptive(Network(lambda x, *_: x, "linear", predicts="noise"), (2, 2))


def test_a_spec_says_it_all() -> None:
    method = Adaptive.of("adaptive:rtol=1e-2,pair=bs32,eta=0.5")
    assert method == Adaptive(rtol=1e-2, pair=BogackiShampine(), eta=0.5) == Adaptive.of(method.spec)
    start = noise_at(Linear(), 4)
    run = replace(method, eta=0.0).run(TWO, start)
    assert torch.equal(run.x, adaptive(TWO, (4, 2), start=start, rtol=1e-2, pair="bs32", **FLOAT64).x)


@pytest.mark.parametrize("path", [VP(), EDM()], ids=lambda s: s.spec)
def test_a_seed_has_one_start_however_it_is_asked_for(path: Schedule) -> None:
    run = adaptive(gaussian(path), (8, 2), seed=5)
    assert torch.equal(sample(gaussian(path), (8, 2), solver="adaptive", seed=5), run.x)
