"""The cheapest one-to-one pairing, exactly and fast: rough prices first, then few candidates, then a proof."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from obverse.ground.errors import NonFinite

SMALL, MEDIUM = 96, 640  # rows up to which SciPy's dense solver is best alone, and best with prices
COARSE = ((0.1, 8, 0), (0.02, 10, 0))  # regularisation in units of the costs' spread, sweeps, most candidates a row
FINE = ((0.1, 10, 12), (0.02, 15, 12), (0.003, 20, 60))  # where candidates are more, the next stage knows better
HUGE = 1e30  # in units of the costs' spread: never paired, and finite in float32
RELAX = 0.7  # how much farther a sweep goes than to sums of 1; a third of the plain sweeps do
LIKELY = 1e-2  # a candidate's share of the mass of its row
SURE, SAME = 1e-6, 1e-13  # relative differences of which float32 and float64 are sure


def assignment(cost: Tensor, who: str = "") -> Tensor:
    """The permutation of least total cost: row i goes with column order[i].

    Sinkhorn sweeps in float32 give prices u of rows and v of columns. The pairs that its plan finds likely are matched
    by SciPy's sparse solver; relaxing along them gives prices under which the matched ones are free and none is a
    bargain. If no other pair is one either, cost - u - v >= 0 everywhere and the matching is the optimum, by duality;
    else the bargains become candidates, and once more. So the result is the optimum of the costs in float64, whatever
    the sweeps got wrong. Where the candidates admit no matching, and for few rows, SciPy's dense solver ends it.

    Args:     cost: (n, n), floating; what is added to a whole row or column changes nothing.
              who: asks, for the message.
    Returns:  int64, (n,), on the CPU.
    Raises:   NonFinite naming the first row or column with a NaN or an infinity.
    Example:
        >>> assignment(torch.tensor([[4.0, 1.0], [2.0, 3.0]]))
        tensor([1, 0])

    Source:   Cuturi (2013); Thibault et al. (2021) for over-relaxation; Jonker & Volgenant (1987).
    """
    from scipy.optimize import linear_sum_assignment

    cost = cost.detach().cpu()
    refuse(cost, who)
    spread = _spread(cost) if len(cost) > SMALL else 0.0
    price = cost.new_zeros(len(cost))
    if spread > 0:
        cost = cost / spread
        rough = cost.clamp(max=HUGE).float()
        for price, plan, most in _priced(rough, COARSE if len(cost) <= MEDIUM else FINE):
            match = _by_candidates(cost, rough, price, plan, most) if most else None
            if match is not None:
                return torch.from_numpy(match).long()
    reduced = cost.double() - price.double()
    reduced -= reduced.amin(1, keepdim=True)
    return torch.from_numpy(linear_sum_assignment(reduced.numpy())[1])


def refuse(cost: Tensor, who: str = "") -> None:
    """Raise NonFinite, naming the row that makes it so, unless all costs are finite."""
    if bool(cost.sum().isfinite()):
        return
    bad = ~cost.isfinite()
    if bool(bad.any()):
        column = bad.all(0).nonzero()
        row = f"source row {int(column[0])}" if len(column) else f"data row {int(bad.any(1).nonzero()[0])}"
        raise NonFinite(f"{who or 'assignment'}: what {row} costs is not finite; no pairing exists.")


def _spread(cost: Tensor) -> float:
    """Between the quartiles of a row, in the middle of some; of all costs their standard deviation if that is 0."""
    some, n = cost[:: len(cost) // 8].sort(1).values, len(cost)
    return float((some[:, 3 * n // 4] - some[:, n // 4]).median()) or float(cost.std())


def _priced(cost: Tensor, stages: tuple[tuple[float, int, int], ...]) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Prices of the columns and the plan they stand for, stage by stage; (n,), (n, n), the latter reused."""
    price, plan = cost.new_zeros(len(cost)), torch.empty_like(cost)
    for reg, sweeps, most in stages:
        torch.sub(cost, price, out=plan)
        plan -= plan.amin(1, keepdim=True)
        least = plan.amin(0)
        plan -= least  # every row and column holds a 0, so no sum below is empty
        kernel = plan.mul_(-1 / reg).clamp_(min=-80.0).exp_()  # denormal numbers would be slow
        a = kernel.sum(1).reciprocal_()
        b = (a @ kernel).reciprocal_()
        for sweep in range(2, sweeps + 1):
            beyond = RELAX if sweep < sweeps else 0.0
            a = _scaled(a, kernel @ b, beyond)
            b = _scaled(b, a @ kernel, beyond)
        price = price + least + reg * b.log()
        yield price, plan.mul_(b).mul_(a[:, None]), most


def _scaled(factor: Tensor, mass: Tensor, beyond: float) -> Tensor:
    """What brings factor x mass to 1, and beyond that by a power of the step, which is kept within a factor of 2."""
    full = mass.reciprocal_()
    return full.mul_((full / factor).clamp_(0.5, 2.0).pow_(beyond)) if beyond else full


def _by_candidates(cost: Tensor, rough: Tensor, price: Tensor, plan: Tensor, most: int) -> Any:
    """The optimum, or None where the likely pairs are many or admit no matching; int64 array (n,)."""
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching, min_weight_full_bipartite_matching

    n = len(cost)
    edges = (plan >= LIKELY).flatten().nonzero()[:, 0].numpy()
    graph = csr_array((np.ones(len(edges), np.int8), np.divmod(edges, n)), (n, n))
    if len(edges) > most * n or bool((maximum_bipartite_matching(graph, perm_type="column") < 0).any()):
        return None
    exact, v = cost.double().numpy().reshape(-1), price.double().numpy()
    size = float(rough.abs().max())
    while True:
        row, column = np.divmod(edges, n)
        weight = exact[edges]
        same = SAME * float(np.abs(weight).mean())  # of the pairs that matter: others may be huge
        reduced = weight - v[column]
        reduced -= np.minimum.reduceat(reduced, np.searchsorted(row, np.arange(n)))[row]
        graph = csr_array((reduced + (reduced.mean() or 1.0), (row, column)), (n, n))  # a stored 0 would be no edge
        match = min_weight_full_bipartite_matching(graph)[1]
        proof = _proof(row, column, weight, match, v, same)
        if proof is None:
            return None
        u, v = proof
        torch.sub(rough, torch.from_numpy(v).float(), out=plan)
        plan -= torch.from_numpy(u).float()[:, None]
        near = (plan < SURE * size).flatten().nonzero()[:, 0].numpy()  # of all others float32 is sure
        bargains = near[exact[near] - u[near // n] - v[near % n] < -2 * same]
        if not len(bargains):
            return match
        edges = np.union1d(edges, bargains)


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
