"""Laws of predictions: a face is a row of two numbers, and everything follows from the row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, product

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import Number, exact
from obverse.ground.shapes import against
from obverse.laws.law import Compared, all_within, demand, law
from obverse.laws.problems import FACES, PATHS, draws, one_by_one, times
from obverse.path import Level, Prediction, change, gain

SHAPES = ((4,), (4, 3), (4, 2, 3), (4, 1, 2, 3))
STEP = 1e-6  # of finite differences in t
PARALLEL = 1e-12  # a row whose angle to the state has a smaller sine only repeats the state


@law("prediction", "its row is finite and tells data from noise on the open path")
def _row(face: Prediction) -> str:
    least = float("inf")
    for path in PATHS:
        level = path.at(times(0.005, 0.995))
        a, b = (exact(part).expand(level.t.shape) for part in face.row(level))
        signed = (level.alpha * b - level.sigma * a) / level.r / (a**2 + b**2).sqrt()
        signed = torch.where(a.isfinite() & b.isfinite(), signed, 0.0).nan_to_num()
        sine = signed.abs()
        worst = int(sine.argmin())
        told = f"on {path.spec} at t = {level.t[worst]:.6g} it is ({a[worst]:.6g}, {b[worst]:.6g})"
        demand(float(sine[worst]) > PARALLEL, f"{told}: infinite, zero or a multiple of the state")
        i = int((signed.sign().diff() != 0).double().argmax())
        between = f"on {path.spec} between t = {level.t[i]:.6g} and {level.t[i + 1]:.6g} it is a multiple of the state"
        demand(bool(signed[i].sign() == signed[i + 1].sign()), f"{between}: alpha b - sigma a changes sign")
        least = min(least, float(sine[worst]))
    return f"sine of its angle to the state: at least {least:.1e}"


@law("prediction", "its row is the same one by one, as plain floats, and for many levels at once")
def _one_by_one(face: Prediction) -> str:
    a, b = one_by_one("a", lambda level: face.row(level)[0]), one_by_one("b", lambda level: face.row(level)[1])
    return all_within(chain(a, b), 1e-12)


@law("prediction", "there and back is the identity, for every face, shape and path")
def _there_and_back(face: Prediction) -> str:
    def compared() -> Iterator[Compared]:
        for where, level, x_t, value, other, _ in _pairs(face):
            again = change(change(value, x_t, level, face, other), x_t, level, other, face)
            yield f"{face.name} to {other.name} and back {where}", again, value, 1 + value.abs().max()

    return all_within(compared(), 1e-12)


@law("prediction", "a change of face gives what the other row says of data and noise")
def _direct(face: Prediction) -> str:
    def compared() -> Iterator[Compared]:
        for where, level, x_t, value, other, want in _pairs(face):
            found = change(value, x_t, level, face, other)
            yield f"{face.name} to {other.name} {where}", found, want, 1 + want.abs().max()

    return all_within(compared(), 1e-11)


@law("prediction", "its gain is the measured growth of an error")
def _gain(face: Prediction) -> str:
    def compared() -> Iterator[Compared]:
        for where, level, x_t, value, other, _ in _pairs(face):
            wrong, right = (change(q, x_t, level, face, other) for q in (value + 1.0, value))
            grown = against(gain(face, other, level), x_t)
            yield f"an error of 1 of {face.name} in {other.name} {where}", (wrong - right).abs(), grown, grown

    return all_within(compared(), 1e-9)


@law("prediction", "along its clock the state moves as fast as it says")
def _clock(face: Prediction) -> str:
    """d(x_t / c) = q d(m / c) by finite differences, and over any step at once where the row is constant (T24)."""
    t = times(0.05, 0.95)
    x, eps = draws(t.shape, "x"), draws(t.shape, "eps")
    try:
        face.clock(PATHS[0].at(0.5))
    except InvalidArgument:
        return "it has no clock"

    def rates() -> Iterator[Compared]:
        for path in PATHS:
            before, after = (_on_clock(face, path.at(t + h), x, eps) for h in (-STEP, STEP))
            value = _mix(face.row(path.at(t)), x, eps)
            rate = (after[0] - before[0]) / (after[1] - before[1])
            yield f"the rate on {path.spec}", rate, value, 1 + value.abs()

    def steps() -> Iterator[Compared]:
        for path in PATHS:
            value = _mix(face.row(path.at(0.3)), x, eps)
            near, far = (_on_clock(face, path.at(s), x, eps) for s in (0.3, 0.8))
            end = near[0] + value * (far[1] - near[1])
            yield f"the end of one step on {path.spec}", end, far[0], 1 + far[0].abs()

    told = all_within(rates(), 1e-6)
    constant = all(exact(part).ndim == 0 for part in face.row(PATHS[0].at(t)))
    return f"{told}, {all_within(steps(), 1e-10)}" if constant else told


def _pairs(face: Prediction) -> Iterator[tuple[str, Level, Tensor, Tensor, Prediction, Tensor]]:
    """Where, the level, the state, what a face says there, every other face and what it says: every path, every rank.

    The level is one for all samples, then one for each.
    """
    for path, shape in product(PATHS, SHAPES):
        x, eps = draws(shape, "x"), draws(shape, "eps")
        for t in (torch.tensor(0.37), times(0.05, 0.95, shape[0])):
            level, where = path.at(t), f"on {path.spec}, shape {shape}, {'a level each' if t.ndim else 'one level'}"
            x_t, value = _mix((level.alpha, level.sigma), x, eps), _mix(face.row(level), x, eps)
            for other in FACES:
                yield where, level, x_t, value, other, _mix(other.row(level), x, eps)


def _mix(row: tuple[Number, Number], x: Tensor, eps: Tensor) -> Tensor:
    return against(row[0], x) * x + against(row[1], eps) * eps


def _on_clock(face: Prediction, level: Level, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """The state and the time on the face's clock."""
    c, m = (exact(part) for part in face.clock(level))
    return (level.alpha * x + level.sigma * eps) / c, m / c
