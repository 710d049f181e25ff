"""What an adaptive run tells: every round on the way, and all that came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.shapes import against
from obverse.path import Level
from obverse.sampler.tolerance.dense import Course
from obverse.sampler.tolerance.walk import Arrival, Walk


class Round(NamedTuple):
    """One attempt of everybody on the way: for bars and films.

    number: from 1. who: their rows. level: where they are now, one for each. x_t: their states. taken: which attempts
    were good enough; ratio: error over tolerance of each. behind: how much of the way is behind all samples, of 1.
    """

    number: int
    who: Tensor
    level: Level
    x_t: Tensor
    taken: Tensor
    ratio: Tensor
    behind: float


@dataclass(frozen=True, eq=False)
class AdaptiveRun:
    """What came of it.

    Args:     x: the samples; (batch *data).
              error: what each may be wrong by, root mean square per coordinate of x / r: units of the data; (batch,).
                  Errors of its steps added up, not followed through the flow; infinite where too little is known.
              finished: who got to the end within tolerance, calls and the shortest step; (batch,).
              stalled: whose step became too short; (batch,).
              calls, steps, refused: network calls of each, steps taken, attempts thrown away; (batch,).
              level: from where each went to the end, in one last step without a call; one for each.
              rounds, evaluations: calls of the model, and rows in them; guidance's second pass counted in the latter.
              course: the path, if `dense`.
    """

    x: Tensor
    error: Tensor
    finished: Tensor
    stalled: Tensor
    calls: Tensor
    steps: Tensor
    refused: Tensor
    level: Level
    rounds: int
    evaluations: int
    course: Course | None = None

    @classmethod
    def of(cls, walk: Walk, arrivals: Sequence[Arrival], last: Level) -> AdaptiveRun:
        """From those who have arrived at the last level, back in their rows."""
        order = torch.cat([arrival.crowd.who for arrival in arrivals]).argsort()

        def column(name: str) -> Tensor:
            return torch.cat([getattr(arrival.crowd, name) for arrival in arrivals])[order]

        def result(name: str) -> Tensor:
            values = torch.cat([getattr(arrival, name) for arrival in arrivals])
            return values[order.to(values.device)]

        circle, phi, z = walk.circle, column("phi"), result("z")
        x = against(circle.rho(last), z) * z
        return cls(
            x, result("error"), result("finished"), result("stalled"), column("calls"), column("steps"),
            column("refused"), circle.level(phi), walk.field.rounds, walk.field.evaluations,
            walk.course,
        )  # fmt: skip

    def at(self, level: Level | Tensor | float) -> Tensor:
        """The states at a level on the way, x_t; (batch *data).

        Args:     level: a Level, or t in [0, 1]; one for all samples or one for each.
        Raises:   InvalidArgument without `dense`, or where a sample has not been.
        """
        if self.course is None:
            raise InvalidArgument("This run has kept its end only; dense=True keeps the path.")
        return self.course.at(level)
