"""Laws of what training minimises: weightings and time laws."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact
from obverse.laws.law import all_within, demand, law, within
from obverse.laws.problems import FACES, PATHS, hill, times
from obverse.model import Call, Cond, Model
from obverse.objective import Cut, Distance, Objective, TimeLaw, UnboundedLoss, Weighting
from obverse.path import Level, Noise, Prediction, Schedule, change, gain

TAILS = 60.0  # log-SNR integrated over: what lies beyond is below 1e-9 of any law here
DRAWS = 4001  # quantiles asked of a time law


@law("weighting", "it is finite and never negative, on any face")
def _weight(weighting: Weighting) -> str:
    logsnr = torch.linspace(-20, 20, 81, dtype=torch.float64)
    weight = weighting(logsnr)
    demand(weight.shape == logsnr.shape and weight.dtype == torch.float64, f"it gives {weight.dtype} {weight.shape}")
    _plain(weight, "over log-SNR")
    for path in PATHS:
        level = path.at(times(0.01, 0.99))
        for face in FACES:
            _plain(weighting.on(face, level, _density(level)), f"on {face.name}, {path.spec}")
    return f"at log-SNR -20, 0, 20: {weight[0]:.3g}, {weight[40]:.3g}, {weight[80]:.3g}"


@law("weighting", "from face to face it follows the gain")
def _gain(weighting: Weighting) -> str:
    def errors() -> Iterator[tuple[str, Tensor]]:
        for path in PATHS:
            level = path.at(times(0.01, 0.99))
            on = {face: exact(weighting.on(face, level, _density(level))).expand(level.t.shape) for face in FACES}
            for face in FACES:
                for other in FACES:
                    want = on[other] * exact(gain(face, other, level)) ** 2
                    yield f"{face.name} against {other.name} on {path.spec}", _relative(on[face], want)

    return all_within(errors(), 1e-9)


@law("weighting", "on the noise it is the function of log-SNR that it says, per draw or per unit of log-SNR")
def _on_noise(weighting: Weighting) -> str:
    off = {"per draw": 0.0, "per unit of log-SNR": 0.0}
    for path in PATHS:
        level = path.at(times(0.01, 0.99))
        said, on_noise = weighting(exact(level.logsnr)), exact(weighting.on(Noise(), level, _density(level)))
        for unit, want in (("per draw", said), ("per unit of log-SNR", said / _density(level))):
            off[unit] = max(off[unit], float(_relative(on_noise, want).abs().max()))
    unit = min(off, key=lambda known: off[known])
    return within(unit, off[unit], 1e-9)


@law("weighting", "the loss of a network is the same whatever face it predicts")
def _loss(weighting: Weighting) -> str:
    def errors() -> Iterator[tuple[str, Tensor]]:
        objective = Objective(Cut(low=1e-3, high=1 - 1e-3), weighting)
        net = objective.prepare(nn.Module())
        for path in PATHS[:2]:
            x = hill(path).sample(64)
            losses = {face.name: _loss_of(objective, Mistaken(path, face, net), x) for face in FACES}
            for name, loss in losses.items():
                yield f"{name} on {path.spec}", _relative(loss, losses["noise"])

    return all_within(errors(), 1e-6)


def _loss_of(objective: Objective, model: Model, x: Tensor) -> Tensor:
    """The loss of each sample; how it grows towards an end is no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnboundedLoss)
        return objective(model, x, seed=0).per_sample.detach()


@law("weighting", "its share of the loss is what it says on the noise, draw by draw")
def _over(weighting: Weighting) -> str:
    def errors() -> Iterator[tuple[str, Tensor]]:
        for path in PATHS:
            level = path.at(times(0.01, 0.99))
            density = _density(level)
            on_noise = exact(weighting.on(Noise(), level, density)) * density
            yield path.spec, _relative(weighting.over(exact(level.logsnr), density), on_noise)

    return all_within(errors(), 1e-9)


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


@law("time law", "its density is that of its draws")
def _density_of_draws(law_of_times: TimeLaw) -> str:
    """The distribution function, integrated from the density over log-SNR, at the quantiles (T45)."""
    u = (torch.arange(DRAWS, dtype=torch.float64) + 0.5) / DRAWS

    def errors() -> Iterator[tuple[str, Tensor]]:
        for path in PATHS:
            low, high = path.range
            drawn = exact(law_of_times.level(u, path).logsnr).sort().values
            demand(not bool(drawn.isnan().any()), f"levels drawn on {path.spec} are NaN")
            cut = [float(end.double().mean()) for end in (drawn <= low, drawn >= high)]  # drawn at the ends themselves
            logsnr = torch.linspace(max(low, -TAILS), min(high, TAILS), 24001, dtype=torch.float64)[1:-1]
            density = exact(law_of_times.density(path.at_logsnr(logsnr)))
            _plain(density, f"the density on {path.spec}")
            share = cut[0] + torch.nn.functional.pad(torch.cumulative_trapezoid(density, logsnr), (1, 0))
            yield f"the mass on {path.spec}", share[-1] + cut[1] - 1
            inside = (drawn > low) & (drawn < high)
            found = torch.from_numpy(np.interp(drawn[inside].numpy(), logsnr.numpy(), share.numpy()))
            yield f"the distribution on {path.spec}", found - u[inside]

    return all_within(errors(), 2e-3)


@law("time law", "its density is the slope of its quantiles")
def _slope_of_quantiles(law_of_times: TimeLaw) -> str:
    u, h = times(0.02, 0.98), 1e-7

    def errors() -> Iterator[tuple[str, Tensor]]:
        for path in PATHS:
            level = law_of_times.level(u, path)
            ahead, behind = (exact(law_of_times.level(at, path).logsnr) for at in (u + h, u - h))
            slope = (ahead - behind).abs() / (2 * h)
            inside = (slope > 0) & (torch.minimum(ahead, behind) > path.range[0])
            yield path.spec, (exact(law_of_times.density(level)) * slope - 1)[inside]

    return all_within(errors(), 1e-5)


@law("time law", "its distribution function undoes its quantiles")
def _cumulative(law_of_times: TimeLaw) -> str:
    u = times(0.001, 0.999)
    try:
        law_of_times.cumulative(PATHS[0].at(0.5))
    except InvalidArgument:
        return "it has none: no other law can be made of it"

    def errors() -> Iterator[tuple[str, Tensor]]:
        for path in PATHS:
            level = law_of_times.level(u, path)
            inside = (exact(level.logsnr) > path.range[0]) & (exact(level.logsnr) < path.range[1])
            yield path.spec, (law_of_times.cumulative(level) - u)[inside]

    return all_within(errors(), 1e-9)


@law("time law", "what its draws stand for is a law too")
def _meant(law_of_times: TimeLaw) -> str:
    """The density of the draws times their ratio has a mass of one, like the densities of them all (T50)."""

    def errors() -> Iterator[tuple[str, Tensor]]:
        for path in PATHS[::2]:  # on these both ends are reached
            level = path.at_logsnr(torch.linspace(-TAILS, TAILS, 24001, dtype=torch.float64))
            density, ratio = exact(law_of_times.density(level)), exact(law_of_times.ratio(level))
            meant = torch.where(density > 0, density * ratio, 0.0)
            _plain(meant, f"the density that is meant on {path.spec}")
            yield path.spec, torch.trapezoid(meant, exact(level.logsnr)) - 1

    return all_within(errors(), 2e-3)


@law("time law", "its uniform draws fill (0, 1) evenly")
def _even(law_of_times: TimeLaw) -> str:
    def errors() -> Iterator[tuple[str, Tensor]]:
        even = (torch.arange(4096, dtype=torch.float64) + 0.5) / 4096
        for step in (0, 1):
            u = law_of_times.uniforms(4096, seed=0, step=step, samples=None)
            demand(bool(((u > 0) & (u < 1)).all()), f"uniform draws lie between {u.min():.6g} and {u.max():.6g}")
            yield f"the distribution at step {step}", u.sort().values - even

    return all_within(errors(), 0.03)  # independent draws exceed it once in a thousand seeds


@law("time law", "the draw of row i is its own")
def _rows(law_of_times: TimeLaw) -> str:
    many = law_of_times.uniforms(16, seed=0, step=5, samples=None)
    some = law_of_times.uniforms(2, seed=0, step=5, samples=[11, 3])
    other = law_of_times.uniforms(16, seed=0, step=6, samples=None)
    demand(not bool((many == other).all()), "two steps draw the same")
    return within("rows 11 and 3 by themselves", some - many[[11, 3]], 0.0)


@law("distance", "it is the square of small errors, and never more than it")
def _distance(distance: Distance) -> str:
    square = torch.logspace(-12, 8, 201, dtype=torch.float64)
    value = distance(square)
    _plain(value, "over errors")
    demand(bool((value <= square * (1 + 1e-9)).all()), "it exceeds the square")
    demand(bool((value.diff() > 0).all()), "it does not rise with the error")
    return within("at an error of 1e-6", value[0] / square[0] - 1, 1e-3)


@law("distance", "its slope never rises, so that outliers pull no more than others")
def _concave(distance: Distance) -> str:
    square = torch.logspace(-9, 6, 151, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(distance(square).sum(), square)
    _plain(slope, "its slope")
    return within("the steepest rise of its slope", slope.diff().clamp(min=0), 1e-12)


def _plain(values: Tensor | float, what: str) -> None:
    values = exact(values)
    bad = values[~(values.isfinite() & (values >= 0))].flatten()
    demand(not len(bad), f"{what}: {bad[:1].tolist()} among {values.numel()} values")


def _relative(value: Tensor, want: Tensor) -> Tensor:
    """Relative differences; two zeros are alike."""
    return torch.where(value == want, 0.0, value / want - 1)


def _density(level: Level) -> Tensor:
    """Some positive density, which a weighting has no right to know."""
    return 0.2 + 0.1 * exact(level.t)
