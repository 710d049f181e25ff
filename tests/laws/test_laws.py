"""Every member of every family keeps every law of its family."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import pytest
import torch

import obverse.sampler as ob
from obverse.ground import noise
from obverse.ground.families import Family
from obverse.laws import Law, laws_of
from obverse.laws.resolve import FAMILIES
from obverse.objective import ExactOT, LogitNormal, LogNormalNSR, MinSNR, Sigmoid, Stratified
from obverse.objective.couplings import Conditioned, Partial, Unbalanced, Within
from obverse.path import (
    DDPM,
    EDM,
    VE,
    VP,
    Cosine,
    Data,
    Edm,
    FromSDE,
    Laplace,
    Linear,
    NicholDhariwal,
    Noise,
    Polynomial,
    Rescaled,
    Shifted,
    Slider,
    Sqrt,
    V,
    Velocity,
)

VARIANTS: list[Family] = [
    Linear(1e-4),
    NicholDhariwal(0.1),
    VP(0.05, 30.0),
    VP(3.0, 3.0),
    Polynomial(0.5),
    Laplace(1.0, 1.5),
    VE(0.1, 10.0),
    EDM(rho=1.0),
    DDPM("cosine"),
    DDPM("scaled-linear", count=100, beta_start=0.00085, beta_end=0.012),
    DDPM(zero_terminal_snr=True),
    DDPM(table=(0.1, 0.4, 0.7)),
    Shifted(VP(), 0.5),
    Shifted(EDM()),
    Shifted(Cosine(), 2.0),
    Slider(VP(), 0.3),
    Slider(Sqrt()),
    Slider(Linear(), 1.0),
    Rescaled(Linear(), lambda t: 1 + t**2),
    FromSDE(lambda t: -0.05 - 5 * t, lambda t: 0.1 + 10 * t),
    Edm(2.0),
    ob.Euler(Velocity()),
    ob.Heun(Velocity()),
    ob.Uniform(start=0.98, end=0.02),
    ob.Angle(power=1.0),
    ob.Given((0.9, 0.4, 0.1)),
    ob.Shift(base=ob.Karras(), k=0.5),
    ob.Shift(base=ob.Uniform(end=0.1)),
    ob.ResolutionShift(tokens=1024, base=ob.Beta()),
    ob.Angle(sigma_data=0.5),
    ob.Karras(rho=-2.0),
    ob.Exponential(nsr_max=500.0),
    ob.Quadratic(power=3.0, start=0.95),
    ob.Quadratic(last=1e-3, clock=VP()),
    ob.Sigmoid(mean=-2.0, spread=1.0),
    ob.Beta(a=2.0, b=0.5, start=0.9),
    ob.Indices(spacing="leading", offset=1),
    ob.Indices(spacing="linspace", count=50, dropped=1),
    ob.AlignYourSteps(network="sdxl"),
    ob.AlignYourSteps(network="svd"),
    ob.GivenNSR((0.01, 0.5, 20.0)),
    ob.GivenAngle((0.98, 0.9, 0.02)),
    ob.Part(skip=3, spare=2),
    ob.Inverted(base=ob.Uniform(end=0.1)),
    ob.Inverted(base=ob.Indices()),
    ob.Inverted(base=ob.Part(spare=1)),
    ob.Euler(Noise()),
    ob.Euler(Data()),
    ob.Heun(Noise()),
    ob.Heun(Data()),
    ob.Euler(V()),
    ob.Heun(V()),
    *(ob.RungeKutta(table) for table in ob.TABLES if table != "rk4"),
    *(ob.RungeKutta("rk4", face) for face in (Data(), Noise(), V(), Velocity())),
    ob.RungeKutta("three-eighths", Noise()),
    ob.RungeKutta("kutta3", V(), last="euler"),
    *(
        ob.DPMSolver(stages, face)
        for stages in (1, 2, 3)
        for face in (Data(), Noise())
        if (stages, face) != (3, Noise())
    ),
    ob.DPMSolver(2, r1=0.7),
    ob.DPMSolver(r1=0.2, r2=0.5),
    ob.DPMSolver(tail=(2, 1)),
    ob.PNDM("heun"),
    ob.PNDM("none"),
    ob.Switch(ob.DDIM(), ob.RungeKutta(), after=3),
    ob.SwitchAt(ob.DDIM(), ob.Heun(), logsnr=-2.0),
    ob.Adams(memory=2),
    ob.Adams(Data(), ob.InLogSNR(), memory=3, start="exact"),
    ob.Adams(Noise(), ob.InNSR(), memory=2),
    ob.Adams(V(), memory=3, start="exact"),
    ob.Adams(clock=ob.InTime(), memory=2, corrector=False),
    ob.AB(4, "exact"),
    ob.DEIS(3, ob.InLogSNR()),
    ob.LMS(3, "exact"),
    ob.UniPC(1, "bh1"),
    ob.UniPC(corrector=False),
    ob.Thrifty(size=2),
    ob.Thrifty(size=64),
    ob.Scales(fine=0.1, coarse=3.0, start=0.98),
    ob.Scales(size=2),
    ob.Scales(size=784),
    ob.SDE(0.0),
    ob.SDE(0.5),
    ob.SDE(2.0),
    ob.SDE("ramp:first=1,last=0.2"),
    ob.DDPM("large"),
    ob.DDIMEta(0.5),
    ob.Renoise(0.2),
    ob.EulerMaruyama(0.5),
    ob.Ancestral(ob.DPMSolver(2, Data())),
    ob.Churn(ob.Heun(Noise())),
    ob.Restart(ob.DDIM(), ((0.3, 1.0, 2.0, 0.0), (1.5, 4.0, 1.0, 0.0))),
    ob.SDEAdams(1.0, 2, 0),
    ob.SDEAdams(1.0, 3, 3),
    ob.SDEDPMpp(stages=3),
    ob.SASolver(0.5, 2, 2),
    ob.Constant(0.0),
    ob.Window(0.5, 0.0, 3.0),
    ob.Ramp(0.0, 0.8),
    ob.FromFunction(lambda logsnr: 1 / (1 + logsnr**2)),
    MinSNR(1.0),
    Sigmoid(-1.0),
    LogitNormal(0.5, 0.8),
    LogNormalNSR(0.0, 3.0),
    Stratified(LogNormalNSR()),
    Partial(0.5),
    Within(Partial()),
    ExactOT(Conditioned()),
    Unbalanced(0.3, 0.2),
    Conditioned(weight=3.0),
]


def discovered() -> Iterator[Family]:
    """Everything obverse itself names in a family, with its defaults."""
    for base in FAMILIES.values():
        for kind in base.members.values():
            fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
            bare = (dataclasses.MISSING, dataclasses.MISSING)
            needed = [f for f in fields if f.init and (f.default, f.default_factory) == bare]
            if kind.__module__.startswith("obverse.") and not needed:
                yield kind()


def named(value: object) -> str:
    if isinstance(value, Law):
        return value.name
    return f"{value.family}/{value.label}" if isinstance(value, Family) else str(value)


CASES = [(member, law) for member in [*discovered(), *VARIANTS] for law in laws_of(member)]


@pytest.mark.parametrize(("member", "law"), CASES, ids=named)
def test_every_member_keeps_every_law(member: Family, law: Law) -> None:
    verdict = law.verdict(member)
    assert verdict.ok, verdict


def test_every_family_has_members_and_laws() -> None:
    for base in FAMILIES.values():
        asked = {law.name for member, law in CASES if isinstance(member, base) and law.family == base.family}
        assert len(asked) >= 1, base


def cost(x: torch.Tensor, eps: torch.Tensor) -> float:
    return float(((x - eps) ** 2).sum())


def batch(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    x, eps = (noise.normal((count, 2), seed=seed, purpose=what, dtype=torch.float64) for what in ("x", "eps"))
    return x, eps


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_exact_transport_is_the_cheapest_of_all_pairings(count: int) -> None:
    x, eps = batch(count, seed=count)
    cheapest = min(cost(x, eps[list(order)]) for order in itertools.permutations(range(count)))
    assert cost(x, ExactOT().pair(x, eps)) == pytest.approx(cheapest, rel=1e-12)


def test_exact_transport_is_cheaper_than_a_hundred_shuffles() -> None:
    x, eps = batch(64, seed=0)
    shuffled = [cost(x, eps[noise.permutation(64, seed=seed, purpose="shuffle")]) for seed in range(100)]
    assert cost(x, ExactOT().pair(x, eps)) < min(shuffled)


def test_exact_transport_follows_the_callers_order() -> None:
    x, eps = batch(16, seed=1)
    order = noise.permutation(16, seed=2, purpose="order")
    assert bool((ExactOT().pair(x[order], eps) == ExactOT().pair(x, eps)[order]).all())
