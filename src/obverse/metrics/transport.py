"""How far samples have to be carried to become data: Wasserstein-2 distances, exact and along lines."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, require
from obverse.ground.extras import load
from obverse.ground.noise import normal
from obverse.metrics.sets import pair

LARGEST = 2**28  # numbers in a matrix of costs: 2 GiB of float64, 16,384 rows a side


def w2(x: Tensor, y: Tensor) -> float:
    """Wasserstein-2 distance of two sets, exact: the least root mean square way from one to the other.

    (min over plans of Σᵢⱼ Pᵢⱼ |xᵢ - yⱼ|²)^½
    What sliced_w2 approaches along lines. For sets of one size the plan is an assignment (SciPy), at a cost of about
    n³; it falls with n, slowly in many dimensions, so it is read beside real against real at the same n (`against`).

    Args:     x, y: the sets, in one unit; (n *data), (m *data). m other than n needs POT.
    Returns:  the distance, in the unit of the data.
    Raises:   as `frechet`; InvalidArgument beyond n m = 2^28; MissingExtra without POT.
    Example:
        >>> w2(torch.tensor([0.0, 5.0]), torch.tensor([6.0, 2.0]))  # 0 to 2, 5 to 6
        1.5811388300841898

    Source:   Kuhn (1955); Crouse (2016), for SciPy's method.
    """
    x, y = pair(x, y)
    n, m = len(x), len(y)
    require(
        n * m <= LARGEST,
        f"w2 holds one cost for each pair of rows: {n:,} x {m:,} are over {LARGEST:,} (take fewer rows, or sliced_w2).",
    )
    costs = torch.cdist(x, y).square_().cpu().numpy()
    if n == m:
        from scipy.optimize import linear_sum_assignment

        rows, columns = (torch.from_numpy(index) for index in linear_sum_assignment(costs))
        # the costs come from a matrix product, good to find who; these are good to the last digit
        return float((x[rows.to(x.device)] - y[columns.to(y.device)]).square().sum(1).mean().sqrt())
    cost, log = load("ot", extra="transport").emd2([], [], costs, numItermax=100 * (n + m) ** 2, log=True)
    require(log["warning"] is None, f"POT found no optimal plan of {n} rows to {m}: {log['warning']}")
    return math.sqrt(float(cost))


def sliced_w2(x: Tensor, y: Tensor, *, projections: int = 256, seed: int = 0) -> float:
    """Wasserstein-2 distance of two sets along lines, root mean square over random directions.

    (E ∫ |F⁻¹(u) - G⁻¹(u)|² du)^½        F, G: the distributions of the sets' shadows on one line
    Sees every difference between distributions, as transport does, at the cost of sorting. Each line is exact, for
    sets of unequal size too.

    Args:     x, y: the sets, in one unit; (n *data), (m *data).
              projections: how many directions; 256 know the length of a shift to 4 %.
              seed: of the directions; keep it for numbers that are to be compared.
    Returns:  the distance, in the unit of the data; about |shift| / √dimensions for a shift.
    Raises:   as `frechet`; InvalidArgument for projections < 1.
    Example:
        >>> x = normal((50, 1), seed=0, purpose="example")
        >>> round(sliced_w2(x, x + 3), 6)
        3.0

    Source:   Bonneel et al. (2015).
    """
    x, y = pair(x, y)
    if projections < 1:
        raise InvalidArgument(f"sliced_w2 needs projections >= 1, got {projections} (256 is the default).")
    lines = normal((projections, x.shape[1]), seed=seed, purpose="slice", dtype=x.dtype, device=x.device).T
    lines = lines / lines.norm(dim=0)
    n, m = len(x), len(y)
    # both quantile functions are constant between multiples of 1/n and 1/m; counted in units of 1/nm
    edges = torch.cat([torch.arange(n + 1) * m, torch.arange(m) * n]).sort().values.to(x.device)
    at = edges[:-1]
    gap = (x @ lines).sort(0).values[at // m] - (y @ lines).sort(0).values[at // n]
    return math.sqrt(float(edges.diff().double() @ gap.square().mean(1)) / (n * m))
