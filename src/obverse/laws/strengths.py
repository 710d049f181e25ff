"""Laws of strengths: what is kept of the noise is the exponential of an integral."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from obverse.ground.errors import InvalidArgument
from obverse.laws.law import Compared, all_within, demand, law
from obverse.path import Cosine, Level
from obverse.sampler import Strength

WAY = (-9.0, -3.5, -0.5, 0.0, 2.5, 9.0)  # log-SNRs, from noise to data


@law("strength", "it is neither negative nor infinite")
def _sane(strength: Strength) -> str:
    eta = strength.eta(torch.linspace(-20, 20, 401, dtype=torch.float64))
    demand(bool((eta >= 0).all()) and bool(eta.isfinite().all()), f"it takes the values {eta.min()} ... {eta.max()}")
    return f"between {eta.min():.3g} and {eta.max():.3g}"


@law("strength", "what two steps keep is what one keeps that is as long")
def _multiplies(strength: Strength) -> str:
    def compared() -> Iterator[Compared]:
        levels = _levels()
        for i, t in enumerate(levels):
            for j, s in enumerate(levels[i + 1 :], i + 1):
                both = math.prod(strength.split(levels[k], levels[k + 1])[0] for k in range(i, j))
                kept, fresh = strength.split(t, s)
                yield f"what is kept from {t} to {s}", kept, both, 1
                yield f"the variance of old and new noise from {t} to {s}", kept**2 + fresh**2, 1, 1

    return all_within(compared(), 1e-9)


@law("strength", "what a step keeps is the exponential of the integral of eta squared")
def _integral(strength: Strength) -> str:
    def compared() -> Iterator[Compared]:
        for t, s in zip(_levels(), _levels()[1:], strict=False):
            l = torch.linspace(float(t.logsnr), float(s.logsnr), 20001, dtype=torch.float64) / 2  # noqa: E741
            spent = float(torch.trapezoid(strength.eta(2 * l) ** 2, l))
            yield f"what is kept from {t} to {s}", strength.split(t, s)[0], math.exp(-spent), 1

    return all_within(compared(), 1e-3)  # the rule's own error where a strength jumps


@law("strength", "at the ends of the circle it splits the noise still, and no step goes up")
def _ends(strength: Strength) -> str:
    first, *_, last = Cosine().at(torch.tensor([1.0, 0.5, 0.0])).floats()
    for t, s in ((first, last), (first, _levels()[2]), (_levels()[2], last)):
        kept, fresh = strength.split(t, s)
        demand(0 <= kept <= 1 and 0 <= fresh <= 1, f"from {t} to {s} it keeps {kept} and draws {fresh}")
    try:
        up = strength.split(_levels()[2], _levels()[1])
        demand(up == (1.0, 0.0), f"a step up keeps {up[0]} and draws {up[1]}")
    except InvalidArgument:
        return "steps up are refused"
    return "without noise steps go up too"


def _levels() -> list[Level]:
    return Cosine().at_logsnr(torch.tensor(WAY, dtype=torch.float64)).floats()
