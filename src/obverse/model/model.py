"""The one thing that samplers, objectives and likelihoods know of a network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact
from obverse.ground.shapes import against, check_floating, moved
from obverse.path import Estimate, Level, Prediction, Schedule

Cond: TypeAlias = Any
Call: TypeAlias = Callable[[Tensor, Cond], Tensor]
_SEVERAL = (tuple, list)
SUSPECTS = (  # where an output is not finite
    "Check the model's precision, its convention of time and, if guided, what means no condition (Guided(null=...))."
)


class Model(ABC):
    """A belief about data and noise at every level of its schedule.

    To add one, name a schedule and a face and write `at`. Wrapping a model in a model is how minds are changed:
    rescheduling, guidance, clamping and micro-batching all are models around models.
    """

    schedule: Schedule
    face: Prediction

    @abstractmethod
    def at(self, level: Level, like: Tensor) -> Call:
        """The model at one level: a function (x_t, cond) -> output in `self.face`.

        Whatever depends on the level only is computed here, once, and not in the loop that calls.

        Args:     level: one for all samples or one for each.
                  like: a state with the shape, dtype and device of those to come.
        """

    def along(self, levels: Level, like: Tensor) -> list[Call]:
        """The model at every level of a run, one after the other.

        Args:     levels: moments in the order in which they are visited.
                  like: as of `at`.
        """
        return [self.at(level, like) for level in levels.floats()]

    def __call__(self, x_t: Tensor, level: Level | Tensor | float, cond: Cond = None) -> Estimate:
        """The estimate at (x_t, level).

        Args:     x_t: states; (batch *data).
                  level: a Level, or t in [0, 1]; one for all samples or one for each.
                  cond: what the model is conditioned on, passed on as it is.
        """
        check_floating(x_t)
        level = self.schedule.at(level)
        return Estimate(x_t, level, self.at(level, x_t)(x_t, moved(cond, x_t.device)), self.face)

    @property
    def passes(self) -> int:
        """Network evaluations that one call of one sample costs."""
        return 1

    @property
    def device(self) -> torch.device:
        """Where states are best kept: with the network's parameters; the CPU where there are none."""
        return torch.device("cpu")

    @property
    def first(self) -> float:
        """The t at which sampling may begin: 1, or before it where the model is of a schedule with less noise."""
        return 1.0

    def on(self, schedule: Schedule | str) -> Model:
        """The same model seen on another schedule: the same noise levels, other times and scales."""
        schedule = Schedule.of(schedule)
        return self if schedule == self.schedule else Rescheduled(self, schedule)


def check_model(model: object) -> None:
    """Refuse what is no model, such as a network whose convention nobody has named, or what mixes two schedules."""
    if not isinstance(model, Model):
        raise InvalidArgument(
            f"A model is expected, got {type(model).__name__}: wrap a network once, naming its schedule and what it "
            f"predicts, as in ob.Network(net, 'linear', predicts='flow')."
        )
    first: tuple[str, Model] | None = None
    for name, part in _within(model):
        check_model(part)
        first = first or (name, part)
        other, (own, its) = part.schedule, (first[0], first[1].schedule)
        if other != its:
            raise InvalidArgument(
                f"{type(model).__name__} asks models of two schedules at one level, {own} of {its.label} and {name} "
                f"of {other.label}: give it {name}.on({own}.schedule), and add up what they say in one face, "
                f"model(x_t, level, cond).on(face)."
            )


def check_place() -> None:
    """Refuse torch.set_default_device: levels, which decide, live on the CPU, wherever networks and states are."""
    default = torch.get_default_device()
    if default.type != "cpu":
        raise InvalidArgument(
            f"torch.set_default_device({str(default)!r}) would put levels there, which live on the CPU: take it back "
            f"(torch.set_default_device(None)) and move the network, net.to({str(default)!r}); states follow it."
        )


def _within(model: Model) -> Iterator[tuple[str, Model]]:
    """The models that a model is made of, alone or several in a field."""
    for name, value in vars(model).items():
        if Model in type(value).__mro__:  # isinstance asks an abstract class in Python, at every training step
            yield name, value
        elif isinstance(value, _SEVERAL):
            yield from ((f"{name}[{i}]", part) for i, part in enumerate(value) if isinstance(part, Model))


class Around(Model):
    """A model around a model, on its schedule and in its face unless it says otherwise."""

    model: Model

    @property
    def schedule(self) -> Schedule:  # type: ignore[override]
        """The model's."""
        return self.model.schedule

    @property
    def face(self) -> Prediction:  # type: ignore[override]
        """The model's."""
        return self.model.face

    @property
    def passes(self) -> int:
        """The model's."""
        return self.model.passes

    @property
    def device(self) -> torch.device:
        """The model's."""
        return self.model.device

    @property
    def first(self) -> float:
        """The model's."""
        return self.model.first


@dataclass(frozen=True)
class SeenFrom(Prediction):
    """A face of one schedule seen from another: its row at the level of equal log-SNR."""

    face: Prediction
    home: Schedule
    away: Schedule

    name = "rescheduled"

    def row(self, level: Level) -> tuple[Tensor | float, Tensor | float]:
        return self.face.row(self.at_home(level))

    @property
    def first(self) -> float:
        """The other schedule's t where home's noise begins, rounded down."""
        return math.floor(1e4 * float(self.away.nearest(exact(self.home.range[0])).t)) / 1e4

    def at_home(self, level: Level) -> Level:
        """The level of equal log-SNR."""
        try:
            return self.home.at_logsnr(level.logsnr)
        except InvalidArgument as error:
            if float(exact(level.logsnr).min()) >= self.home.range[0]:
                raise
            raise InvalidArgument(
                f"{error} Seen from {self.away.label} this model begins at t = {self.first}: "
                f"grid='scales:start={self.first}' (adaptive: start_level={self.first})."
            ) from error


@dataclass(frozen=True)
class Rescheduled(Model):
    """A model of one schedule on another (T28): x_t is rescaled to the home schedule at equal log-SNR.

    Raises:   InvalidArgument when asked beyond the log-SNR range its home schedule was made for.
    """

    model: Model
    schedule: Schedule

    @property
    def face(self) -> SeenFrom:  # type: ignore[override]
        """The home face, whose row is read at the home level."""
        return SeenFrom(self.model.face, self.model.schedule, self.schedule)

    @property
    def passes(self) -> int:
        """The model's."""
        return self.model.passes

    @property
    def device(self) -> torch.device:
        """The model's."""
        return self.model.device

    @property
    def first(self) -> float:
        """Where home's noise begins."""
        return self.face.first

    def at(self, level: Level, like: Tensor) -> Call:
        home = self.face.at_home(level)
        call = self.model.at(home, like)
        return _scaled(call, against(home.r / exact(level.r), like))

    def along(self, levels: Level, like: Tensor) -> list[Call]:
        home = self.face.at_home(levels)
        scales = exact(home.r / exact(levels.r)).to(like.device, like.dtype).unbind()
        return [_scaled(*both) for both in zip(self.model.along(home, like), scales, strict=True)]

    def on(self, schedule: Schedule | str) -> Model:
        return self.model.on(schedule)


def _scaled(call: Call, scale: Tensor) -> Call:
    """The call at a state times a number."""
    return lambda x_t, cond: call(x_t * scale, cond)
