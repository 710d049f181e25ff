"""Where eps comes from: the standard normal, or anything that can be drawn from by (seed, step, sample)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument


class Source(Protocol):
    """Draws of the law at t = 1, as `noise.normal` makes them: a function of its arguments and of nothing else."""

    def __call__(
        self,
        shape: tuple[int, ...],
        /,
        *,
        seed: int,
        purpose: str,
        step: int,
        samples: Sequence[int] | Tensor | None,
        dtype: torch.dtype,
        device: torch.device | None,
    ) -> Tensor:
        """Rows of the law; (batch *data)."""


def eps_for(
    x: Tensor, source: Source = noise.normal, *, seed: int, step: int, samples: Sequence[int] | Tensor | None = None
) -> Tensor:
    """The sources of rows of data: those that an objective with this seed draws for them; (batch *data), like x."""
    return source(tuple(x.shape), seed=seed, purpose="eps", step=step, samples=samples, dtype=x.dtype, device=x.device)


@dataclass(frozen=True, eq=False)
class FromData:
    """Rows of another data set as the source: data-to-data flows, `Objective(source=FromData(rows))`.

    Sampling starts from rows of the same kind. What needs a normal source (scores, stochastic samplers, likelihood,
    guidance by score) does not hold; the flow does.

    Args:     values: (N *data).
    Raises:   InvalidArgument without rows, or when asked for another shape.
    Example:
        >>> FromData(torch.tensor([[3.0], [4.0]]))((2, 1), seed=0, purpose="eps").shape
        torch.Size([2, 1])

    Source:   Tong et al. (2024), section 3.
    """

    values: Tensor

    def __post_init__(self) -> None:
        if self.values.ndim == 0 or len(self.values) == 0:
            raise InvalidArgument(f"A source has rows to draw from, got the shape {tuple(self.values.shape)}.")

    def __call__(
        self,
        shape: tuple[int, ...],
        /,
        *,
        seed: int,
        purpose: str,
        step: int = 0,
        samples: Sequence[int] | Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> Tensor:
        if tuple(shape[1:]) != tuple(self.values.shape[1:]):
            raise InvalidArgument(
                f"Source and data have one shape: rows of {tuple(self.values.shape[1:])}, data of {tuple(shape[1:])}."
            )
        u = noise.uniform((shape[0],), seed=seed, purpose=purpose, step=step, samples=samples)
        index = (u * len(self.values)).long().to(self.values.device)
        return self.values[index].to(device, dtype)
