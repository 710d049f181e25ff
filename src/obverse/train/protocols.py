"""What the trainer asks of the batches and the objective that it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


class Batch(Protocol):
    """Rows of one training step, as a dataclass such as `obverse.data.Batch`; tensors have a row for each sample."""

    @property
    def x(self) -> Tensor:
        """The samples; (batch *data)."""

    @property
    def label(self) -> Tensor | None:
        """Their classes, if any; (batch)."""

    @property
    def index(self) -> Tensor:
        """Which samples of the data set they are; (batch)."""

    @property
    def step(self) -> int:
        """The training step they belong to."""

    @property
    def rows(self) -> Tensor:
        """Their places in the batch over all processes and parts; (batch)."""


class Loss(Protocol):
    """What an objective says of a batch."""

    @property
    def mean(self) -> Tensor:
        """What is minimised; ()."""

    @property
    def per_sample(self) -> Tensor:
        """The loss of each sample; (batch)."""

    @property
    def logsnr(self) -> Tensor:
        """Where on the path each sample was taken; (batch)."""


Objective = Callable[[nn.Module, Any, int], Loss]


@runtime_checkable
class Learns(Protocol):
    """An objective that learns from the steps: it is saved with the rest."""

    def observe(self, logsnr: Tensor, per_sample: Tensor) -> None:
        """Take in a step, over all processes; (batch,)."""

    def state(self) -> dict[str, Tensor]:
        """What it has learnt; empty for nothing."""

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there."""
