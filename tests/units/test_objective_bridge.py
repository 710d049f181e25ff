"""The Schrödinger bridge: its pairs, its states and its slopes, against closed forms and a published formula."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument
from obverse.model import Network
from obverse.objective import Coupling, Cut, Independent, Objective
from obverse.path import Linear, Schedule

COUNT = 200_000
PATHS = ["linear", "cosine", "vp", "edm"]


class Noisy(Independent):
    """Independent pairs with a bridge between them."""

    bridge = 0.8


def near(t: float) -> Cut:
    return Cut(low=t - 1e-6, high=t + 1e-6)


def learnt(objective: Objective, path: str, x: Tensor, face: str = "velocity", **more: Any) -> tuple[Tensor, Tensor]:
    made = objective.noised(Network(lambda *_: x, path, predicts=face), x, seed=2, **more)
    return made.x_t.double(), made.target.double()


def variance(path: Schedule, t: float, c: float, covariance: float, s: float) -> float:
    """Of a state whose pair has variances c and 1, with a Brownian bridge of strength s between them."""
    level = path.at(torch.tensor(t, dtype=torch.float64))
    a, b = float(level.alpha), float(level.sigma)
    return a * a * c + b * b + 2 * a * b * covariance + s * s * a * b


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_states_have_the_variance_of_a_bridge_and_slopes_are_its_derivative(path: str, t: float) -> None:
    """For normal pairs E[dx_t/dt | x_t] = x_t V'/(2 V), which carries the law of each moment to the next."""
    x = 2 * noise.normal((COUNT, 1), seed=5, purpose="data", dtype=torch.float64)
    x_t, slope = learnt(Objective(near(t), coupling=Noisy()), path, x)
    v, (before, after) = (
        (variance(Schedule.of(path), at, 4.0, 0.0, 0.8) for at in (t,)),
        (variance(Schedule.of(path), at, 4.0, 0.0, 0.8) for at in (t - 1e-5, t + 1e-5)),
    )
    now = next(v)
    assert float(x_t.var()) == pytest.approx(now, rel=0.02)
    found = float((x_t * slope).mean() / x_t.square().mean())
    scale = float(slope.std() / x_t.std())
    assert found == pytest.approx((after - before) / 2e-5 / (2 * now), abs=0.015 * scale)


def test_on_the_linear_path_it_is_the_formula_of_its_paper() -> None:
    """u = (1 - 2t) / (2t (1 - t)) (x_t - mean) + (source - data): Tong et al. (2024), proposition 3.4."""
    x = noise.normal((512, 3), seed=1, purpose="data", dtype=torch.float64)
    straight, noisy = (Objective("cut:low=0.02,high=0.98", coupling=c) for c in (Independent(), Noisy()))
    mean, flow = learnt(straight, "linear", x, "flow")
    x_t, u = learnt(noisy, "linear", x, "flow")
    t = torch.as_tensor(straight.noised(Network(lambda *_: x, "linear"), x, seed=2).level.t)[:, None]
    assert torch.allclose(u, (1 - 2 * t) / (2 * t * (1 - t)) * (x_t - mean) + flow, atol=1e-9)
    assert float(((x_t - mean) / (t * (1 - t)).sqrt()).std()) == pytest.approx(0.8, rel=0.05)


@pytest.mark.parametrize("s", [0.5, 1.0])
def test_pairs_are_those_of_the_static_bridge(s: float) -> None:
    """Between standard normals their covariance is (sqrt(4 + s^4) - s^2) / 2: Bunne et al. (2023), theorem 3."""
    coupling, found = Coupling.of(f"schrodinger-bridge:bridge={s}"), []
    for step in range(8):
        x, eps = (noise.normal((512, 1), seed=3, purpose=p, step=step, dtype=torch.float64) for p in ("x", "eps"))
        found.append(float((x * coupling.pair(x, eps, seed=4, step=step)).mean()))
    assert sum(found) / len(found) == pytest.approx((math.sqrt(4 + s**4) - s * s) / 2, abs=0.05)


def test_wrapped_couplings_keep_the_bridge() -> None:
    inner = "(schrodinger-bridge:bridge=0.3)"
    assert [Coupling.of(f"{name}:base={inner}").bridge for name in ("within", "pool")] == [0.3, 0.3]
    assert [Coupling.of(name).bridge for name in ("independent", "exact-ot", "sinkhorn")] == [0.0, 0.0, 0.0]


def test_the_noise_of_a_row_is_its_own() -> None:
    x = noise.normal((16, 2), seed=1, purpose="data")
    objective = Objective("logit-normal", coupling=Noisy())
    whole, _ = learnt(objective, "cosine", x, samples=range(16), step=7)
    some, _ = learnt(objective, "cosine", x[[9, 4]], samples=[9, 4], step=7)
    assert torch.equal(some, whole[[9, 4]])


def test_a_bridge_whose_loss_has_no_mean_is_refused_and_a_cut_or_a_weighting_mends_it() -> None:
    x, net = torch.zeros(8, 2), Network(lambda x_t, *_: x_t, Linear())
    with pytest.raises(InvalidArgument, match=r"data and source end.*bridge.*cut:base=uniform,low=0.001,high=0.999"):
        Objective(coupling=Noisy())(net, x)
    for cure in ({"times": "cut:base=uniform,low=0.001,high=0.999"}, {"times": "logit-normal"}):
        assert math.isfinite(float(Objective(coupling=Noisy(), **cure)(net, x).mean))  # type: ignore[arg-type]


@pytest.mark.parametrize("s", [-1.0, 0.0, math.inf, math.nan])
def test_a_strength_that_is_none_is_refused(s: float) -> None:
    with pytest.raises(InvalidArgument, match=r"bridge is (a )?finite"):
        Coupling.of(f"schrodinger-bridge:bridge={s}")
