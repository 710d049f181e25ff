"""The way of the probability flow from data, or from a level, to noise: its slopes and their divergences (T62)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.errors import NonFinite, SingularConversion, require
from obverse.ground.numerics import exact
from obverse.ground.shapes import against, bad_rows, rows
from obverse.likelihood.divergence import traces
from obverse.likelihood.walk import Slopes
from obverse.model import SUSPECTS, Cond, Model
from obverse.path import Edm, Level, coefficients
from obverse.sampler.tolerance.field import Circle
from obverse.sampler.truth import beginning

NEAR = 1e-3  # radians: the first angle for predictions that say nothing of the flow at clean data


@dataclass(frozen=True)
class Way:
    """From where to where, and the slopes on the way.

    Args:     model, cond: whose flow, and what it is handed; one row for each point.
              circle: on which the way lies.
              first, last: its ends.
              scale: by which points are multiplied to lie on the circle.
    """

    model: Model
    cond: Cond
    circle: Circle
    first: Level
    last: Level
    scale: float

    @classmethod
    def of(cls, model: Model, cond: Cond, level: Level | float | None) -> Way:
        """The way from a level, or from data, to the noise that samplers start from."""
        circle, schedule = Circle(model.schedule, 1.0), model.schedule
        if level is None:
            first = schedule.at(0.0)
            try:
                coefficients(model.face, Edm(1.0), first)
            except SingularConversion:
                first = circle.level(exact([max(NEAR, circle.least)]))[0]
        else:
            first = schedule.at(level)
            many = exact(first.t).numel()
            require(many == 1, f"level is one for all points, got {many} (one run for each level).")
        last = schedule.at(beginning(model))
        require(
            float(circle.phi(first)) < float(circle.phi(last)),
            f"level lies before the noise that samplers start from, {last}; got {first} (level=None: data).",
        )
        of_points = float(exact(first.alpha)) if level is None else 1.0  # data keep their share of x_t; states are x_t
        return cls(model, cond, circle, first, last, of_points / float(circle.rho(first)))

    @property
    def start(self) -> float:
        """The first angle."""
        return float(self.circle.phi(self.first))

    @property
    def stop(self) -> float:
        """The last angle."""
        return float(self.circle.phi(self.last))

    @property
    def width(self) -> float:
        """Of the noise that samplers start from, on the circle."""
        return float(exact(self.last.sigma) / self.circle.rho(self.last))

    def rates(self, probes: Tensor, summed: bool) -> Slopes:
        """What a walk asks for: v beside its products with all probes, or beside their sum.

        Args:     probes: as of `traces`.
                  summed: they are the directions, so that the sum is the exact trace.
        """

        def rate(z: Tensor, phi: Tensor, who: Tensor, idle: bool) -> Tensor:
            if idle:
                v, _ = self.slopes(z, phi, who, probes[:0])
                return torch.cat([v, v.new_zeros(len(v), 1 if summed else len(probes))], 1)
            v, products = self.slopes(z, phi, who, probes)
            return torch.cat([v, products.sum(1, keepdim=True) if summed else products], 1)

        return rate

    def slopes(self, flat: Tensor, phi: Tensor, who: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
        """v, flat, and the products of its Jacobian with the probes; (batch, d) and (batch, probes)."""
        z = flat.reshape(-1, *probes.shape[2:])
        level, rho, on_output, on_state = self.circle.read(self.model.face, phi)

        def v(z: Tensor, here: Tensor) -> Tensor:
            x_t = against(rho[here], z) * z
            out = self.model.at(level[here], x_t)(x_t, rows(self.cond, who[here].to(z.device)))
            return -(against(on_output[here], z) * out + against(on_state[here], z) * x_t)

        mine = probes if probes.shape[1] == 1 else probes[:, who.to(z.device)]
        slope, products = traces(v, z, mine)
        if bad := bad_rows(slope):
            where = f"{level[bad[0]]}, first for point {int(who[bad[0]])}"
            raise NonFinite(f"The model's output is not finite at {where}. {SUSPECTS}")
        return slope.flatten(1), products
