"""What a coupling is: it sees a batch and says which source goes with which data; it knows no path (T52)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument
from obverse.ground.families import Family
from obverse.ground.shapes import check_rows, moved, rows
from obverse.nets.condition import Cond


@dataclass(frozen=True, eq=False)
class Batch:
    """What a coupling may look at; a member reads what it needs.

    Args:     x, eps: data and source, drawn independently; (batch *data).
              cond: the condition of each data row, before any is hidden; None where there is none.
              seed, step, samples: whose draws, for couplings that draw.
    """

    x: Tensor
    eps: Tensor
    cond: Cond = None
    seed: int = 0
    step: int = 0
    samples: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def taken(self, order: Tensor) -> Tensor:
        """The rows of eps in an order."""
        return self.eps[order.to(self.eps.device)]

    def part(self, index: Tensor) -> Batch:
        """Some rows of all of it."""
        here = index.to(self.x.device)
        samples = None if self.samples is None else self.samples[index.cpu()]
        return Batch(self.x[here], self.eps[here], rows(self.cond, here), self.seed, self.step, samples)

    def uniform(self, purpose: str) -> Tensor:
        """One uniform draw for each row, a function of (seed, step, sample); float64 (batch,)."""
        return noise.uniform((len(self),), seed=self.seed, purpose=purpose, step=self.step, samples=self.samples)


class Coupling(Family, family="coupling"):
    """A joint law of data and source with both marginals kept.

    To add one, write `paired`: from a batch of data and of source to the source in the order of the data, each row
    either used once, or drawn so that over batches all are used alike.

    Attributes: bridge: strength of a Brownian bridge between the two of a pair; 0, the straight path, for most.
                gathers: whether it asks the other processes for their rows, in turn with all else that they exchange.

    Example:
        >>> class Reversed(Coupling):
        ...     def paired(self, batch):
        ...         return batch.eps.flip(0)
        >>> Reversed().pair(torch.zeros(2, 1), torch.tensor([[1.0], [2.0]]))
        tensor([[2.],
                [1.]])
    """

    bridge: float = 0.0
    gathers: bool = False

    @abstractmethod
    def paired(self, batch: Batch) -> Tensor:
        """The source of each data row, x staying in the caller's order; (batch *data)."""

    def pair(
        self,
        x: Tensor,
        eps: Tensor,
        cond: Cond = None,
        *,
        seed: int = 0,
        step: int = 0,
        samples: Sequence[int] | Tensor | None = None,
    ) -> Tensor:
        """The source samples in the order that pairs them with x.

        Args:     x, eps: data and source; (batch *data).
                  cond: one row for each data row.
                  seed, step, samples: whose draws, where the coupling draws; samples default to 0, 1, 2 ...
        Returns:  (batch *data), like eps.
        Raises:   InvalidArgument for batches that do not fit; NonFinite where a NaN leaves no pairing.
        """
        if x.shape != eps.shape:
            raise InvalidArgument(
                f"{self.label} pairs rows with rows: x is {tuple(x.shape)} and eps {tuple(eps.shape)} (draw as many)."
            )
        check_rows(cond, len(x))
        who = None if samples is None else torch.as_tensor(samples).cpu()
        found = self.paired(Batch(x, eps, moved(cond, x.device), seed, step, who)) if len(x) else eps
        if found.shape != eps.shape:
            raise InvalidArgument(
                f"{self.label} pairs every row: expected {tuple(eps.shape)}, got {tuple(found.shape)}."
            )
        return found


class Independent(Coupling, name="independent"):
    """Every pair as it comes: diffusion and plain flow matching."""

    def paired(self, batch: Batch) -> Tensor:
        return batch.eps
