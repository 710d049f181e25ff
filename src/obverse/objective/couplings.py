"""Couplings: which source sample is paired with which data sample; they know no path (T52)."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from obverse.ground.errors import NonFinite
from obverse.ground.families import Family


class Coupling(Family, family="coupling"):
    """A joint law of data and source with both marginals kept."""

    @abstractmethod
    def pair(self, x: Tensor, eps: Tensor) -> Tensor:
        """The source samples in the order that pairs them with x, x staying as it is.

        Args:     x, eps: (batch *data).
        Returns:  a rearrangement of the rows of eps.
        """


class Independent(Coupling, name="independent"):
    """Every pair as it comes: diffusion and plain flow matching."""

    def pair(self, x: Tensor, eps: Tensor) -> Tensor:
        return eps


class ExactOT(Coupling, name="exact-ot"):
    """The pairing of least total squared distance within the batch: straighter paths, fewer steps.

    Exact and without replacement, so both marginals of the batch are kept. With conditions it makes eps depend on
    them; prefer `independent` when guidance matters.
    Source: Tong et al. (2023); Pooladian et al. (2023).

    Example:
        >>> ExactOT().pair(torch.tensor([[0.0], [5.0]]), torch.tensor([[4.0], [1.0]]))
        tensor([[1.],
                [4.]])
    """

    def pair(self, x: Tensor, eps: Tensor) -> Tensor:
        from scipy.optimize import linear_sum_assignment

        gains = (x.flatten(1).double() @ eps.flatten(1).double().T).cpu()  # |x - eps|² up to what no pairing changes
        if not bool(gains.isfinite().all()):
            row = int((~gains.isfinite()).any(1).nonzero()[0])
            raise NonFinite(f"exact-ot: row {row} of the data or of the source is not finite; no pairing exists.")
        _, order = linear_sum_assignment(gains.numpy(), maximize=True)
        return eps[torch.from_numpy(order).to(eps.device)]
