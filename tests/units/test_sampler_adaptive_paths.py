"""The parts of adaptive runs: pairs, the path between steps, the Brownian tree and the SDE along it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from adapting import FLOAT64, TWO, gaussian, noise_at, rms
from scipy.stats import kstest

from obverse.ground.errors import InvalidArgument
from obverse.model import Network
from obverse.path import EDM, Cosine, Linear, Schedule
from obverse.sampler import BogackiShampine, DormandPrince, Pair, Round, adaptive
from obverse.sampler.tolerance.tree import BrownianTree


@pytest.mark.parametrize("pair", [DormandPrince(), BogackiShampine()], ids=lambda p: p.name)
def test_a_pair_fulfils_its_order_conditions(pair: Pair) -> None:
    count = len(pair.stages) + 1
    a = np.zeros((count, count))
    for row, numbers in enumerate(pair.stages, start=1):
        a[row, : len(numbers)] = numbers
    c, b = a.sum(1), a[-1]
    other = b - np.array(pair.difference)

    def met(weights: Any, order: int) -> bool:
        quadrature = [weights @ c ** (k - 1) - 1 / k for k in range(1, order + 1)]
        trees = [weights @ a @ c ** (k - 2) - 1 / (k * (k - 1)) for k in range(3, order + 1)]
        return bool(np.abs(quadrature + trees).max() < 1e-12)

    assert met(b, pair.order) and met(other, pair.order - 1) and not met(other, pair.order)
    ends = np.array(pair.curve).sum(0)[1:]
    assert np.allclose(ends, b[1:], atol=1e-12)


def test_constant_estimates_are_exact_in_one_step_of_any_length() -> None:
    x, eps = torch.full((3, 2), 0.7, dtype=torch.float64), torch.full((3, 2), -1.3, dtype=torch.float64)
    model = Network(lambda x_t, *_: torch.full_like(x_t, -1.3 - 0.7), "linear", predicts="flow")
    for here, there in ((0.9, 0.1), (0.1, 0.9)):
        run = adaptive(
            model, (3, 2), start=(1 - here) * x + here * eps, start_level=here, stop_level=there, rtol=0.9, **FLOAT64
        )
        assert float((run.x - ((1 - there) * x + there * eps)).abs().max()) < 1e-13
        assert float(run.error.max()) < 1e-13


@pytest.mark.parametrize("pair", ["dopri5", "bs32"])
def test_the_path_between_steps_is_of_order_three_or_more(pair: str) -> None:
    model, start = gaussian("cosine"), noise_at(Cosine(), 16)
    log_calls, log_error = [], []
    how = {"pair": pair, "dense": True, "max_calls": 10000, **FLOAT64}
    for tolerance in (1e-3, 1e-5, 1e-7):
        run = adaptive(model, (16, 2), start=start, rtol=tolerance, atol=0.0, **how)
        wrong = [run.at(t) - model.flow(start, Cosine().at(1.0), Cosine().at(t)) for t in np.linspace(0.05, 0.95, 19)]
        log_calls.append(math.log(float(run.calls.double().mean())))
        log_error.append(math.log(float(torch.stack(wrong).abs().max())))
    assert np.polyfit(log_calls, log_error, 1)[0] < -2.8
    assert log_error[-1] < math.log(1e-4)


def test_the_path_passes_through_start_end_and_every_step() -> None:
    for how in ({}, {"eta": 0.7}, {"pair": "bs32"}):
        seen: list[Round] = []
        run = adaptive(TWO, (4, 2), rtol=3e-2, dense=True, watch=seen.append, seed=1, **FLOAT64, **how)
        assert torch.allclose(run.at(1.0), adaptive(TWO, (4, 2), seed=1, max_calls=1, dense=True, **FLOAT64).at(1.0))
        assert torch.allclose(run.at(TWO.schedule.end), run.x, atol=1e-9)
        for step in seen:
            for place, row in enumerate(step.who.tolist()):
                assert torch.allclose(run.at(step.level[place])[row], step.x_t[place], atol=1e-7)


def test_a_path_never_walked_is_refused() -> None:
    run = adaptive(TWO, (2, 2), start=torch.ones(2, 2), start_level=0.8, stop_level=0.3, dense=True)
    assert run.at(0.5).shape == (2, 2) and run.at(torch.tensor([0.4, 0.7])).shape == (2, 2)
    with pytest.raises(InvalidArgument, match="Not passed"):
        run.at(0.9)
    with pytest.raises(InvalidArgument, match="dense=True"):
        adaptive(TWO, (2, 2)).at(0.5)


def test_the_tree_is_white_noise_in_its_own_clock() -> None:
    tree, like = BrownianTree(1.0, 0, range(20000)), torch.zeros(20000, 1)
    angles = [1.3, 0.9, 0.5, 0.2, 0.02]
    told = [tree.at(torch.full((20000,), a, dtype=torch.float64), torch.arange(20000), like) for a in angles]
    for value in told:
        assert abs(float(value.mean())) < 0.03 and kstest(value[:, 0].numpy(), "norm").pvalue > 1e-4
    for (one, first), (two, second) in zip(zip(angles, told), zip(angles[1:], told[1:]), strict=False):  # noqa: B905
        expected = math.tan(two) / math.tan(one)  # sqrt(tau ratio) at eta = 1
        assert abs(float((first * second).mean()) - expected) < 0.03


def test_the_tree_answers_the_same_in_any_order_and_company() -> None:
    tree = BrownianTree(0.6, 5, [3, 1, 4])
    asked = torch.tensor([0.3, 0.7, 1.1], dtype=torch.float64)
    like = torch.zeros(3, 4)
    once = tree.at(asked, torch.arange(3), like)
    tree.at(asked / 2, torch.arange(3), like)
    assert torch.equal(once, BrownianTree(0.6, 5, [3, 1, 4]).at(asked, torch.arange(3), like))
    alone = BrownianTree(0.6, 5, [4]).at(asked[2:], torch.tensor([0]), like[:1])
    assert torch.equal(alone, once[2:])
    assert torch.equal(tree.at(asked[1:], torch.tensor([1, 2]), like[1:]), once[1:])


def test_one_seed_is_one_path_whatever_the_tolerance() -> None:
    model, eta = gaussian("cosine"), 0.7
    runs = [adaptive(model, (16, 2), rtol=r, eta=eta, seed=3, **FLOAT64) for r in (1e-1, 3e-2, 1e-2, 3e-3)]
    errors = [float(rms(run.x - runs[-1].x).median()) for run in runs[:-1]]
    apart = float(rms(runs[-1].x - adaptive(model, (16, 2), rtol=1e-2, eta=eta, seed=4, **FLOAT64).x).median())
    assert all(error < 5 * r for error, r in zip(errors, (1e-1, 3e-2, 1e-2), strict=True))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.1 * apart


@pytest.mark.parametrize(("eta", "path"), [(0.4, Linear()), (1.0, EDM())], ids=str)
def test_refused_steps_do_not_bias_the_law(eta: float, path: Schedule) -> None:
    run = adaptive(gaussian(path), (1500, 2), rtol=2e-2, eta=eta, **FLOAT64)
    assert int(run.refused.sum()) > 1500
    for column, mean, variance in ((0, 0.5, 1.0), (1, -1.0, 0.5)):
        standard = (run.x[:, column] - mean) / variance**0.5
        assert abs(float(standard.mean())) < 0.06 and abs(float(standard.std()) - 1) < 0.06


@pytest.mark.parametrize("how", [{}, {"eta": 0.7}, {"start_level": 0.8, "stop_level": 0.3}, {"pair": "bs32"}])
def test_a_round_knows_how_much_of_the_way_is_behind_all(how: dict[str, Any]) -> None:
    seen: list[Round] = []
    run = adaptive(TWO, (16, 2), rtol=1e-3, watch=seen.append, **FLOAT64, **how)
    behind = [attempt.behind for attempt in seen]
    assert 0 <= behind[0] < 0.5 and behind == sorted(behind) and 0.9 < behind[-1] <= 1
    assert all(attempt.behind >= 1 - len(attempt.who) / len(run.x) for attempt in seen)  # who has arrived is through
