"""A model as a field of slopes, every sample at its own level."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.errors import NonFinite
from obverse.ground.numerics import exact
from obverse.ground.shapes import against, bad_rows, rows
from obverse.model import SUSPECTS, Cond, Model
from obverse.path import Edm, Level, Prediction, Schedule, coefficients
from obverse.sampler.tolerance.control import padded


@dataclass(frozen=True)
class Circle:
    """The circle of data of size sigma_data on a schedule: phi = atan(nsr / sigma_data), z = x_t / rho.

    Args:     schedule: whose levels they are.
              sigma_data: the size of data at which noise is half way; the last decisions fall there.
    """

    schedule: Schedule
    sigma_data: float

    def level(self, phi: Tensor) -> Level:
        """The levels at angles; bits of one do not depend on the others."""
        return self._wide(phi)[: len(phi)]

    def phi(self, level: Level) -> Tensor:
        """The angle of a level."""
        return torch.atan2(exact(level.sigma), self.sigma_data * exact(level.alpha))

    def rho(self, level: Level) -> Tensor:
        """Scale of the state on this circle."""
        return ((self.sigma_data * exact(level.alpha)) ** 2 + exact(level.sigma) ** 2).sqrt()

    def read(self, face: Prediction, phi: Tensor) -> tuple[Level, Tensor, Tensor, Tensor]:
        """How outputs in a face are read at angles, v = -(on_output out + on_state x_t); as of `level`.

        Returns:  level, rho, on_output, on_state; one for each angle.
        """
        wide = self._wide(phi)
        columns = (self.rho(wide), *coefficients(face, Edm(self.sigma_data), wide))
        rho, on_output, on_state = (exact(column).expand(len(wide))[: len(phi)] for column in columns)
        return wide[: len(phi)], rho, on_output, on_state

    @property
    def least(self) -> float:
        """The smallest angle at which the schedule has a level."""
        return float(self.phi(self.schedule.at(0.0)))

    def _wide(self, phi: Tensor) -> Level:
        """The levels at angles and, lest a tail be computed in another way, some more."""
        phi = padded(phi)
        logsnr = torch.where(phi >= math.pi / 2, -math.inf, -2 * (self.sigma_data * phi.tan()).log())
        return self.schedule.nearest(logsnr)


@dataclass(eq=False)
class Field:
    """v(z, phi) of a model, with its ledger.

    Args:     circle: where states are.
              model: any model on the circle's schedule.
              cond: one row for each sample of the whole run.
              names: of the samples, for messages.
              microbatch: call the model at this one batch size.
    """

    circle: Circle
    model: Model
    cond: Cond
    names: list[int]
    microbatch: int | None = None
    rounds: int = 0
    evaluations: int = 0

    def __call__(self, z: Tensor, phi: Tensor, who: Tensor) -> Tensor:
        """The slope of each state; `who` are the rows of the run that they belong to."""
        level, rho, on_output, on_state = self.circle.read(self.model.face, phi)
        x_t = against(rho, z) * z
        output = self._outputs(x_t, level, who)
        self._finite(output, level, who)
        return -(against(on_output, z) * output + against(on_state, z) * x_t)

    def _outputs(self, x_t: Tensor, level: Level, who: Tensor) -> Tensor:
        count = len(x_t)
        size = count if self.microbatch is None else self.microbatch
        self.evaluations += count * self.model.passes
        parts = []
        for first in range(0, count, size):
            members = torch.arange(first, first + size).clamp_(max=count - 1)
            here = members.to(x_t.device)
            states = x_t[here]
            self.rounds += 1
            call = self.model.at(level[members], states)
            parts.append(call(states, rows(self.cond, who[members].to(x_t.device))))
        return torch.cat(parts)[:count]

    def _finite(self, output: Tensor, level: Level, who: Tensor) -> None:
        if bad := bad_rows(output):
            raise NonFinite(
                f"Round {self.rounds} of calls: the network's output is not finite at {level[bad[0]]}, first "
                f"in sample {self.names[int(who[bad[0]])]} ({len(bad)} of {len(output)} rows). {SUSPECTS}"
            )
