"""Weightings against the formulas they are published with, and what is learnt beside a network."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument
from obverse.model import Gaussian, Network
from obverse.objective import Objective, Weighting
from obverse.objective.weightings import LogVariance
from obverse.path import VP, Cosine, Data, Linear, V

Array = NDArray[np.float64]
LOGSNR = torch.tensor([-12.0, -3.0, 0.0, 2.0, 9.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("spec", "truth"),
    [  # per draw on the noise: Hang et al. 2023, Crowson et al. 2024, Salimans & Ho 2022, Choi et al. 2022
        ("soft-min-snr:gamma=5", lambda lam: 5 / (5 + np.exp(lam))),
        ("truncated-snr", lambda lam: np.maximum(1, np.exp(-lam))),
        ("p2:k=1,gamma=0.5", lambda lam: (1 + np.exp(lam)) ** -0.5),
        # over log-SNR: Kingma & Gao 2023, table 1; Esser et al. 2024, section 3.1
        ("v-cosine", lambda lam: np.exp(-lam / 2) / np.pi),
        ("indi", lambda lam: np.exp(-lam) / np.cosh(lam / 4) ** 2 / 8),
        ("sd3", lambda lam: stats.norm(0, 2).pdf(lam) * (1 + np.exp(-lam / 2)) ** 2),
        (
            "sd3:times=(logit-normal:mean=0.5,std=0.6)",
            lambda lam: stats.norm(-1, 1.2).pdf(lam) * (1 + np.exp(-lam / 2)) ** 2,
        ),
        ("sd3:times=cos-map", lambda lam: (1 + np.exp(-lam / 2)) ** 2 / np.cosh(lam / 2) / (2 * np.pi)),
        (
            "induced:times=log-normal-nsr,weighting=edm,path=edm",
            lambda lam: np.where(np.abs(lam) < 9, stats.norm(2.4, 2.4).pdf(lam) * (np.exp(-lam) + 0.25) / 0.25, 0),
        ),
    ],
)
def test_weights_are_the_published_functions_of_log_snr(spec: str, truth: Callable[[Array], Array]) -> None:
    logsnr = LOGSNR[1:4] if spec.startswith("induced") else LOGSNR
    assert np.allclose(Weighting.of(spec)(logsnr).numpy(), truth(logsnr.numpy()), rtol=1e-9)


def test_the_weight_of_a_recipe_is_nothing_where_its_path_does_not_reach() -> None:
    far = torch.tensor([-9.5, 13.0], dtype=torch.float64)  # EDM: 80 and 0.002
    assert Weighting.of("induced:path=edm")(far).tolist() == [0, 0]


def test_soft_min_snr_is_written_on_the_data_as_its_paper_does() -> None:
    level = Cosine().at(torch.linspace(0.1, 0.9, 9, dtype=torch.float64))
    got = Weighting.of("soft-min-snr:gamma=4").on(Data(), level, torch.ones(9))
    assert torch.allclose(got, 1 / (torch.as_tensor(level.nsr) ** 2 + 1 / 4), rtol=1e-12)


def test_min_snr_on_v_is_that_of_its_paper() -> None:
    level = Cosine().at(torch.linspace(0.1, 0.9, 9, dtype=torch.float64))
    snr = torch.as_tensor(level.logsnr).exp()
    got = Weighting.of("min-snr:gamma=5").on(V(), level, torch.ones(9))
    assert torch.allclose(got, snr.clamp(max=5) / (snr + 1), rtol=1e-12)


def test_the_error_of_the_velocity_is_that_of_the_path_it_is_read_on() -> None:
    """Its factor on the noise's error is (sigma dlogsnr/dt / 2)²; the slope by a central difference."""
    path, h = VP(), 1e-6
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    slope = (path.logsnr(t + h) - path.logsnr(t - h)) / (2 * h)
    truth = (path.sigma(t) * slope / 2) ** 2
    assert torch.allclose(Weighting.of("mse:face=velocity,path=vp")(path.logsnr(t)), truth, rtol=1e-6)
    assert torch.allclose(Weighting.of("mse")(LOGSNR), Weighting.of("flow")(LOGSNR), rtol=1e-9)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("soft-min-snr:gamma=0", "gamma > 0, got 0"),
        ("p2:k=0", "k > 0 and gamma >= 0, got k=0"),
        ("learned:octaves=0", r"octaves is a whole number in \[1, 12\], got 0"),
    ],
)
def test_weightings_out_of_range_are_refused(spec: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        Weighting.of(spec)


class Off(nn.Module):
    """The exact flow of unit normal data, and an error of which the mean square is known: e^(slope logsnr)."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x_t: Tensor, t: Tensor, cond: None) -> Tensor:
        estimate = Gaussian(torch.zeros(1), 1.0, Linear())(x_t, t.double())
        return estimate.flow + ((1 - t) / t).pow(self.slope)[:, None].to(x_t)


def learnt(weighting: str, slope: float, steps: int = 1500) -> LogVariance:
    net = Off(slope)
    objective = Objective("cut:base=stratified,low=0.02,high=0.98", weighting)
    model = Network(objective.prepare(net), Linear())
    beside = LogVariance.of(model)
    adam = torch.optim.Adam(net.parameters(), lr=0.03)
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = 0.03 * (1 - step / steps)
        adam.zero_grad()
        x = noise.normal((256, 1), seed=1, purpose="x", step=step)
        objective(model, x, seed=0, step=step).mean.backward()
        adam.step()
    return beside


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_what_is_learnt_is_the_logarithm_of_the_error_at_every_level(slope: float) -> None:
    """Flow on unit normal data: its least error is 1 / (t² + (1-t)²), to which the net's own comes."""
    beside = learnt("learned", slope)
    t = torch.linspace(0.05, 0.95, 10, dtype=torch.float64)
    truth = (1 / (t**2 + (1 - t) ** 2) + ((1 - t) / t) ** (2 * slope)).log()
    assert torch.allclose(beside(2 * ((1 - t) / t).log()).double().detach(), truth, atol=0.15)


def test_what_is_learnt_balances_the_error_of_its_base() -> None:
    beside = learnt("learned:base=noise", 0.0)
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    truth = ((1 - t) ** 2 * (1 / (t**2 + (1 - t) ** 2) + 1)).log()
    assert torch.allclose(beside(2 * ((1 - t) / t).log()).double().detach(), truth, atol=0.15)


def test_what_is_learnt_lives_in_the_network_and_is_saved_with_it() -> None:
    objective = Objective("uniform", "learned")
    net = objective.prepare(nn.Linear(2, 2))
    assert objective.prepare(net) is net and set(net.state_dict()) == {
        "weight", "bias", "log_variance.weight", "log_variance.bias"
    }  # fmt: skip
    again = objective.prepare(nn.Linear(2, 2))
    again.load_state_dict(net.state_dict())
    assert set(Objective("uniform", "flow").prepare(nn.Linear(2, 2)).state_dict()) == {"weight", "bias"}


def test_it_is_found_in_a_network_that_is_wrapped() -> None:
    objective = Objective("uniform", "learned")
    net = objective.prepare(Off(0.0))

    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, *given: Tensor) -> Tensor:
            return torch.as_tensor(self.module(*given))

    x = torch.ones(4, 1)
    one, other = (objective(Network(n, Linear()), x).mean for n in (net, Wrapper(net)))
    assert torch.equal(one, other)


def test_it_is_found_in_a_model_that_is_wrapped() -> None:
    objective, x = Objective("uniform", "learned"), torch.ones(4, 1)
    model = Network(objective.prepare(Off(0.0)), Linear())
    assert torch.equal(objective(model.on(Linear()), x).mean, objective(model, x).mean)
    assert math.isfinite(float(objective(model.on("cosine"), x).mean))


def test_a_network_without_it_is_told_how_to_get_it() -> None:
    for net in (Off(0.3), lambda x, *_: x):
        with pytest.raises(InvalidArgument, match=r"objective.prepare\(net\) once"):
            Objective("uniform", "learned")(Network(net, Linear()), torch.ones(2, 1))


def test_the_learnt_weighting_starts_as_its_base() -> None:
    x = noise.normal((32, 1), seed=0, purpose="x")
    plain, objective = Objective("uniform", "v"), Objective("uniform", "learned:base=v")
    net = objective.prepare(Off(0.3))
    one, other = (o(Network(net, Linear()), x).per_sample for o in (plain, objective))
    assert torch.allclose(one, other.to(one))
    assert math.isfinite(float(one.mean()))


def test_half_precision_of_the_network_does_not_round_what_is_learnt() -> None:
    beside = LogVariance(6)
    nn.init.normal_(beside.weight, generator=torch.Generator().manual_seed(0))
    logsnr = torch.linspace(-10, 10, 41, dtype=torch.float64)
    exact = beside(logsnr)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(beside(logsnr), exact)
