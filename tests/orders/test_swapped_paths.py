"""A network that is told log-SNR is trained on one path and called on another: the coin, with something learnt."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from obverse.model import Mixture, Network
from obverse.nets import Architecture
from obverse.objective import Objective
from obverse.sampler import LogSNR, sample

GRID = LogSNR(20, low=-8.0, high=8.0)  # within every path here


def model(net: nn.Module, path: str, predicts: str) -> Network:
    return Network(net, path, predicts=predicts, time="logsnr", precondition="circle")


@pytest.fixture(scope="module", params=["flow", "data", "noise"])
def trained(request: pytest.FixtureRequest) -> tuple[nn.Module, str, Mixture]:
    """A small network, trained on the linear path to two hills of the plane."""
    predicts: str = request.param
    hills = Mixture(torch.tensor([[-1.0, 0.5], [1.0, -0.5]]), 0.05, None, "linear")
    net = Architecture.of("mlp:width=48,depth=2").build((2,))
    objective, adam = Objective("stratified", predicts), torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(400):
        adam.zero_grad()
        x = hills.sample(128, seed=step).float()
        objective(model(net, "linear", predicts), x, seed=0, step=step).mean.backward()
        adam.step()
    return net.eval().requires_grad_(False), predicts, hills


@pytest.mark.parametrize("solver", ["ddim", "dpmpp-2m", "heun:face=data"])
def test_the_path_is_swapped_after_training_by_its_name_alone(
    trained: tuple[nn.Module, str, Mixture], solver: str
) -> None:
    """No wrapper rescales anything: the network is a function of x_t / r and log-SNR, and so are its samples."""
    net, predicts, hills = trained
    how = {"solver": solver, "grid": GRID, "seed": 1, "dtype": torch.float64}
    first = sample(model(net.double(), "linear", predicts), (64, 2), **how)  # type: ignore[arg-type]
    assert float((first.std(0) - hills.sample(4000).std(0)).abs().max()) < 0.3  # it has learnt what it was shown
    for path in ("cosine", "vp-linear", "edm", "vp"):
        swapped = sample(model(net, path, predicts), (64, 2), **how)  # type: ignore[arg-type]
        seen = sample(model(net, "linear", predicts).on(path), (64, 2), **how)  # type: ignore[arg-type]
        assert float((swapped - first).abs().max()) < 1e-9
        assert float((seen - first).abs().max()) < 1e-9


def test_the_loss_at_equal_log_snrs_is_the_same_on_every_path(trained: tuple[nn.Module, str, Mixture]) -> None:
    net, predicts, hills = trained
    x = hills.sample(256, seed=9)
    errors = []
    for path in ("linear", "cosine", "vp-linear"):
        loss = Objective("log-normal-nsr", "edm")(model(net.double(), path, predicts), x, seed=3)
        errors.append(loss.per_sample)
    for other in errors[1:]:
        assert torch.allclose(errors[0], other, rtol=1e-9)
