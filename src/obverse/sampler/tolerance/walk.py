"""Many samples on their own ways: each with its angle, its step and its calls; who has arrived leaves (T69)."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.shapes import against, per_row
from obverse.sampler.tolerance.control import Controller, size, wide
from obverse.sampler.tolerance.dense import Course
from obverse.sampler.tolerance.field import Circle, Field
from obverse.sampler.tolerance.pairs import Arc, Pair, Start, turn
from obverse.sampler.tolerance.reverse import Reverse

NEAREST = 0.05  # of its angle: a step towards the clean end leaves so much, for nothing is called there
SMALL = 0.1  # nsr from which the rest may be jumped: details smaller than that are not yet decided above it
FIRST = 0.3  # the first step, times tolerance^(1 / (order + 1))
DOUBT = 0.3  # measured: keeps errors that vanish by accident from doing harm, at 1 to 9 % more calls
DEPARTURES = 8  # trials of a first level
SHORTEST = 1e-9  # of the angle: steps below are no steps


@dataclass
class Crowd:
    """Those on their way; one row for each.

    who: the row of the run. phi, z, v: where it is. step: what it tries next, unsigned. last: error over tolerance of
    its last step. error: what its steps may have been wrong by, together. calls, steps, refused: how many. before, x:
    the angle and the data estimate one step ago.
    """

    who: Tensor
    phi: Tensor
    z: Tensor
    v: Tensor
    step: Tensor
    last: Tensor
    error: Tensor
    calls: Tensor
    steps: Tensor
    refused: Tensor
    before: Tensor
    x: Tensor

    def of(self, mask: Tensor) -> Crowd:
        """Some of them."""
        return Crowd(*(v[mask] for v in (getattr(self, f.name) for f in fields(self))))

    def put(self, mask: Tensor, new: dict[str, Tensor]) -> None:
        """New values where the mask is true."""
        for name, values in new.items():
            old = getattr(self, name)
            setattr(self, name, torch.where(per_row(mask.to(old.device), old), values, old))

    @property
    def start(self) -> Start:
        """From where their steps start."""
        return Start(self.who, self.phi, self.z, self.v)


class Arrival(NamedTuple):
    """Those who leave together: who they were, where each ends (circle of the stop), its error, and how it went."""

    crowd: Crowd
    z: Tensor
    error: Tensor
    finished: Tensor
    stalled: Tensor


@dataclass
class Walk:
    """How a crowd goes: every round one attempt each.

    Args:     field: the slopes.
              way: what a step is.
              stop: the angle where all are to arrive; 0 is the clean end.
              rtol, atol, max_calls: of each.
              course: where paths are kept, if they are.
    """

    field: Field
    way: Pair | Reverse
    stop: float
    rtol: float
    atol: float
    max_calls: int
    course: Course | None = None

    def begin(self, z: Tensor, phi: Tensor) -> Crowd:
        """Everybody's first call, and first step."""
        zero, none = torch.zeros_like(phi), torch.zeros(len(z), dtype=torch.long)
        start = Start(torch.arange(len(z)), phi, z, torch.zeros_like(z))
        crowd = Crowd(start.who, phi, z, start.v, zero, zero + 1, zero, none, none, none, zero + math.nan, z)
        if bool(phi[0] == 0):
            self._depart(crowd)
        crowd.v = self.field(crowd.z, crowd.phi, crowd.who)
        tolerance = self._allowed(self._size(crowd.z, crowd.phi)).clamp(max=1)
        crowd.step = FIRST * wide(lambda e: e ** (1 / (self.way.order + 1)), tolerance)
        crowd.step = torch.minimum(crowd.step, crowd.phi)
        crowd.calls = crowd.calls + 1
        return crowd

    def _depart(self, crowd: Crowd) -> None:
        """From the clean end to a first level with noise, where the model can be asked.

        Close to it y = cos(theta) x - (e - x) / 2, e the data estimate made from cos(theta) x: even in the angle.
        """
        x = crowd.z
        to = self._allowed(self._size(x, crowd.phi)).clamp(max=1).sqrt().clamp(min=self.circle.least)
        open_ = torch.ones_like(to, dtype=torch.bool)
        for _ in range(min(DEPARTURES, self.max_calls - 1)):
            who = crowd.who[open_]
            on = open_.to(x.device)
            y = against(wide(torch.cos, to[open_]), x[on]) * x[on]
            away = data(y, self.field(y, to[open_], who), to[open_]) - x[on]
            wrong, here = self._size(away, torch.zeros_like(to[open_])), to[open_]
            allowed = self._allowed(self._size(x[on], torch.zeros_like(here)))
            crowd.z = crowd.z.index_copy(0, who.to(x.device), y - away / 2)
            crowd.error, crowd.phi = (
                old.index_copy(0, who, new) for old, new in ((crowd.error, wrong / 2), (crowd.phi, here))
            )
            crowd.calls = crowd.calls + open_
            smaller = (here * (0.8 * (allowed / wrong).sqrt()).clamp(0.01, 0.8)).clamp(min=self.circle.least)
            fine = (wrong <= allowed) | (smaller == here)
            to[open_], open_[open_.clone()] = torch.where(fine, here, smaller), ~fine
            if not bool(open_.any()):
                break
        if bool((crowd.phi == 0).any()):  # no call to spare
            crowd.phi, crowd.error = to, crowd.error + math.inf
        if self.course is not None:
            start = Start(crowd.who, torch.zeros_like(to), x, torch.zeros_like(x))
            off = crowd.z - against(wide(torch.cos, crowd.phi), x) * x
            self.course.parts.append(Arc(start, crowd.phi, off[:, None]))

    def round(self, crowd: Crowd) -> tuple[Crowd, Tensor, Tensor]:
        """One attempt each; afterwards: where they are, which attempts were taken, and the errors over tolerance."""
        start, to = crowd.start, self._target(crowd)
        attempt = self.way.attempt(lambda z, phi: self.field(z, phi, start.who), start, to)
        lengths = torch.maximum(self._size(start.z, start.phi), self._size(attempt.z, to))
        wrong = self._size(attempt.error, to)
        if attempt.doubt is not None:  # brought to the order of the error
            doubt = self._size(attempt.doubt, to)
            wrong = torch.maximum(wrong, DOUBT * wide(lambda e: e ** (self.way.order / (self.way.order - 1)), doubt))
        ratio = (wrong / self._allowed(lengths)).nan_to_num(math.inf)
        good = ratio <= 1
        if self.course is not None and bool(good.any()):
            self.course.parts.append(self.way.path(start, to, attempt).of(good))
        x, before = data(start.z, start.v, start.phi), start.phi
        step = (to - start.phi).abs() * Controller(self.way.order).factor(ratio, crowd.last)
        new = replace(crowd, step=step, calls=crowd.calls + self.way.calls, refused=crowd.refused + ~good)
        together = crowd.error + wrong if isinstance(self.way, Pair) else torch.hypot(crowd.error, wrong)
        new.put(good, {"phi": to, "z": attempt.z, "v": attempt.v, "last": ratio, "error": together})
        new.put(good, {"steps": crowd.steps + 1, "before": before, "x": x})
        return new, good, ratio

    def leave(self, crowd: Crowd) -> tuple[Crowd, Arrival]:
        """Those who go on, and those who have arrived, may jump the rest, or can go no further."""
        stop = torch.full_like(crowd.phi, self.stop)
        x, turned = data(crowd.z, crowd.v, crowd.phi), turn(crowd.z, crowd.v, stop - crowd.phi)[0]
        rest = self._size(x - crowd.x, stop) * wide(_unsure, crowd.phi, stop)
        end, arrived = turned, crowd.phi == stop
        rest = torch.where(arrived, 0.0, torch.where(crowd.steps > 0, rest, math.inf))
        if self.stop == 0:
            near, far = ((self.circle.sigma_data * wide(torch.tan, phi)) ** 2 for phi in (crowd.phi, crowd.before))
            if isinstance(self.way, Pair):  # close to the data, an estimate is even in the angle
                end = x + against((near / (far - near)).nan_to_num(0.0), x) * (x - crowd.x)
                missed = self._size(end - x, stop)
            else:  # and along a rough path it wanders as far as the angle
                missed = self._size(x - crowd.x, stop) * (near / (far - near)).sqrt()
            missed = torch.where(crowd.steps > 0, missed, math.inf)
            near_enough = (missed <= self._allowed(self._size(x, stop))) & (near <= SMALL**2)
            arrived = near_enough | (crowd.phi <= self.circle.least)
            rest = torch.where(arrived, missed, rest)
            end = torch.where(against(arrived.double(), x) > 0, end, x)
        stalled = ~arrived & (crowd.step < SHORTEST * crowd.phi)
        gone = arrived | stalled | (crowd.calls + self.way.calls > self.max_calls)
        jumping = gone & (crowd.phi != stop)
        if self.course is not None and bool(jumping.any()):
            self.course.parts.append(Arc(crowd.start, stop, (end - turned)[:, None]).of(jumping))
        going = Arrival(crowd.of(gone), end[gone], (crowd.error + rest)[gone], arrived[gone], stalled[gone])
        return crowd.of(~gone), going

    @property
    def circle(self) -> Circle:
        """Where they are."""
        return self.field.circle

    def _target(self, crowd: Crowd) -> Tensor:
        """Where each tries to arrive: no further than the stop, and never at the clean end."""
        if bool(crowd.phi[0] < self.stop):
            return (crowd.phi + crowd.step).clamp(max=self.stop)
        floor = (NEAREST * crowd.phi).clamp(min=self.circle.least) if self.stop == 0 else self.stop
        floor = torch.as_tensor(floor, dtype=torch.float64).expand_as(crowd.phi)
        return torch.maximum(self.way.target(crowd.start, torch.maximum(crowd.phi - crowd.step, floor)), floor)

    def _allowed(self, lengths: Tensor) -> Tensor:
        """What a step may be wrong by."""
        return self.atol + self.rtol * lengths

    def _size(self, values: Tensor, phi: Tensor) -> Tensor:
        """Root mean square of states or differences on this circle, as of the unit circle: times rho / r."""
        inner = self.circle.sigma_data
        return size(values) * wide(lambda a: ((a.cos() / inner) ** 2 + a.sin() ** 2).rsqrt(), phi)


def data(z: Tensor, v: Tensor, phi: Tensor) -> Tensor:
    """The data estimate, over sigma_data."""
    cosine, sine = (against(wide(f, phi), z) for f in (torch.cos, torch.sin))
    return cosine * z - sine * v


def _unsure(phi: Tensor, stop: Tensor) -> Tensor:
    """What a change of the data estimate makes in a turn to the stop."""
    return (phi - stop).sin().abs() / phi.sin()
