"""Optimal transport within the batch, without replacement: whole, in part, and within conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, require
from obverse.objective.couplings.costs import Cost, Squared
from obverse.objective.couplings.coupling import Batch, Coupling
from obverse.objective.couplings.matching import assignment


@dataclass(frozen=True)
class ExactOT(Coupling, name="exact-ot"):
    """The pairing of least total cost within the batch: straighter paths, fewer steps.

    Exact and without replacement, so both marginals of the batch are kept. With conditions plain distance makes eps
    depend on them, which sampling does not: use `within` for labels, `cost=conditioned` for numbers; `bias` measures.

    Args:     cost: squared (distance), conditioned, or one's own.
    Raises:   NonFinite for a NaN or an infinity in data, source or cost.
    Example:
        >>> ExactOT().pair(torch.tensor([[0.0], [5.0]]), torch.tensor([[4.0], [1.0]]))
        tensor([[1.],
                [4.]])

    Source:   Tong et al. (2024); Pooladian et al. (2023).
    """

    cost: Cost = field(default_factory=Squared)

    def paired(self, batch: Batch) -> Tensor:
        return batch.taken(assignment(self.cost.between(batch), self.name))


@dataclass(frozen=True)
class Partial(Coupling, name="partial"):
    """The cheapest pairing of a share of the batch; the rest is paired as chance has it.

    Rows that are far from all others do not force long detours on their neighbours. What is left of data and of source
    is independent in order, so it is paired in that order: every row is used once and both marginals are kept.

    Args:     share: of the rows that are paired by cost, in [0, 1].
              cost: as of `exact-ot`.
    Example:
        >>> x, eps = torch.tensor([[0.0], [9.0], [1.0]]), torch.tensor([[-9.0], [1.1], [0.1]])
        >>> Partial(share=0.67).pair(x, eps).flatten()
        tensor([ 0.1000, -9.0000,  1.1000])

    Source:   Chapel et al. (2020), for the extended cost matrix.
    """

    share: float = 0.9
    cost: Cost = field(default_factory=Squared)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.share <= 1, f"partial: share is in [0, 1], got {self.share} (0.9 leaves a tenth to chance).")

    def paired(self, batch: Batch) -> Tensor:
        cost, n = self.cost.between(batch), len(batch)
        left = n - round(self.share * n)
        least, most = cost.amin(), cost.amax()
        wide = cost.new_zeros(n + left, n + left)  # a row that meets one of `left` blanks is left out, for nothing
        wide[:n, :n] = cost - least
        wide[n:, n:] = most - least + 1  # blanks do not meet blanks
        order = assignment(wide, self.name)[:n]
        missing = torch.ones(n, dtype=torch.bool).index_fill_(0, order[order < n], False)
        order[order >= n] = missing.nonzero()[:, 0]
        return batch.taken(order)


@dataclass(frozen=True)
class Within(Coupling, name="within"):
    """Another coupling inside each label: eps stays independent of the label, as sampling has it.

    Args:     base: the coupling of rows with one label.
    Raises:   InvalidArgument without labels: cond is whole numbers (batch,), or a dict with such a "label". Rows whose
              label is hidden (-1) are a label of their own.
    Example:
        >>> x, eps = torch.tensor([[0.0], [5.0], [3.0]]), torch.tensor([[4.0], [2.0], [1.0]])
        >>> Within().pair(x, eps, torch.tensor([0, 1, 0])).flatten()
        tensor([1., 2., 4.])

    Source:   Cheng & Schwing (2025), section 4, for discrete conditions.
    """

    base: Coupling = field(default_factory=ExactOT)

    @property
    def bridge(self) -> float:  # type: ignore[override]
        """That of the base."""
        return self.base.bridge

    @property
    def gathers(self) -> bool:  # type: ignore[override]
        """Whether the base does."""
        return self.base.gathers

    def paired(self, batch: Batch) -> Tensor:
        label, paired = labels(batch.cond, self.name), torch.empty_like(batch.eps)
        for one in torch.unique(label):
            here = (label == one).nonzero()[:, 0].to(batch.eps.device)
            paired[here] = self.base.paired(batch.part(here))
        return paired


def labels(cond: object, who: str) -> Tensor:
    """The labels of a condition; int64 (batch,), on the CPU."""
    label = cond.get("label") if isinstance(cond, Mapping) else cond
    if not isinstance(label, Tensor) or label.is_floating_point() or label.ndim != 1:
        got = f"{label.dtype} {tuple(label.shape)}" if isinstance(label, Tensor) else type(label).__name__
        raise InvalidArgument(
            f"{who} needs labels, whole numbers of shape (batch,), as cond or cond['label']; got {got} "
            "(for numbers use exact-ot:cost=conditioned)."
        )
    return label.cpu().long()
