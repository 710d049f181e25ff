"""Laws of how errors count: weightings, and the distances that are weighed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from obverse.ground.numerics import exact
from obverse.laws.law import Compared, all_within, apart, demand, law, not_negative, within
from obverse.laws.problems import FACES, PATHS, hill, times
from obverse.model import Call, Cond, Model
from obverse.objective import Cut, Distance, Objective, UnboundedLoss, Weighting
from obverse.path import Level, Noise, Prediction, Schedule, change, gain


@law("weighting", "it is finite and never negative, on any face")
def _weight(weighting: Weighting) -> str:
    logsnr = torch.linspace(-20, 20, 81, dtype=torch.float64)
    weight = weighting(logsnr)
    demand(weight.shape == logsnr.shape and weight.dtype == torch.float64, f"it gives {weight.dtype} {weight.shape}")
    not_negative(weight, "over log-SNR")
    for path in PATHS:
        level = path.at(times(0.01, 0.99))
        for face in FACES:
            not_negative(weighting.on(face, level, _density(level)), f"on {face.name}, {path.spec}")
    return f"at log-SNR -20, 0, 20: {weight[0]:.3g}, {weight[40]:.3g}, {weight[80]:.3g}"


@law("weighting", "from face to face it follows the gain")
def _gain(weighting: Weighting) -> str:
    def compared() -> Iterator[Compared]:
        for path in PATHS:
            level = path.at(times(0.01, 0.99))
            on = {face: exact(weighting.on(face, level, _density(level))).expand(level.t.shape) for face in FACES}
            for face in FACES:
                for other in FACES:
                    want = on[other] * exact(gain(face, other, level)) ** 2
                    yield f"{face.name} against {other.name} on {path.spec}", on[face], want, want

    return all_within(compared(), 1e-9)


@law("weighting", "on the noise it is the function of log-SNR that it says, per draw or per unit of log-SNR")
def _on_noise(weighting: Weighting) -> str:
    off = {"per draw": 0.0, "per unit of log-SNR": 0.0}
    for path in PATHS:
        level = path.at(times(0.01, 0.99))
        said, on_noise = weighting(exact(level.logsnr)), exact(weighting.on(Noise(), level, _density(level)))
        for unit, want in (("per draw", said), ("per unit of log-SNR", said / _density(level))):
            off[unit] = max(off[unit], float(apart(on_noise, want, want).abs().max()))
    unit = min(off, key=lambda known: off[known])
    return within(f"the relative difference {unit}", off[unit], 0, 1e-9)


@law("weighting", "the loss of a network is the same whatever face it predicts")
def _loss(weighting: Weighting) -> str:
    def compared() -> Iterator[Compared]:
        objective = Objective(Cut(low=1e-3, high=1 - 1e-3), weighting)
        net = objective.prepare(nn.Module())
        for path in PATHS[:2]:
            x = hill(path).sample(64)
            losses = {face.name: _loss_of(objective, Mistaken(path, face, net), x) for face in FACES}
            for name, loss in losses.items():
                yield f"the loss of {name} on {path.spec}", loss, losses["noise"], losses["noise"]

    return all_within(compared(), 1e-6)


def _loss_of(objective: Objective, model: Model, x: Tensor) -> Tensor:
    """The loss of each sample; how it grows towards an end is no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnboundedLoss)
        return objective(model, x, seed=0).per_sample.detach()


@law("weighting", "its share of the loss is what it says on the noise, draw by draw")
def _over(weighting: Weighting) -> str:
    def compared() -> Iterator[Compared]:
        for path in PATHS:
            level = path.at(times(0.01, 0.99))
            density = _density(level)
            on_noise = exact(weighting.on(Noise(), level, density)) * density
            yield f"the share on {path.spec}", weighting.over(exact(level.logsnr), density), on_noise, on_noise

    return all_within(compared(), 1e-9)


@dataclass(frozen=True)
class Mistaken(Model):
    """An oracle whose noise estimate is off by as much as the state says, in any face."""

    schedule: Schedule
    face: Prediction
    net: nn.Module

    def at(self, level: Level, like: Tensor) -> Call:
        oracle = hill(self.schedule)
        right = oracle.at(level, like)

        def call(x_t: Tensor, cond: Cond) -> Tensor:
            wrong = change(right(x_t, cond), x_t, level, oracle.face, Noise()) + 0.3 + 0.2 * x_t.cos()
            return change(wrong, x_t, level, Noise(), self.face)

        return call


@law("distance", "it is the square of small errors, and never more than it")
def _distance(distance: Distance) -> str:
    square = torch.logspace(-12, 8, 201, dtype=torch.float64)
    value = distance(square)
    not_negative(value, "over errors")
    demand(bool((value <= square * (1 + 1e-9)).all()), "it exceeds the square")
    demand(bool((value.diff() > 0).all()), "it does not rise with the error")
    return within("the distance of an error of 1e-6", value[0], square[0], 1e-3, scale=square[0])


@law("distance", "its slope never rises, so that outliers pull no more than others")
def _concave(distance: Distance) -> str:
    square = torch.logspace(-9, 6, 151, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(distance(square).sum(), square)
    not_negative(slope, "its slope")
    return within("the steepest rise of its slope", slope.diff().clamp(min=0), 0, 1e-12)


def _density(level: Level) -> Tensor:
    """Some positive density, which a weighting has no right to know."""
    return 0.2 + 0.1 * exact(level.t)
