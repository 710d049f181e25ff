"""Self-conditioning: who sees which estimate, in training and in sampling."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument
from obverse.model import Gaussian, Microbatched, Network, SelfConditioned
from obverse.nets import Conditions, Seeing
from obverse.objective import Objective
from obverse.path import Linear
from obverse.sampler import DDIM, Sampler, Uniform, sample


class Spy(nn.Module):
    """Answers flow 0, whose data estimate is x_t itself, plus a tenth of what it sees; keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.saw: list[Tensor] = []
        self.scale = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, both: Tensor, t: Tensor, cond: Any) -> Tensor:
        assert cond is None or cond.shape == t.shape
        self.saw.append(both[:, both.shape[1] // 2 :].detach().clone())
        return both * self.scale


def spied() -> tuple[Spy, SelfConditioned]:
    spy = Spy()
    return spy, SelfConditioned(Network(Seeing(spy), Linear()))


X = noise.normal((400, 2), seed=0, purpose="x", dtype=torch.float64)


def test_in_training_the_share_asked_for_sees_its_own_estimate_and_the_others_see_nothing() -> None:
    spy, model = spied()
    loss = Objective("uniform", "flow", recall=0.5)(model, X, torch.arange(400), seed=3)
    first, second = spy.saw
    level = loss.level
    eps = noise.normal((400, 2), seed=3, purpose="eps", dtype=torch.float64)
    x_t = torch.as_tensor(level.alpha)[:, None] * X + torch.as_tensor(level.sigma)[:, None] * eps
    shown = (second != 0).any(1)
    assert bool((first == 0).all())
    assert torch.allclose(second[shown], x_t[shown], rtol=1e-12)  # the estimate that goes with flow 0
    assert abs(float(shown.double().mean()) - 0.5) < 4.5 * math.sqrt(0.25 / 400)


def test_who_is_shown_is_keyed_by_the_sample() -> None:
    spy, model = spied()
    objective = Objective("uniform", "flow", recall=0.5)
    objective(model, X, seed=3, step=7)
    objective(model, X[[9, 2, 31]], seed=3, step=7, samples=[9, 2, 31])
    assert torch.equal(spy.saw[3], spy.saw[1][[9, 2, 31]])
    objective(model, X, seed=3, step=8)
    assert not torch.equal(spy.saw[5] == 0, spy.saw[1] == 0)


def test_nothing_is_learnt_from_the_first_estimate() -> None:
    net = Seeing.build("mlp:width=8,depth=1", (2,))
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    net.double()
    model, objective = SelfConditioned(Network(net, Linear())), Objective("uniform", "flow", recall=1.0)
    loss = objective(model, X[:8], seed=1)
    slopes = torch.autograd.grad(loss.mean, list(net.parameters()))
    # the same with the estimate as a given number
    level = loss.level
    eps = noise.normal((8, 2), seed=1, purpose="eps", dtype=torch.float64)
    x_t = torch.as_tensor(level.alpha)[:, None] * X[:8] + torch.as_tensor(level.sigma)[:, None] * eps
    t = torch.as_tensor(level.t)
    seen = (x_t - t[:, None] * net(x_t, t)).detach()
    given = ((net(x_t, t, {"seen": seen, "cond": None}) - (eps - X[:8])) ** 2).mean()
    for one, other in zip(slopes, torch.autograd.grad(given, list(net.parameters())), strict=True):
        assert torch.allclose(one, other, rtol=1e-9)


def test_in_sampling_it_is_asked_twice_and_stays_a_function_of_the_state() -> None:
    spy, model = spied()
    assert model.passes == 2
    model(X[:3], 0.4)
    assert bool((spy.saw[0] == 0).all()) and torch.equal(spy.saw[1], X[:3])
    whole = sample(model, (7, 2), steps=4, seed=1, dtype=torch.float64)
    parts = sample(Microbatched(model, 3), (7, 2), steps=4, seed=1, dtype=torch.float64)
    assert torch.allclose(whole, parts, rtol=1e-12)


def test_carried_estimates_are_those_of_the_call_before() -> None:
    spy = Spy()
    model = SelfConditioned(Network(Seeing(spy), Linear()), carried=True)
    assert model.passes == 1
    steps = list(Sampler(DDIM().tableau("linear", Uniform(steps=3))).steps(model, X[:5]))
    estimates = [torch.as_tensor(step.estimate.data) for step in steps if step.estimate is not None]
    assert len(spy.saw) == 3 and bool((spy.saw[0] == 0).all())
    for saw, before in zip(spy.saw[1:], estimates, strict=False):
        assert torch.allclose(saw, before, rtol=1e-12)
    Sampler(DDIM().tableau("linear", Uniform(steps=3))).end(model, X[:4])
    assert bool((spy.saw[3] == 0).all())  # another run knows nothing of this one


def test_carried_estimates_are_refused_where_calls_are_not_in_order() -> None:
    model = SelfConditioned(Network(Seeing(Spy()), Linear()), carried=True)
    with pytest.raises(InvalidArgument, match="in their order have: run it by a fixed grid"):
        model(X[:3], 0.4)
    with pytest.raises(InvalidArgument, match="carried=False"):
        sample(Microbatched(model, 3), (7, 2), steps=2)


def test_a_network_that_sees_learns_at_least_as_well_as_one_that_does_not() -> None:
    """Both reach the floor of one Gaussian within a tenth, seen or not: what is shown does no harm."""
    oracle = Gaussian(torch.zeros(2), torch.tensor([[1.0, 0.8], [0.8, 1.0]]), Linear())
    net = Seeing.build("mlp:width=32,depth=1", (2,), Conditions())
    model, adam = SelfConditioned(Network(net, Linear())), torch.optim.Adam(net.parameters(), lr=5e-3)
    objective = Objective("stratified", "flow", recall=0.5)
    for step in range(400):
        adam.zero_grad()
        objective(model, oracle.sample(128, seed=step).float(), seed=0, step=step).mean.backward()
        adam.step()
    x = oracle.sample(4000, seed=999).float()
    for recall in (0.0, 1.0):
        judge = Objective("stratified", "flow", recall=recall)
        assert float(judge(model, x).mean.detach()) < 1.1 * float(Objective("stratified", "flow")(oracle, x).mean)


def test_what_cannot_see_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"recall=0.5 shows a network its own estimate, which Network cannot see"):
        Objective(recall=0.5)(Network(lambda x, *_: x, Linear()), X)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"recall is a share in \[0, 1\], got 1.5"):
        Objective(recall=1.5)
