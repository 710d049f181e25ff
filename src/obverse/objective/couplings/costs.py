"""What it costs to pair a data row with a source row: the hook for one's own idea of near."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, NonFinite, require
from obverse.ground.families import Family
from obverse.ground.numerics import exact, finite
from obverse.ground.shapes import bad_rows
from obverse.nets.condition import Cond
from obverse.objective.couplings.coupling import Batch

EXACT = 64  # dimensions up to which products in float64 cost nothing that one would notice


class Cost(Family, family="cost"):
    """The price of every pair of a batch.

    To add one, write `between`; a class in a module of one's own, with a name, is found in specs too:
    `exact-ot:cost=mine`. A function will do for one run: `ExactOT(f)`.

    Example:
        >>> Cost.of(torch.cdist).name
        'function'
    """

    @classmethod
    def of(cls, spec: str | Self | Callable[[Tensor, Tensor], Tensor]) -> Self:
        """A member from its spec or from a function of (x, eps), or the member itself."""
        if isinstance(spec, str | Cost | type) or not callable(spec):
            return super().of(spec)  # type: ignore[arg-type]
        made: Self = FromFunction(spec)  # type: ignore[assignment]
        return made

    @abstractmethod
    def between(self, batch: Batch) -> Tensor:
        """What pairing data row i with source row j costs; finite, floating (batch, batch)."""


class Squared(Cost, name="squared"):
    """Squared Euclidean distance.

    Example:
        >>> Squared().between(Batch(torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [5.0]])))
        tensor([[ 0., 16.],
                [ 4.,  4.]], dtype=torch.float64)
    """

    def between(self, batch: Batch) -> Tensor:
        x, eps = _matrix(batch.x), _matrix(batch.eps)
        centre = x.mean(0)  # fewer digits are lost about it
        x, eps = x - centre, eps - centre
        ends = x.square().sum(1, keepdim=True), eps.square().sum(1)
        if not math.isfinite(float(ends[0].sum() + ends[1].sum())):
            _refuse(batch.x, "data")
            _refuse(batch.eps, "source")
        left, right = torch.cat([x, ends[0]], 1), torch.cat([-2 * eps, torch.ones_like(ends[0])], 1)
        return torch.addmm(ends[1], left, right.T)  # one pass over (batch, batch): |x|² - 2 x·eps + |eps|²


@dataclass(frozen=True)
class Conditioned(Cost, name="conditioned"):
    """Squared distance plus a weight times how far apart conditions are: transport within like conditions.

    |x_i - eps_j|² + w d(c_i, c_j)        c_j: the condition of the data row that eps_j was drawn with
    Plain transport makes eps depend on the condition, but sampling draws it without. A row that must take its source
    from rows of a like condition leaves it as it was. w is found anew in each batch: the smallest for which no more
    than `ratio` of all pairs are cheaper than the pair that eps_j came in. With ratio -> 0 pairs stay as they come.

    Args:     ratio: in (0, 1); smaller keeps the condition better and straightens less.
              weight: w itself, in units of distance over condition, instead of a ratio. For labels `within` is exact.
    d is the squared distance of vectors, 1 for labels that differ, the sum over a dict's parts, each over its mean.
    Source:   Cheng & Schwing (2025), section 4.
    """

    ratio: float = 0.05
    weight: float | None = None

    def __post_init__(self) -> None:
        require(0 < self.ratio < 1, f"conditioned: ratio is in (0, 1), got {self.ratio} (0.05 is usual).")
        if self.weight is not None and not (self.weight >= 0 and finite(self.weight)):
            raise InvalidArgument(f"conditioned: weight is finite and >= 0, got {self.weight} (or leave it to ratio).")

    def between(self, batch: Batch) -> Tensor:
        distance = Squared().between(batch)
        apart = apartness(batch.cond).to(distance)
        weight = self._found(distance, apart) if self.weight is None else self.weight
        return distance.add_(apart, alpha=weight)

    def _found(self, distance: Tensor, apart: Tensor) -> float:
        """Pair (i, j) is cheaper than (j, j) while w < (d_jj - d_ij) / apart_ij: w is a quantile of these bounds."""
        own = distance.diagonal()
        bound = (own - distance).div_(apart)  # where conditions are alike: any w, or none (0 / 0)
        bound.nan_to_num_(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
        bounds = bound.cpu().numpy().reshape(-1)
        last = max(0, len(bounds) - int(self.ratio * len(bounds)) - 1)
        bounds.partition(last)  # in place, and a ninth of the time of kthvalue
        at = float(bounds[last])
        if at == math.inf:  # conditions repeat so often that no weight reaches the ratio
            unlike = apart[apart > 0]  # one pair across costs more than all others can save: pair within conditions
            return 2 * float((own - distance.amin(0)).sum() / unlike.min()) if len(unlike) else 0.0
        return max(at, 0.0)


@dataclass(frozen=True)
class FromFunction(Cost, name="function"):
    """Any function of (x, eps): (batch *data) twice to (batch, batch)."""

    function: Callable[[Tensor, Tensor], Tensor]

    def between(self, batch: Batch) -> Tensor:
        cost, n = self.function(batch.x, batch.eps), len(batch)
        if not isinstance(cost, Tensor) or cost.shape != (n, n) or not cost.is_floating_point():
            got = f"{cost.dtype} {tuple(cost.shape)}" if isinstance(cost, Tensor) else type(cost).__name__
            raise InvalidArgument(f"A cost is floating and ({n}, {n}) for {n} rows, got {got} (data rows first).")
        return cost


def apartness(cond: Cond) -> Tensor:
    """How far apart the conditions of every two rows are; float64 (batch, batch)."""
    if cond is None or (isinstance(cond, Mapping) and not cond):
        raise InvalidArgument(f"This cost looks at conditions, but cond is {cond} (pass cond, or use cost=squared).")
    if isinstance(cond, Mapping):
        parts = [apartness(value) for value in cond.values()]
        return torch.stack([part / part.mean().clamp(min=torch.finfo(part.dtype).tiny) for part in parts]).sum(0)
    if not cond.is_floating_point():
        return exact((cond.reshape(len(cond), -1)[:, None] != cond.reshape(len(cond), -1)).any(2))
    values = exact(cond.reshape(len(cond), -1))
    if values.shape[1] == 1:  # a fourth of the time
        return (values - values.T).square_()
    return torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist").square()


def _matrix(rows: Tensor) -> Tensor:
    flat = rows.detach().reshape(len(rows), -1)
    return exact(flat) if flat.shape[1] <= EXACT else flat.to(torch.promote_types(flat.dtype, torch.float32))


def _refuse(rows: Tensor, what: str) -> None:
    if bad := bad_rows(rows):
        raise NonFinite(f"Row {bad[0]} of the {what} is not finite; no pairing exists.")
