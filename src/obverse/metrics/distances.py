"""How far apart two sets of samples are, by moments, kernels and distances: 0 where the distributions agree.

Sets are tensors (n *data), flattened here and computed in float64 where the second one lies. All but `kid` are
invariant to translation, so both sets are centred first and an offset costs no digits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from obverse.ground.errors import InvalidArgument
from obverse.metrics.sets import pair, steps, total


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
        >>> from obverse.ground.noise import normal
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
        >>> from obverse.ground.noise import normal
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
        wide = distance.square_().div_(-2 * square).exp_()
        middle = wide.square().square_()  # half the width is the fourth power
        wide += middle
        wide += middle.square_().square_()
        return wide.div_(3)

    def others(a: Tensor) -> float:  # a row's kernel with itself is 1 and does not count
        return (total(kernel, a, a) - len(a)) / (len(a) * (len(a) - 1))

    return others(x) + others(y) - 2 * total(kernel, x, y) / (len(x) * len(y))


def kid(x: Tensor, y: Tensor) -> float:
    """Squared maximum mean discrepancy under a cubic kernel, unbiased: the kernel inception distance's formula.

    E k(X, X') + E k(Y, Y') - 2 E k(X, Y)        k(a, b) = (a·b / dimensions + 1)³
    Compares the first three moments. Made for features of a network, whose origin and size it takes as they are (it
    is called KID on Inception's alone); unlike the Fréchet distance it does not fall with n, and by chance it is
    negative. All pairs of rows are used, rather than a mean over random subsets of them.

    Args:     x, y: the sets; (n *data), (m *data).
    Returns:  the discrepancy, in the unit of the data to the sixth power.
    Raises:   as `frechet`.
    Example:
        >>> kid(torch.tensor([[0.0], [0.0]]), torch.tensor([[1.0], [1.0]]))
        7.0

    Source:   Bińkowski, Sutherland, Arbel & Gretton (2018).
    """
    x, y = pair(x, y, centred=False)

    def kernel(products: Tensor) -> Tensor:
        return products.div_(x.shape[1]).add_(1).pow_(3)

    def sum_of(a: Tensor, b: Tensor) -> float:
        return sum(float(kernel(a[rows] @ b.T).sum()) for rows in steps(len(a), len(b)))

    def others(a: Tensor) -> float:  # a row's kernel with itself does not count
        return (sum_of(a, a) - float(kernel(a.square().sum(1)).sum())) / (len(a) * (len(a) - 1))

    return others(x) + others(y) - 2 * sum_of(x, y) / (len(x) * len(y))


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
        return total(lambda distance: distance, a, b) / (len(a) * len(b))

    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


def _factor(x: Tensor) -> Tensor:
    """F with FᵀF = cov(x) and no more rows than columns."""
    factor: Tensor = torch.linalg.qr((x - x.mean(0)) / math.sqrt(len(x) - 1), mode="r").R
    return factor
