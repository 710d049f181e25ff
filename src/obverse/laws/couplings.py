"""Laws of who is paired with whom: couplings, and the costs that some of them go by."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.laws.law import demand, law, within
from obverse.laws.problems import draws
from obverse.objective import Cost, Coupling
from obverse.objective.couplings.coupling import Batch

ROUNDS, ROWS = 200, 24  # batches over which a coupling that draws has to keep the source, and their size
FEW = 8  # batches after which one that rearranges is believed
RARE = 4.5  # standard deviations


def _cond(count: int) -> dict[str, Tensor]:
    return {"label": torch.arange(count) % 3, "vector": draws((count, 2), "condition")}


@law("coupling", "it gives each row a source row and changes nothing else")
def _rows(coupling: Coupling) -> str:
    for shape in ((9, 2), (1, 3), (8, 1, 3, 3)):
        x, eps, cond = draws(shape, "x"), draws(shape, "eps"), _cond(shape[0])
        before = [rows.clone() for rows in (x, eps, *cond.values())]
        paired = coupling.pair(x, eps, cond)
        same = all(bool((now == was).all()) for now, was in zip((x, eps, *cond.values()), before, strict=True))
        demand(same, "it writes into its arguments")
        demand(paired.shape == eps.shape and paired.dtype == eps.dtype, f"{shape} becomes {tuple(paired.shape)}")
        strange = int((paired.flatten(1)[:, None] != eps.flatten(1)).any(2).all(1).sum())
        demand(strange == 0, f"{strange} of {len(eps)} rows are no rows of the source")
    return "three shapes"


@law("coupling", "both marginals are kept: source rows are rearranged, or over batches all are drawn alike")
def _marginals(coupling: Coupling) -> str:
    """The data is far from normal, so that what prefers near rows, far rows or low ones shows in the moments."""
    moments, whole = [], True
    for step in range(ROUNDS):
        eps = noise.normal((ROWS, 2), seed=0, purpose="laws: source", step=step, dtype=torch.float64)
        x = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.5, 1.0]], dtype=torch.float64)[torch.arange(ROWS) % 3]
        paired = coupling.pair(x + 0.1 * draws((ROWS, 2), "spread"), eps, _cond(ROWS), seed=1, step=step)
        whole = whole and bool((_sorted(paired) == _sorted(eps)).all())
        if whole and step == FEW:
            return "rearranged"
        mixed = (paired[:, 0] * paired[:, 1]).mean()
        moments.append(torch.stack([*paired.mean(0), *(paired.square().mean(0) - 1), mixed]))
    found = torch.stack(moments)
    off = (found.mean(0) / (found.std(0) / math.sqrt(len(found)))).abs()
    lost = "rows of the source are lost or doubled and its law is not kept"
    demand(bool((off < RARE).all()), f"{lost}: moments are off by {float(off.max()):.3g} standard deviations")
    return f"moments over {len(found)} batches: off by {float(off.max()):.2g} standard deviations"


@law("coupling", "the same batch is paired the same way")
def _repeats(coupling: Coupling) -> str:
    x, eps, cond = draws((12, 3), "x"), draws((12, 3), "eps"), _cond(12)
    first, second = (coupling.pair(x, eps, cond, seed=3, step=5) for _ in range(2))
    demand(bool((first == second).all()), "two calls pair differently: draw with batch.uniform, by seed")
    return "twice"


@law("cost", "it is a finite number for every pair, data rows first")
def _finite(cost: Cost) -> str:
    for shape in ((7, 2), (1, 3), (6, 1, 3, 3)):
        batch = Batch(draws(shape, "x"), draws(shape, "eps"), _cond(shape[0]))
        between = cost.between(batch)
        want = (shape[0], shape[0])
        demand(between.shape == want and between.is_floating_point(), f"{shape} costs {tuple(between.shape)}")
        demand(bool(between.isfinite().all()), f"of {shape} not all are finite")
    return "three shapes"


@law("cost", "what a pair costs goes with the pair")
def _goes(cost: Cost) -> str:
    """Reordering rows, source and condition with their data row, reorders the costs."""
    batch, order = Batch(draws((9, 2), "x"), draws((9, 2), "eps"), _cond(9)), torch.arange(9).flip(0)
    straight, turned = cost.between(batch), cost.between(batch.part(order))
    scale = straight.abs().max().clamp(min=1)
    return within("a cost in another order", turned, straight[order][:, order], 1e-9, scale=scale)


def _sorted(rows: Tensor) -> Tensor:
    return rows[rows[:, 0].argsort()]
