"""Self-conditioning: a network that sees its own estimate of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.shapes import per_row
from obverse.model.inputs import Precondition, TimeInput
from obverse.model.model import Around, Call, Cond
from obverse.model.network import Network
from obverse.nets.seeing import COND, SEEN
from obverse.path import Data, Level, change

_ALONE = (
    "SelfConditioned(carried=True) sees the estimate of the call before, which only a run's calls in their order have: "
    "run it by a fixed grid on whole batches (microbatch=None), or take carried=False."
)


@dataclass(frozen=True)
class SelfConditioned(Around):
    """A model whose network sees what it has estimated of the data before (`nets.Seeing`).

    Trained by an Objective with `recall`, which shows each sample its estimate with that probability. In sampling it is
    asked twice at every level, first without an estimate and then with its own: a function of the state alone, right
    for every method and wrapper, at two passes a call. With `carried` it is asked once and sees the estimate of the
    call before, as its paper does: for runs of a table over whole batches only, since a run's calls then depend on each
    other.

    Args:     model: a model around a network that sees.
              carried: whether estimates are carried from call to call.
    Source:   Chen et al. (2023), "Analog bits", section 2.3.
    """

    model: Network
    carried: bool = False

    @property
    def net(self) -> Any:
        """The network."""
        return self.model.net

    @property
    def time(self) -> TimeInput:
        """How the network wants to be told where it is."""
        return self.model.time

    @property
    def precondition(self) -> Precondition:
        """How the network wants its state scaled."""
        return self.model.precondition

    @property
    def passes(self) -> int:
        """Twice the model's, unless estimates are carried."""
        return self.model.passes * (1 if self.carried else 2)

    def at(self, level: Level, like: Tensor) -> Call:
        if self.carried:
            raise InvalidArgument(_ALONE)
        call = self.model.at(level, like)
        return lambda x_t, cond: call(x_t, self._told(self._data(call(x_t, cond), x_t, level), cond))

    def along(self, levels: Level, like: Tensor) -> list[Call]:
        if not self.carried:
            return super().along(levels, like)
        calls, done, last = self.model.along(levels, like), 0, like  # of this run alone

        def carrying(number: int, call: Call, level: Level) -> Call:
            def carried(x_t: Tensor, cond: Cond) -> Tensor:
                nonlocal done, last
                if done % len(calls) != number:  # after the last call another run may begin
                    raise InvalidArgument(_ALONE)
                out = call(x_t, self._told(last, cond) if number else cond)
                done, last = done + 1, self._data(out, x_t, level)
                return out

            return carried

        return [carrying(n, *both) for n, both in enumerate(zip(calls, levels.floats(), strict=True))]

    def recalling(self, level: Level, x_t: Tensor, cond: Cond, shown: Tensor) -> Tensor:
        """The answer in training, where some samples are shown their estimate, from which nothing is learnt.

        Args:     level, x_t, cond: as of a call.
                  shown: which samples; bool, (batch,).
        """
        call = self.model.at(level, x_t)
        with torch.no_grad():
            seen = self._data(call(x_t, cond), x_t, level)
        return call(x_t, self._told(torch.where(per_row(shown, seen), seen, 0.0), cond))

    def _data(self, out: Tensor, x_t: Tensor, level: Level) -> Tensor:
        return change(out, x_t, level, self.model.face, Data())

    @staticmethod
    def _told(seen: Tensor, cond: Cond) -> Cond:
        return {SEEN: seen, COND: cond}
