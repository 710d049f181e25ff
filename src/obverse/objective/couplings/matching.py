"""The cheapest one-to-one pairing, exactly and fast: rough prices first, then few candidates, then a proof."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from statistics import median
from typing import Any

import torch
from torch import Tensor

from obverse.ground.errors import NonFinite

SMALL, MEDIUM = 80, 640  # rows up to which SciPy's dense solver is best alone, and best with prices
COARSE, DISTINCT = (4, 6, 6, 6), 0.7  # sweeps by stage, until so large a share of columns is the likeliest of a row
FINE, MOST = (
    (6, 10, 14, 14),
    (0, 12, 12, 60),
)  # sweeps; candidates a row: where they are more, the next stage knows better
START = 0.16  # regularisation of the first stage, in units of the costs' spread
SQUARINGS = 2  # of the plan, for the next stage: that regularises a fourth as much
LEAST = -60.0  # logarithm of the least share in a plan: what that stands for is never likely, and finite in float32
HUGE = 1e30  # in units of the costs' spread: never paired, and finite in float32
RELAX = 0.8  # how much farther a sweep goes than to sums of 1; a third of the plain sweeps do
LIKELY = 1e-2  # a candidate's share of the mass of its row
SURE, SAME = 1e-6, 1e-13  # relative differences of which float32 and float64 are sure
BITS = 24  # of a weight: sums are exact in float64, and no two rows outbid each other more than 2^24 times
KNOWN = 1e-11  # of the costs of the pairs, after prices are taken off: some costs may be huge, to forbid pairs


def assignment(cost: Tensor, who: str = "") -> Tensor:
    """The permutation of least total cost: row i goes with column order[i].

    Sinkhorn sweeps in float32 give prices u of rows and v of columns. The pairs that its plan finds likely are matched
    by SciPy's sparse solver; relaxing along them gives prices under which the matched ones are free and none is a
    bargain. If no other pair is one either, cost - u - v >= 0 everywhere and the matching is the optimum, by duality;
    else the bargains become candidates, and once more. So the result is the optimum of the costs in float64, whatever
    the sweeps got wrong. Where the candidates admit no matching, and for up to 640 rows, SciPy's dense solver ends it,
    from prices that a few sweeps gave: the nearer they are, the less it has left to do.

    Args:     cost: (n, n), floating; what is added to a whole row or column changes nothing.
              who: asks, for the message.
    Returns:  int64, (n,), on the CPU.
    Raises:   NonFinite naming the first row or column with a NaN or an infinity.
    Example:
        >>> assignment(torch.tensor([[4.0, 1.0], [2.0, 3.0]]))
        tensor([1, 0])

    Source:   Cuturi (2013); Thibault et al. (2021) for over-relaxation; Jonker & Volgenant (1987).
    """
    cost = cost.detach().cpu()
    cost = cost.to(torch.promote_types(cost.dtype, torch.float32))
    refuse(cost, who)
    n = len(cost)
    spread = _spread(cost) if n > SMALL else 0.0
    if not spread > 0:
        return _dense(cost)
    cost = cost / spread
    rough = cost.clamp(max=HUGE).float()
    if n <= MEDIUM:
        early = (
            price
            for stage, (price, plan) in enumerate(_priced(rough, COARSE), 1)
            if stage == len(COARSE) or (stage > 1 and _distinct(plan) >= DISTINCT * n)
        )
        return _dense(cost, next(early))
    for (price, plan), most in zip(_priced(rough, FINE), MOST, strict=True):
        match = _by_candidates(cost, rough, price, plan, most) if most else None
        if match is not None:
            return match
    return _dense(cost, price)


def refuse(cost: Tensor, who: str = "") -> None:
    """Raise NonFinite, naming the row that makes it so, unless all costs are finite."""
    if math.isfinite(float(cost.sum())):
        return
    bad = ~cost.isfinite()
    if bool(bad.any()):
        column = bad.all(0).nonzero()
        row = f"source row {int(column[0])}" if len(column) else f"data row {int(bad.any(1).nonzero()[0])}"
        raise NonFinite(f"{who or 'assignment'}: what {row} costs is not finite; no pairing exists.")


def _spread(cost: Tensor) -> float:
    """Between the quartiles of some of a row, in the middle of some; of all costs their deviation if that is 0."""
    import numpy as np

    n = len(cost)
    some = np.sort(cost[:: n // 8 | 1, :: n // 32 | 1].double().numpy(), 1)  # odd strides: classes may take turns
    quarter = some.shape[1] // 4
    return median((some[:, -1 - quarter] - some[:, quarter]).tolist()) or float(cost.std())


def _dense(cost: Tensor, price: Tensor | None = None) -> Tensor:
    """The optimum by SciPy's dense solver, the sooner for prices; without them where they hide the costs."""
    from scipy.optimize import linear_sum_assignment

    if price is None:
        return torch.from_numpy(linear_sum_assignment(cost.numpy())[1])
    rows, order = linear_sum_assignment((cost - price.double()).numpy())
    lost = abs(price.numpy()).max() * sys.float_info.epsilon
    sure = lost <= KNOWN * abs(cost.numpy()[rows, order]).mean()
    return torch.from_numpy(order) if sure else _dense(cost)


def _distinct(plan: Tensor) -> int:
    """How many columns are the likeliest of a row: the more, the shorter the detours that the solver has to find."""
    return len(set(plan.numpy().argmax(1).tolist()))


def _priced(cost: Tensor, stages: tuple[int, ...]) -> Iterator[tuple[Tensor, Tensor]]:
    """Prices of the columns and the plan they stand for, stage by stage; (n,), (n, n), the latter reused.

    A plan squared is that of half the regularisation, but for its sums: so each stage begins with the plan of the last.
    Long vectors are torch's, on its threads; short ones NumPy's, which takes a third of the time for a call.
    """
    import numpy as np

    plan = cost - cost.amin(1, keepdim=True)
    price = plan.amin(0)
    plan -= price  # every row and column holds a 0, so no sum below is empty
    plan.mul_(-1 / START).clamp_(min=LEAST)
    np.exp(plan.numpy(), out=plan.numpy())
    reg, (a, b, mass) = START, cost.new_empty(3, len(cost))
    factors, sums = (a.numpy(), b.numpy()), mass.numpy()
    for stage, sweeps in enumerate(stages):
        if stage:
            plan.clamp_(min=math.exp(LEAST / 2**SQUARINGS))
            for _ in range(SQUARINGS):
                torch.mul(plan, plan, out=plan)
            reg /= 2**SQUARINGS
        b.fill_(1)
        for sweep in range(1, sweeps + 1):
            for matrix, other, factor in ((plan, b, factors[0]), (plan.T, a, factors[1])):
                torch.mv(matrix, other, out=mass)
                if 1 < sweep < sweeps:
                    _relax(factor, sums)
                else:
                    np.reciprocal(sums, out=factor)
        price = price + reg * b.log()
        yield price, plan.mul_(b).mul_(a[:, None])


def _relax(factor: Any, mass: Any) -> None:
    """Bring q = factor x mass to 1 and beyond, by (far + q) / (1 + far q): about q ** -RELAX, but bounded; in place."""
    import numpy as np

    far = (1 + RELAX) / (1 - RELAX)
    q = factor * mass
    np.add(q, far, out=factor)
    q *= far
    q += 1
    q *= mass
    factor /= q


def _by_candidates(cost: Tensor, rough: Tensor, price: Tensor, plan: Tensor, most: int) -> Tensor | None:
    """The optimum, or None, the plan untouched, where the likely pairs are many or admit no matching; int64 (n,)."""
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching, min_weight_full_bipartite_matching

    n = len(cost)
    edges = (plan >= LIKELY).flatten().nonzero()[:, 0].numpy()
    row, column = _places(edges, n)
    graph = csr_array((np.ones(len(edges), np.int8), (row, column)), (n, n))
    if len(edges) > most * n or bool((maximum_bipartite_matching(graph, perm_type="column") < 0).any()):
        return None
    exact, v = cost.double().numpy().reshape(-1), price.double().numpy()
    size = float(rough.abs().max())
    while True:
        row, column = _places(edges, n)
        weight = exact[edges]
        same = SAME * float(np.abs(weight).mean())  # of the pairs that matter: others may be huge
        reduced = weight - v[column]
        reduced -= np.minimum.reduceat(reduced, np.searchsorted(row, np.arange(n)))[row]
        graph = csr_array((_on_grid(reduced + (reduced.mean() or 1.0)), (row, column)), (n, n))  # 0 would be no edge
        match = min_weight_full_bipartite_matching(graph)[1]
        proof = _proof(row, column, weight, match, v, same)
        if proof is None:
            return _dense(cost, price)
        u, v = proof
        torch.sub(rough, torch.from_numpy(v).float(), out=plan)
        plan -= torch.from_numpy(u).float()[:, None]
        near = (plan < SURE * size).flatten().nonzero()[:, 0].numpy()  # of all others float32 is sure
        bargains = near[exact[near] - u[near // n] - v[near % n] < -2 * same]
        if not len(bargains):
            return torch.from_numpy(match).long()
        edges = np.union1d(edges, bargains)


def _places(edges: Any, n: int) -> tuple[Any, Any]:
    """Rows and columns of entries that are numbered along the rows; int32, as SciPy's matchings want them."""
    import numpy as np

    row, column = np.divmod(edges, n)
    return row.astype(np.int32), column.astype(np.int32)


def _on_grid(weight: Any) -> Any:
    """Weights as multiples of a power of two, so that the solver's sums and differences of them are exact.

    It lets rows bid for columns until two of their prices are equal. Where rounding keeps these apart by a last digit,
    two rows outbid each other by that digit for ever. Where a coarser weight hides the optimum, the proof fails.
    """
    import numpy as np

    unit = 2.0 ** (np.ceil(np.log2(weight.max())) - BITS)
    return np.maximum(np.round(weight / unit), 1) * unit


def _proof(row: Any, column: Any, weight: Any, match: Any, v: Any, same: float) -> Any:
    """Prices u, v under which the matched edges are free and no edge is a bargain; None if rounding hides them.

    Source:   Bellman (1958), Ford (1956): lower what an edge allows to be lowered, until none does.
    """
    import numpy as np

    by_column = np.argsort(column, kind="stable")
    row, column, weight = row[by_column], column[by_column], weight[by_column]
    own, chosen = np.empty_like(v), match[row] == column
    own[row[chosen]] = weight[chosen]
    step, start, of = weight - own[row], np.searchsorted(column, np.arange(len(v))), match[row]
    for _ in range(2 * len(v)):
        lower = np.minimum(np.minimum.reduceat(step + v[of], start), v)
        if bool((v - lower <= same).all()):
            return own - v[match], v
        v = lower
    return None
