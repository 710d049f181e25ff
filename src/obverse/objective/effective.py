"""What a training recipe weighs each log-SNR with, and whether two recipes are one objective (T43, T47)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.ground.families import Family
from obverse.ground.numerics import divide, exact
from obverse.objective.times import TimeLaw, Uniform
from obverse.objective.weightings import MSE, Weighting
from obverse.path import Flow, Level, Linear, Noise, Prediction, Schedule, gain

TAILS = 60.0  # log-SNR that is integrated over: float64 knows no t beyond on the paths here
WINDOW = 20.0  # log-SNR that is compared and drawn
PROBES = (30.0, 50.0)  # where the growth towards an infinite end is measured
FLAT = -1e-3  # growth for each unit of log-SNR from which on an integral to infinity is none

KNOWN = {
    "flow-matching": "schedule=linear,face=flow",
    "flow-matching-vp": "schedule=vp,face=velocity",
    "v-cosine": "schedule=cosine,face=v",
    "ddpm": "schedule=vp,face=noise",
    "improved-ddpm": "schedule=nichol-dhariwal,face=noise",
    "edm": "schedule=edm,face=edm,times=log-normal-nsr",
    "sd3": "schedule=linear,face=flow,times=logit-normal",
    "sd3-mode": "schedule=linear,face=flow,times=mode",
    "sd3-cos-map": "schedule=linear,face=flow,times=cos-map",
    "indi": "schedule=linear,face=data",
    "min-snr": "schedule=vp,face=v,weighting=min-snr",
    "vdm": "schedule=vp,face=noise,weighting=elbo",
    "sigmoid": "schedule=cosine,face=v,weighting=sigmoid",
}


class TrainingRecipe(Family, family="training recipe"):
    """Whatever decides how much a log-SNR counts."""


@dataclass(frozen=True)
class Effective(TrainingRecipe, name="recipe"):
    """What a schedule, a face, a weighting and a time law come to: one weight on the noise error over log-SNR.

    The face is what the network predicts; it decides the weight only where no weighting is named, which then is the
    face's plain squared error.

    Example:
        >>> round(float(Effective.read("flow-matching").weight(torch.zeros(1, dtype=torch.float64))), 6)  # e^0 / 2
        0.5
    """

    schedule: Schedule = field(default_factory=Linear)
    face: Prediction = field(default_factory=Flow)
    weighting: Weighting | None = None
    times: TimeLaw = field(default_factory=Uniform)

    @classmethod
    def read(cls, text: str) -> Effective:
        """A recipe from its fields, such as `schedule=cosine,face=v`, or by its name.

        Raises:   UnknownName for names and fields that do not exist.
        """
        if "=" not in text and text not in KNOWN:
            raise UnknownName("training recipe", text, [*KNOWN, "schedule=...,face=...,weighting=...,times=..."])
        made: Effective = cls.of(f"recipe:{KNOWN.get(text, text)}")
        return made

    @cached_property
    def weighs(self) -> Weighting:
        """The weighting, or that of the face's plain squared error."""
        return MSE(self.face, self.schedule) if self.weighting is None else self.weighting

    def weight(self, logsnr: Tensor) -> Tensor:
        """The weight on the squared error of the noise, for each unit of log-SNR; 0 off the path.

        Args:     logsnr: float64; any shape.
        """
        low, high = self.schedule.range
        reached = (logsnr >= low) & (logsnr <= high)
        return torch.where(reached, self._at(logsnr, self.schedule.nearest(logsnr)), 0.0)

    @cached_property
    def floor(self) -> float:
        """The least loss on standard normal data: what weights are divided by before they are compared.

        The noise's least error is sigmoid(logsnr) there. Infinite where `divergent` names an end.
        """
        if self.divergent:
            return math.inf
        logsnr = torch.linspace(-TAILS, TAILS, 24001, dtype=torch.float64)
        return float(torch.trapezoid(self.weight(logsnr) * logsnr.sigmoid(), logsnr))

    @cached_property
    def divergent(self) -> tuple[str, ...]:
        """The ends of the path, "data" and "source", where even the best network's loss is infinite."""
        return self.ends()

    def ends(self, bridge: float = 0.0) -> tuple[str, ...]:
        """`divergent`, where pairs have a Brownian bridge between them that nothing can foresee.

        It adds bridge²/4 e^(logsnr/2) to the noise's least error, up to a bounded factor.
        """

        def least(logsnr: Tensor, level: Level) -> Tensor:
            return self._at(logsnr, level) * (logsnr.sigmoid() + bridge**2 / 4 * (logsnr / 2).exp())

        return self._endless(least)

    @cached_property
    def unbounded(self) -> tuple[str, ...]:
        """The ends where the loss of a network is infinite if its output is off by as little as it likes."""

        def of_output(logsnr: Tensor, level: Level) -> Tensor:
            return self._at(logsnr, level) * exact(gain(self.face, Noise(), level)) ** 2

        return self._endless(of_output)

    def _at(self, logsnr: Tensor, level: Level) -> Tensor:
        density = self.times.density(level)
        drawn = density > 0
        meant = torch.where(drawn, density * self.times.ratio(level), 0.0)
        return torch.where(drawn, self.weighs.over(logsnr, meant), 0.0)

    def _endless(self, integrand: Callable[[Tensor, Level], Tensor]) -> tuple[str, ...]:
        """The infinite ends towards which a function of log-SNR does not fall."""
        found = []
        for end, side, limit in (("data", 1.0, self.schedule.range[1]), ("source", -1.0, self.schedule.range[0])):
            if math.isinf(limit):
                logsnr = side * torch.tensor(PROBES, dtype=torch.float64)
                near, far = integrand(logsnr, self.schedule.at_logsnr(logsnr)).log().tolist()
                if far - near > FLAT * (PROBES[1] - PROBES[0]):
                    found.append(end)
        return tuple(found)


class Comparison(NamedTuple):
    """Two recipes, each scaled to a floor of 1.

    same: whether one weight is a constant times the other. constant: first over second, by their floors.
    elsewhere: share of the loss on standard normal data that would have to move. at: the log-SNR where most of it is.
    ratio: first over second there, scaled. learns: a weighting of theirs that is learnt, so that all this is true at
    the start only; "" for none.
    """

    same: bool
    constant: float
    elsewhere: float
    at: float
    ratio: float
    learns: str = ""

    @property
    def words(self) -> str:
        """What was found, in a sentence."""
        start = f" (at the start: {self.learns!r} comes to weigh by what it learns)" if self.learns else ""
        if self.same:
            return f"the same objective: the first is {_read(self.constant)} times the second at every log-SNR{start}"
        most, which = max((self.ratio, "first"), (divide(1.0, self.ratio), "second"))
        much = f"{most:.3g} times as much" if math.isfinite(most) else "and the other does not"
        return (
            f"different objectives: {100 * self.elsewhere:.1f} % of the weight lies elsewhere; they part most at "
            f"log-SNR {self.at:.3g}, where the {which} weighs errors {much}{start}"
        )


def compare(first: Effective, second: Effective) -> Comparison:
    """Whether two recipes minimise the same thing up to a constant, or where they part.

    Raises:   InvalidArgument for a recipe whose loss is infinite.
    Example:
        >>> print(compare(Effective.read("flow-matching"), Effective.read("v-cosine")).words)
        the same objective: the first is 1.5708 (pi/2) times the second at every log-SNR
    """
    for recipe in (first, second):
        if recipe.divergent:
            raise InvalidArgument(f"{recipe.spec} has no finite loss to compare. {advice(recipe)}")
    logsnr = torch.linspace(-WINDOW, WINDOW, 4001, dtype=torch.float64)
    one, other = first.weight(logsnr) / first.floor, second.weight(logsnr) / second.floor
    off = torch.where(one == other, 0.0, (one / other).log()).abs().max()
    gap = (one - other) * logsnr.sigmoid()
    at = int(gap.abs().argmax())
    elsewhere = float(torch.trapezoid(gap.abs(), logsnr)) / 2
    constant, ratio = first.floor / second.floor, float(one[at] / other[at])
    learns = next((recipe.weighs.label for recipe in (first, second) if recipe.weighs.beside() is not None), "")
    return Comparison(bool(off < 1e-6), constant, elsewhere, float(logsnr[at]), ratio, learns)


def advice(recipe: Effective, bridge: float = 0.0) -> str:
    """What to do about an end where a recipe's loss is infinite, in words; `bridge` as of `Effective.ends`."""
    endless = recipe.ends(bridge)
    found = endless or recipe.unbounded
    ends = " and ".join(found)
    sides = {"data": "low=0.001", "source": "high=0.999"}
    cut = ",".join(sides[end] for end in found)
    base = recipe.times.label
    base = f"({base})" if ":" in base else base
    who = "the best network's loss is" if endless else "the loss of a network that is not perfect is"
    way = "weigh by flow, v or sigmoid" if endless else "predict flow or v, weigh the face by itself"
    way = "draw times logit-normal" if endless and not recipe.divergent else way
    pairs = f", pairs have a bridge of {bridge:g} between them" if bridge else ""
    return (
        f"Towards the {ends} end of {recipe.schedule.label} {who} infinite when {recipe.face.name} is predicted, "
        f"errors are weighed by {recipe.weighs.label}{pairs} and times come from {recipe.times.label}: stop short of "
        f"that end (times=cut:base={base},{cut}), or {way}."
    )


def _read(constant: float) -> str:
    """A constant, and what it is of pi if it is."""
    for below in (1, 2, 4, 8):
        above = constant / math.pi * below
        if abs(above - round(above)) < 1e-6 and round(above):
            of = "pi" if round(above) == 1 else f"{round(above)} pi"
            return f"{constant:.6g} ({of}{'' if below == 1 else f'/{below}'})"
    return f"{constant:.6g}"
