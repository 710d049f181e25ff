"""Samples beside their nearest neighbours: are they new, and are they what they were asked to be?"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import divide
from obverse.metrics.compare import Measured
from obverse.metrics.halves import interval, splits
from obverse.metrics.sets import blocks, pair


@dataclass(frozen=True)
class Nearest:
    """For each sample: how far its nearest neighbour is, and which row that is; (n), (n)."""

    distance: Tensor
    index: Tensor


def nearest(x: Tensor, to: Tensor, *, exclude_self: bool = False) -> Nearest:
    """The nearest row of another set, for each sample: Euclidean, exact, in bounded memory.

    Args:     x: the samples; (n *data).
              to: the set searched, such as the training data; (m *data).
              exclude_self: x and `to` are one set, and row i may not answer for itself (leave one out).
    Returns:  distance, in the unit of the data (float64; a copy is at 0), and index into `to`; (n), (n).
    Raises:   InvalidArgument for sets that cannot be compared; NonFinite for a NaN or an infinity.
    Example:
        >>> found = nearest(torch.tensor([[1.0], [9.0]]), torch.tensor([[0.0], [5.0], [7.0]]))
        >>> found.distance.tolist(), found.index.tolist()
        ([1.0, 2.0], [0, 2])
    """
    if exclude_self and x.shape != to.shape:
        raise InvalidArgument(
            f"exclude_self means that x and `to` are one set: got shapes {tuple(x.shape)} and {tuple(to.shape)} "
            "(leave exclude_self out to compare two sets)."
        )
    x, to = pair(x, to, names=("x", "to"), least=2 if exclude_self else 1)
    index = _neighbours(x, to, 1, exclude_self)[:, 0]
    # the block's distances come from a matrix product, good to find who; this one is good to the last digit
    return Nearest((x - to[index]).norm(dim=1), index)


def novelty(samples: Tensor, train: Tensor, held_out: Tensor) -> float:
    """How new samples are: their median distance to the training data over that of held-out data.

    1 means as new as data the model has not seen, near 0 means copies, above 1 means off the data.

    Args:     samples: of the model; (n *data).
              train: what it was trained on; (m *data).
              held_out: real data it was not trained on; (k *data).
    Returns:  the ratio, without unit.
    Raises:   as `nearest`; InvalidArgument when half of held_out are copies of training data.
    Example:
        >>> x = torch.arange(12.0).reshape(12, 1)
        >>> novelty(x[:6], train=x[:6], held_out=x[6:]), novelty(x[6:], train=x[:6], held_out=x[6:])
        (0.0, 1.0)
    """
    return _newer(nearest(samples, train).distance, _usual(train, held_out))


def memorisation(samples: Tensor, train: Tensor, held_out: Tensor, *, bootstrap: int = 100, seed: int = 0) -> Measured:
    """`novelty` with its interval, beside the same for real data: one half of held_out for the samples, over the other.

    Args:     samples, train, held_out: as of `novelty`.
              bootstrap, seed: halves of samples and held_out for the interval, and which; train stays whole.
    Returns:  the ratio, near 0 for copies; equal to the floor is as new as real data.
    Raises:   as `novelty`; InvalidArgument for fewer than 4 samples or held-out rows.
    Example:
        >>> x = torch.arange(0, 24, 2.0).reshape(12, 1)
        >>> memorisation(x[:8] + 0.1, train=x, held_out=x + 0.5).value.__round__(6)
        0.2
    """
    made, usual = nearest(samples, train).distance, _usual(train, held_out)
    n, m = len(made), len(usual)
    if min(n, m) < 4:
        raise InvalidArgument(f"An interval needs at least 4 samples and 4 held-out rows, got {n} and {m}.")
    value = _newer(made, usual)
    ends = interval(lambda i, j: _newer(made[i], usual[j]), (n, m), value, count=bootstrap, seed=seed)
    floors = torch.tensor([_newer(usual[o[: m // 2]], usual[o[m // 2 :]]) for o in splits(m, seed)])
    return Measured.of("memorisation", value, ends, floors, (n, m), "equal")


def _usual(train: Tensor, held_out: Tensor) -> Tensor:
    """How far data outside train are from it; not mostly copies."""
    distance = nearest(held_out, train).distance
    if distance.quantile(0.5) == 0:
        raise InvalidArgument("held_out is data outside train, but half of its rows or more are copies of train's.")
    return distance


def _newer(made: Tensor, usual: Tensor) -> float:
    """The ratio of two medians."""
    return float(divide(made.quantile(0.5), usual.quantile(0.5)))


def nearest_neighbour_accuracy(x: Tensor, labels: Tensor, real: Tensor, real_labels: Tensor, k: int = 3) -> float:
    """Share of samples that a k-nearest-neighbour classifier of real data gives the class they were asked for.

    Each sample takes the commonest class of the k nearest real rows; between equals, the smallest label.

    Args:     x: samples; (n *data).
              labels: the class each was asked for; whole numbers, (n).
              real: real data; (m *data).
              real_labels: their classes; whole numbers, (m).
              k: neighbours that vote; 3 outvotes one odd neighbour and stays local.
    Returns:  the share, in [0, 1].
    Raises:   InvalidArgument for labels that do not fit or k outside 1 ... m; NonFinite for a NaN or an infinity.
    Example:
        >>> real = torch.tensor([[0.0], [1.0], [8.0], [9.0]])
        >>> classes = torch.tensor([4, 4, 7, 7])
        >>> nearest_neighbour_accuracy(torch.tensor([[2.0], [6.0]]), torch.tensor([4, 4]), real, classes)
        0.5

    Source:   Fix & Hodges (1951).
    """
    x, real = pair(x, real, names=("x", "real"), least=1)
    for name, values, rows in (("labels", labels, x), ("real_labels", real_labels, real)):
        if values.shape != rows.shape[:1] or values.is_floating_point():
            raise InvalidArgument(
                f"{name} is one whole number for each of {len(rows)} rows, got {values.dtype} of {tuple(values.shape)}."
            )
    if not isinstance(k, Integral) or not 1 <= k <= len(real):
        raise InvalidArgument(f"k counts neighbours among {len(real)} real rows: expected 1 ... {len(real)}, got {k}.")
    classes, which = torch.unique(real_labels.to(real.device), return_inverse=True)
    votes = torch.nn.functional.one_hot(which)[_neighbours(x, real, k)].sum(1)
    return float((classes[votes.argmax(1)] == labels.to(real.device)).double().mean())


def _neighbours(x: Tensor, to: Tensor, k: int, exclude_self: bool = False) -> Tensor:
    """The k nearest rows of `to`, nearest first; (n, k)."""
    found = []
    for start, distance in blocks(x, to):
        if exclude_self:
            distance.diagonal(start).fill_(torch.inf)
        found.append(distance.topk(k, largest=False).indices)
    return torch.cat(found)
