"""The path between accepted steps: states of every sample at any level."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from obverse.ground.errors import require
from obverse.ground.shapes import against
from obverse.path import Level
from obverse.sampler.tolerance.field import Circle
from obverse.sampler.tolerance.pairs import Arc
from obverse.sampler.tolerance.reverse import Rough

SLACK = 1e-9  # radians by which a level may lie beyond the ends: what going from angle to level and back may lose


@dataclass(eq=False)
class Course:
    """All accepted steps of a run.

    Args:     circle: where states are.
              count: of samples.
              parts: the steps, as they were accepted.
    """

    circle: Circle
    count: int
    parts: list[Arc | Rough] = field(default_factory=list)

    def at(self, level: Level | Tensor | float) -> Tensor:
        """The states at a level, x_t; (batch *data).

        Args:     level: a Level, or t in [0, 1]; one for all samples or one for each.
        Raises:   InvalidArgument for a level that a sample has not passed.
        """
        level = self.circle.schedule.at(level)
        phi, rho = (f(level).expand(self.count) for f in (self.circle.phi, self.circle.rho))
        missing = torch.ones(self.count, dtype=torch.bool)
        z: Tensor | None = None
        for part in self.parts:
            who, ends = part.start.who, torch.stack([part.start.phi, part.to])
            low, high = ends.amin(0), ends.amax(0)
            inside = (phi[who] >= low - SLACK) & (phi[who] <= high + SLACK) & missing[who]
            if bool(inside.any()):
                states = part.of(inside).at(phi[who][inside].clamp(low[inside], high[inside]))
                z = states.new_empty(self.count, *states.shape[1:]) if z is None else z
                z[who[inside].to(z.device)] = states
                missing[who[inside]] = False
        lost = missing.nonzero().flatten().tolist()
        require(z is not None and not lost, f"Not passed by this run: {level}, by samples {lost[:3]} ({len(lost)}).")
        assert z is not None
        return against(rho, z) * z
