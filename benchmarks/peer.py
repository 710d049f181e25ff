"""The one protocol of samplers that are compared: a peer takes states along a list of noise levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.model.oracles import Posterior
from problems import Problem

Levels = Sequence[float]
DOUBLE = torch.float64


class Ask:
    """The exact model, counting its calls."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.calls = problem, 0

    def __call__(self, x_t: Tensor, alpha: float, sigma: float) -> Posterior:
        self.calls += 1
        return self.problem.posterior(x_t.double(), float(alpha), float(sigma))

    def data(self, y: Tensor, nsr: float) -> Tensor:
        """The data estimate at x + nsr eps."""
        return self(y, 1.0, nsr).data


@dataclass(frozen=True)
class Peer:
    """A sampler of another library.

    Args:     name: library and method.
              run: (model, eps, levels) -> data; makes len(levels) - 1 steps.
              flow: whether it lives on the straight line, t = nsr / (1 + nsr).
              pure: whether it may start from pure noise, nsr = inf.
              per_step: calls a step.
              saved: calls that the last step saves.
              zero: whether its last level may be 0.
    """

    name: str
    run: Callable[[Ask, Tensor, Levels], Tensor]
    flow: bool = False
    pure: bool = False
    per_step: int = 1
    saved: int = 0
    zero: bool = True

    def steps(self, calls: int) -> int:
        """The most steps that many calls allow."""
        return (calls + self.saved) // self.per_step


def rate(ask: Ask, x: Tensor, t: float) -> Tensor:
    """The flow at t on the straight line, finite at both ends."""
    known = ask(x, 1 - t, t)
    return known.noise - known.data


def time_of(nsr: float) -> float:
    """t of a noise-to-signal ratio on the straight line."""
    return 1.0 if math.isinf(nsr) else nsr / (1 + nsr)


def line(nsr: float) -> tuple[float, float]:
    """(alpha, sigma) on the straight line."""
    return 1 - time_of(nsr), time_of(nsr)


def circle(nsr: float) -> tuple[float, float]:
    """(alpha, sigma) on the circle."""
    return 1 / math.sqrt(1 + nsr * nsr), nsr / math.sqrt(1 + nsr * nsr)
