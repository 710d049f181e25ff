"""How far apart two sets of samples are: four numbers, 0 where the distributions agree.

Sets are tensors (n *data), flattened here and computed in float64 where the second one lies. All four are invariant
to translation, so both sets are centred first and an offset costs no digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from obverse.ground.errors import InvalidArgument, NonFinite
from obverse.ground.noise import normal

ENTRIES = 2**24  # distances held at once: 128 MiB of float64


def frechet(x: Tensor, y: Tensor) -> float:
    """Squared Fréchet distance between the Gaussian fits of two sets.

    |m₁ - m₂|² + tr(S₁ + S₂ - 2 (S₁^½ S₂ S₁^½)^½)
    The usual score of image samples: on network features it is called FID; on raw data it sees means and covariances
    and nothing beyond. It falls with n, so it is read beside real against real at the same n (`against`). With
    S = FᵀF it is min |F₁ - Q F₂|² over orthogonal Q: no matrix root, and singular covariances (constant pixels,
    fewer samples than dimensions) are exact.

    Args:     x, y: the sets, in one unit, at least 2 rows each; (n *data), (m *data).
    Returns:  the distance, in the unit of the data squared; covariances are divided by n - 1.
    Raises:   InvalidArgument for sets that cannot be compared; NonFinite for a NaN or an infinity.
    Example:
        >>> x = normal((100, 3), seed=0, purpose="example")
        >>> round(frechet(x, x + 2), 6)
        12.0

    Source:   Dowson & Landau (1982); Masarotto, Panaretos & Zemel (2019) for the Procrustes form.
    """
    x, y = pair(x, y)
    f, g = pad_sequence([_factor(x), _factor(y)], batch_first=True)
    u, _, vh = torch.linalg.svd(f @ g.T)
    return float((x.mean(0) - y.mean(0)).square().sum() + (f - u @ vh @ g).square().sum())


def mmd(x: Tensor, y: Tensor) -> float:
    """Squared maximum mean discrepancy under a mixture of Gaussian kernels, unbiased.

    E k(X, X') + E k(Y, Y') - 2 E k(X, Y)        k(a, b) = mean over w = s, s/2, s/4 of exp(-|a - b|² / 2w²)
    Sees every difference between distributions, not only two moments. Its mean is 0 where they are equal, so it does
    not fall with n, and by chance it is negative. s is the root mean square distance of two rows of y (the median
    heuristic in one pass); the narrower kernels see shape, to which s alone is nearly blind in many dimensions.

    Args:     x, y: the sets, y being the reference that sets the widths; (n *data), (m *data).
    Returns:  the discrepancy, without unit, at most 2.
    Raises:   as `frechet`; InvalidArgument when all rows of y are equal.
    Example:
        >>> x = normal((200, 3), seed=0, purpose="example")
        >>> mmd(x[:100], x[100:]) < 0.02 < mmd(x[:100], x[100:] + 1)
        True

    Source:   Gretton et al. (2012), lemma 6 and section 8; Li, Swersky & Zemel (2015) for the mixture.
    """
    x, y = pair(x, y)
    square = 2 * float(y.var(0).sum())  # s²
    if square == 0:
        raise InvalidArgument("y sets the kernels' widths by the spread of its rows, but they are all equal.")

    def kernel(distance: Tensor) -> Tensor:
        wide = distance.square().div_(-2 * square).exp_()
        middle = wide.square().square_()  # half the width is the fourth power
        return (wide + middle + middle.square().square_()) / 3

    def others(a: Tensor) -> float:  # a row's kernel with itself is 1 and does not count
        return (_total(kernel, a, a) - len(a)) / (len(a) * (len(a) - 1))

    return others(x) + others(y) - 2 * _total(kernel, x, y) / (len(x) * len(y))


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


def energy_distance(x: Tensor, y: Tensor) -> float:
    """Energy distance of two sets: how much farther apart strangers are than family.

    2 E|X - Y| - E|X - X'| - E|Y - Y'|
    Sees every difference between distributions and has nothing to tune. Never negative; like the Fréchet distance it
    falls with n. scipy's one-dimensional `energy_distance` is its root.

    Args:     x, y: the sets, in one unit; (n *data), (m *data).
    Returns:  the distance, in the unit of the data.
    Raises:   as `frechet`.
    Example:
        >>> energy_distance(torch.zeros(2, 3), torch.full((2, 3), 2.0)) == 4 * 3**0.5
        True

    Source:   Székely & Rizzo (2013).
    """
    x, y = pair(x, y)

    def mean(a: Tensor, b: Tensor) -> float:
        return _total(lambda distance: distance, a, b) / (len(a) * len(b))

    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


def pair(x: Tensor, y: Tensor, *, names: tuple[str, str] = ("x", "y"), least: int = 2) -> tuple[Tensor, Tensor]:
    """Two sets as float64 matrices, checked, on the second one's device, centred at its mean.

    Args:     x, y: (n *data), (m *data).
              names: what the caller calls them, for the messages.
              least: the fewest rows a set may have.
    Raises:   InvalidArgument for too few rows, other data shapes, or whole numbers; NonFinite, naming the first row.
    """
    for name, values in zip(names, (x, y), strict=True):
        if not values.is_floating_point():
            raise InvalidArgument(f"{name} is a floating-point tensor, got {values.dtype} (convert: {name}.float()).")
        if values.ndim == 0 or len(values) < least or values.numel() == 0:
            raise InvalidArgument(
                f"{name} needs at least {least} samples, one a row, of at least one number; "
                f"got the shape {tuple(values.shape)}."
            )
    if x.shape[1:] != y.shape[1:]:
        raise InvalidArgument(
            f"{names[0]} and {names[1]} hold the same kind of data: got {tuple(x.shape[1:])} and {tuple(y.shape[1:])} "
            "for one sample (resize or reshape one of them)."
        )
    for name, values in zip(names, (x, y), strict=True):
        bad = ~values.isfinite().reshape(len(values), -1).all(1)
        if bad.any():
            raise NonFinite(
                f"{name} holds a NaN or an infinity, first in row {int(bad.nonzero()[0])} of {len(values)}."
            )
    a = x.detach().to(y.device, torch.float64).reshape(len(x), -1)
    b = y.detach().double().reshape(len(y), -1)
    return a - b.mean(0), b - b.mean(0)


def blocks(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Euclidean distances of rows of x (from a first one on) to all rows of y, a block at a time."""
    step = max(1, ENTRIES // len(y))
    for start in range(0, len(x), step):
        yield start, torch.cdist(x[start : start + step], y)


def _factor(x: Tensor) -> Tensor:
    """F with FᵀF = cov(x) and no more rows than columns."""
    factor: Tensor = torch.linalg.qr((x - x.mean(0)) / math.sqrt(len(x) - 1), mode="r").R
    return factor


def _total(f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """The sum of f(distance) over all pairs of rows."""
    return sum(float(f(distance).sum()) for _, distance in blocks(x, y))
