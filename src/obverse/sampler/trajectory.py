"""What a run went through: its states and estimates, at the levels it visited and at any between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, require
from obverse.ground.numerics import exact
from obverse.path import Estimate, Level, join
from obverse.sampler.run import Step

SAME = 1e-13  # between angles


@dataclass(frozen=True)
class Trajectory:
    """The states of a run and the estimates made on the way.

    Args:     levels: of the states, in the order of the run; (states,).
              states: (states batch *data).
              called: of the estimates; (calls,).
              data, noise: what the model took for data and noise there; (calls batch *data).
              smooth: whether the run was an ODE, so that there are states between.
    """

    levels: Level
    states: Tensor
    called: Level
    data: Tensor
    noise: Tensor
    smooth: bool

    @classmethod
    def of(cls, steps: Sequence[Step], start: Tensor, level: Level, smooth: bool) -> Trajectory:
        """From the steps of a run, its first state and that one's level."""
        estimates: list[Estimate] = []
        for e in (step.estimate for step in steps):
            if e is not None and (not estimates or e is not estimates[-1]):
                estimates.append(e)
        none = join(level)[:0]  # for runs that call nothing
        return cls(
            join(level, *(step.level for step in steps)),
            torch.stack([start, *(step.x_t for step in steps)]),
            join(none, *(e.level for e in estimates)),
            torch.cat([start[None][:0], *(e.data[None] for e in estimates)]),
            torch.cat([start[None][:0], *(e.noise[None] for e in estimates)]),
            smooth,
        )

    def at(self, levels: Level) -> Tensor:
        """States at any levels of the run; (levels batch *data).

        On the circle the state is a curve in theta whose slope at every call is v, so between two calls it is a cubic
        (a parabola beside an end where nothing was called): exact to fourth (third) order in the distance.

        Args:     levels: Levels, of the schedule at times: `model.schedule.at(t)`.

        Raises:   InvalidArgument beyond the run, and between the states of a stochastic one, where the path is rough.
        """
        require(isinstance(levels, Level), f"States are at Levels, model.schedule.at(t), got {type(levels).__name__}.")
        nodes = self._nodes()
        theta = self._ahead[[n for n, _ in nodes]]
        found = []
        for level in join(levels).floats():
            angle = float(level.theta)
            ahead = angle if self._falls else -angle
            i = int((theta > ahead + SAME).sum())  # the first node there or after
            if i < len(nodes) and abs(float(theta[i]) - ahead) <= SAME:
                y = self.states[nodes[i][0]] / self._r(nodes[i][0])
            elif 0 < i < len(nodes) and self.smooth:
                y = self._between(nodes[i - 1], nodes[i], angle)
            else:
                why = "the run goes" if self.smooth else "a stochastic run has states at its own levels only,"
                raise InvalidArgument(f"No state at {level}: {why} from {self.levels[0]} to {self.levels[-1]}.")
            found.append(level.r * y)
        return torch.stack(found)

    def _nodes(self) -> list[tuple[int, int | None]]:
        """The last state at every level that is further on than all before, and which call was made at it."""
        theta = self._ahead.tolist()
        nodes: list[int] = []
        for n, angle in enumerate(theta):
            if nodes and abs(theta[nodes[-1]] - angle) <= SAME:
                nodes[-1] = n
            elif not nodes or angle < theta[nodes[-1]]:
                nodes.append(n)
        call_at = {angle: j for j, angle in enumerate(exact(self.called.theta).tolist())}
        return [(n, call_at.get(abs(theta[n]))) for n in nodes]

    @property
    def _falls(self) -> bool:
        """Whether the run goes from noise to data."""
        theta = exact(self.levels.theta)
        return bool(theta[0] >= theta[-1])

    @property
    def _ahead(self) -> Tensor:
        """The angles of the states, turned so that they fall."""
        return exact(self.levels.theta) * (1 if self._falls else -1)

    def _between(self, first: tuple[int, int | None], second: tuple[int, int | None], angle: float) -> Tensor:
        (n, j), (m, k) = first, second
        theta = exact(self.levels.theta)
        a, b = float(theta[n]), float(theta[m])
        u, h = (angle - a) / (b - a), b - a
        y, z = self.states[n] / self._r(n), self.states[m] / self._r(m)
        if j is None and k is None:
            return y + u * (z - y)
        if j is None:
            return self._between(second, first, angle)
        slope = self._slope(j)
        if k is None:
            return y + u * h * slope + u**2 * (z - y - h * slope)
        rest, turn = z - y - h * slope, h * (self._slope(k) - slope)
        return y + u * h * slope + u**2 * ((3 - 2 * u) * rest - (1 - u) * turn)

    def _slope(self, call: int) -> Tensor:
        """dy / dtheta = cos(theta) eps - sin(theta) x."""
        theta = float(exact(self.called.theta)[call])
        return math.cos(theta) * self.noise[call] - math.sin(theta) * self.data[call]

    def _r(self, n: int) -> float:
        return float(exact(self.levels.r)[n])
