"""Pairs drawn from a plan: entropic transport, and transport that may leave mass behind."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, require
from obverse.objective.couplings.costs import Cost, Squared
from obverse.objective.couplings.coupling import Batch, Coupling
from obverse.objective.couplings.matching import refuse

SWEEPS, PATCH = 2000, 20  # at most; between two looks at how far the rows' sums are off
CLOSE, FAR = 5e-3, 0.1  # largest error of the sums: sweeps end; no plan was found
ABSORB = 100.0  # log of the largest factor kept beside the kernel: products stay far from float64's ends


class Plan(Coupling):
    """Couplings that draw each row's source from a plan: write `plan`.

    The plan is made exact before it is drawn from: rows and columns sum to 1. So x_i takes eps_j with the probability
    P_ij, with replacement, and each eps_j is used once on average: over batches the law of eps is as it was.
    """

    cost: Cost

    @abstractmethod
    def plan(self, cost: Tensor) -> Tensor:
        """Shares of the source rows in each data row, sums about 1; float64 (batch, batch), as is the cost."""

    def paired(self, batch: Batch) -> Tensor:
        cost = self.cost.between(batch).detach().cpu().double()
        refuse(cost, self.name)
        reach = completed(self.plan(cost)).cumsum(1)
        u = batch.uniform("coupling").cpu()[:, None] * reach[:, -1:]
        return batch.taken(torch.searchsorted(reach, u)[:, 0].clamp_(max=len(batch) - 1))


@dataclass(frozen=True)
class Sinkhorn(Plan, name="sinkhorn"):
    """Entropic transport within the batch: between exact-ot (reg -> 0) and independent (reg -> inf).

    Sums of a small batch are noisy, and so is its exact pairing; a blurred one has less of that. It draws each row's
    source with replacement, so both marginals are kept over batches, not within one.

    Args:     reg: regularisation, in units of the mean cost above the least.
              cost: as of `exact-ot`.
    Raises:   InvalidArgument where reg is too small for the sweeps to converge; NonFinite for a NaN or an infinity.
    Example:
        >>> x, eps = torch.tensor([[0.0], [5.0]]), torch.tensor([[4.0], [1.0]])
        >>> Sinkhorn(reg=0.01).pair(x, eps).flatten()
        tensor([1., 4.])

    Source:   Cuturi (2013); Schmitzer (2019), algorithm 2; Altschuler et al. (2017), algorithm 2, for exact sums.
    """

    reg: float = 0.05
    cost: Cost = field(default_factory=Squared)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.name, "reg", self.reg, 0.05)

    def plan(self, cost: Tensor) -> Tensor:
        reg = self.reg * float(cost.mean() - cost.amin())
        return entropic(cost, reg, f"sinkhorn: with reg={self.reg}", "a larger reg such as 0.05")


@dataclass(frozen=True)
class Unbalanced(Plan, name="unbalanced"):
    """Entropic transport that may leave mass where moving it is dear; what it leaves is paired independently.

    The unbalanced plan alone would train on fewer outliers than there are, and start from a source that is not normal.
    Here P + (1 - P1)(1 - Pᵀ1)ᵀ / mass left, with P cut to sums of at most 1, has both marginals: the rows that
    transport gives up on meet, in law, what is left of the source.

    Args:     reg: as of `sinkhorn`.
              stiffness: what it costs to leave a unit of mass, in the same units; large is `sinkhorn`.
              cost: as of `exact-ot`.
    Source:   Chizat et al. (2018), for the sweeps; Altschuler et al. (2017), algorithm 2, for the completion.
    """

    reg: float = 0.05
    stiffness: float = 1.0
    cost: Cost = field(default_factory=Squared)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.name, "reg", self.reg, 0.05)
        positive(self.name, "stiffness", self.stiffness, 1.0)

    def plan(self, cost: Tensor) -> Tensor:
        above = cost - cost.amin()
        reg = self.reg * float(above.mean())
        above = above + reg * math.log(len(cost))  # entropy relative to independent pairs, whose shares are 1/batch
        return _sweeps(above, reg, self.stiffness / (self.stiffness + self.reg))[0]


def completed(plan: Tensor) -> Tensor:
    """A plan with sums of exactly 1: cut where they are larger, and where they are smaller filled up independently."""
    plan = plan / plan.sum(1, keepdim=True).clamp(min=1.0)
    plan = plan / plan.sum(0).clamp(min=1.0)
    rows, columns = (1 - plan.sum(1)).clamp(min=0.0), (1 - plan.sum(0)).clamp(min=0.0)
    left = float(rows.sum())
    return plan + rows[:, None] * columns / left if left > 0 else plan


def _sweeps(cost: Tensor, reg: float, yielding: float) -> tuple[Tensor, float]:
    """Sinkhorn's plan, and how far its sums are off at most; `yielding` 1 insists on sums of 1, less gives way.

    u = -yielding reg log Σ_j exp((v_j - C_ij) / reg), and v alike. Large potentials move into the kernel.
    """
    if reg <= 0:  # all pairs cost the same
        return torch.full_like(cost, 1 / len(cost)), 0.0
    u = cost.amin(1)
    v = (cost - u[:, None]).amin(0)
    fixed, kernel = (u, v), ((u[:, None] + v - cost) / reg).exp()
    before = cost.new_full((len(cost),), math.inf)
    for sweep in range(1, SWEEPS + 1):
        u = yielding * (fixed[0] - reg * (kernel @ ((v - fixed[1]) / reg).exp()).log())
        v = yielding * (fixed[1] - reg * (((u - fixed[0]) / reg).exp() @ kernel).log())
        if max(float((u - fixed[0]).abs().max()), float((v - fixed[1]).abs().max())) > ABSORB * reg:
            fixed, kernel = (u, v), ((u[:, None] + v - cost) / reg).exp()
        if sweep % PATCH == 0:
            plan = kernel * ((u - fixed[0]) / reg).exp()[:, None] * ((v - fixed[1]) / reg).exp()
            sums = plan.sum(1)
            off = float((sums - (1 if yielding == 1 else before)).abs().max())
            before = sums
            if off < CLOSE:
                break
    return plan, off


def entropic(cost: Tensor, reg: float, who: str, fix: str) -> Tensor:
    """The plan of entropic transport; float64 (batch, batch), sums about 1.

    Raises:   InvalidArgument where the sweeps do not converge, beginning with `who` and ending with the fix.
    """
    plan, off = _sweeps(cost, reg, 1.0)
    if not off <= FAR:
        raise InvalidArgument(
            f"{who} the sums of the plan are off by {off:.0%} after {SWEEPS} sweeps ({fix}, or exact-ot, which is the "
            "limit towards 0)."
        )
    return plan


def positive(who: str, name: str, value: float, usual: float) -> None:
    """Refuse a number that is not positive and finite."""
    require(value > 0 and math.isfinite(value), f"{who}: {name} is finite and > 0, got {value} ({usual} is usual).")
