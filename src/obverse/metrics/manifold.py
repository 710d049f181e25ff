"""Quality and variety apart: how much of the samples lies among the data, how much of the data among the samples.

Both sets are drawn as balls: around each row, out to its k-th nearest neighbour in its own set. Nothing here is 0 where
the distributions agree; each is read beside its value for real against real at the same n (`against`).
"""

from __future__ import annotations

from numbers import Integral

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.metrics.sets import blocks, pair


def precision(x: Tensor, y: Tensor, *, k: int = 3) -> float:
    """Share of samples inside a ball of the data: how many of them could be real.

    One outlier of the data has a ball so large that it takes in anything; `density` counts balls instead.

    Args:     x: samples; (n *data).
              y: data; (m *data).
              k: which neighbour a ball reaches to, k < m; 3 as in the paper.
    Returns:  the share, in [0, 1].
    Raises:   as `frechet`; InvalidArgument for k outside 1 ... m - 1.
    Example:
        >>> x, y = torch.tensor([1.4, 3.5]), torch.tensor([0.0, 1.0, 2.0])
        >>> precision(x, y, k=1), round(recall(x, y, k=1), 6)  # 3.5 is in no ball of y; x's own hold 0 ... 3.5
        (0.5, 1.0)

    Source:   Kynkäänniemi, Karras, Laine, Lehtinen & Aila (2019).
    """
    x, y = pair(x, y)
    radius = _radii(y, k)
    return sum(int((distance <= radius).any(1).sum()) for _, distance in blocks(x, y)) / len(x)


def recall(x: Tensor, y: Tensor, *, k: int = 3) -> float:
    """Share of data inside a ball of the samples: how much of it the model could have made.

    Args, Returns, Raises, Source: as `precision`, with k < n.
    """
    return precision(y, x, k=k)


def density(x: Tensor, y: Tensor, *, k: int = 5) -> float:
    """How many balls of the data a sample lies in, over k: precision that outliers cannot fool.

    Args:     x: samples; (n *data).
              y: data; (m *data).
              k: which neighbour a ball reaches to, k < m; 5 as in the paper.
    Returns:  the mean count over k: 1 on average where the distributions agree, above where samples keep to the
              densest data.
    Raises:   as `precision`.
    Example:
        >>> density(torch.tensor([0.5, 0.6]), torch.tensor([0.0, 1.0, 2.0]), k=1)  # each in the balls of 0 and of 1
        2.0

    Source:   Naeem, Oh, Uh, Choi & Yoo (2020).
    """
    x, y = pair(x, y)
    radius = _radii(y, k)
    return sum(int((distance <= radius).sum()) for _, distance in blocks(x, y)) / (k * len(x))


def coverage(x: Tensor, y: Tensor, *, k: int = 5) -> float:
    """Share of the data's balls that hold a sample: recall measured with the data's balls, not with the samples'.

    Args:     x: samples; (n *data).
              y: data; (m *data).
              k: which neighbour a ball reaches to, k < m; 5 as in the paper.
    Returns:  the share, in [0, 1]; 1 - 2⁻ᵏ on average where the distributions agree and n = m is large.
    Raises:   as `precision`.
    Example:
        >>> coverage(torch.tensor([0.5, 0.6]), torch.tensor([0.0, 1.0, 5.0, 6.0]), k=1)
        0.5

    Source:   Naeem, Oh, Uh, Choi & Yoo (2020).
    """
    x, y = pair(x, y)
    radius = _radii(y, k)
    return sum(
        int((distance <= radius[start : start + len(distance), None]).any(1).sum()) for start, distance in blocks(y, x)
    ) / len(y)


def _radii(y: Tensor, k: int) -> Tensor:
    """The distance of each row to its k-th nearest other row; (m)."""
    if not isinstance(k, Integral) or not 1 <= k < len(y):
        raise InvalidArgument(f"k counts neighbours among {len(y)} rows: expected 1 ... {len(y) - 1}, got {k}.")
    radii = []
    for start, distance in blocks(y, y):
        distance.diagonal(start).fill_(torch.inf)
        radii.append(distance.topk(k, largest=False).values[:, -1])
    return torch.cat(radii)
