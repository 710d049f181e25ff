"""A batch, noised and ready for the network; and what the network's answer is worth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from obverse.ground.numerics import Number, exact
from obverse.ground.shapes import moved, rows
from obverse.path import Level, Noise, Prediction, gain


@dataclass(frozen=True, eq=False)
class Noised:
    """What a network is asked, and what it is told of its answer.

    Args:     x_t, target: the states and what should be answered; (batch *data).
              cond: the conditions, some of them hidden; a row each, or None.
              level: of each sample.
              weight: on the squared error; (batch,).
              face: what is predicted.
              ratio: of the time law at each sample.
              logsnr: of each sample; float64 (batch,).
              shown: which samples are shown the network's own estimate; bool, (batch,), or None for none.
    """

    x_t: Tensor
    target: Tensor
    cond: Any
    level: Level
    weight: Tensor
    face: Prediction
    ratio: Number
    logsnr: Tensor
    shown: Tensor | None = None

    def part(self, where: slice, device: torch.device) -> Noised:
        """Some of its rows, on a device; levels stay on the CPU."""
        tensors = {name: getattr(self, name)[where].to(device) for name in ("x_t", "target", "weight")}
        ratio = self.ratio[where] if isinstance(self.ratio, Tensor) and self.ratio.ndim else self.ratio
        cond = moved(rows(self.cond, where), device)
        shown = None if self.shown is None else self.shown[where].to(device)
        place: dict[str, Any] = {"level": self.level[where], "logsnr": self.logsnr[where]}
        return replace(self, **tensors, **place, cond=cond, ratio=ratio, shown=shown)


class Loss(NamedTuple):
    """A loss, as a whole and apart.

    mean: what to differentiate; (). per_sample: (batch,). level: where each sample was looked at.
    logsnr: log-SNR of each sample; float64 (batch,). error: its mean squared error, unweighted; (batch,), detached.
    face: what the error is of.
    """

    mean: Tensor
    per_sample: Tensor
    level: Level
    logsnr: Tensor
    error: Tensor
    face: Prediction

    @property
    def noise_error(self) -> Tensor:
        """Mean squared error of eps, unweighted, what weightings act on; (batch,), detached."""
        return exact(gain(self.face, Noise(), self.level)).square().to(self.error) * self.error
