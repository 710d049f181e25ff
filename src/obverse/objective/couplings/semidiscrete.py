"""Optimal transport between the source and a whole data set: one number a sample, learnt once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import NonFinite, require
from obverse.ground.numerics import exact
from obverse.ground.shapes import bad_rows, moved, rows
from obverse.nets.condition import Cond
from obverse.objective.couplings.sources import eps_for

RATE, FALL = 0.5, 4  # first step in units of the data's scale; the power of the time left by which steps shrink


class Pairs(NamedTuple):
    """Pairs that are made outside an objective: `objective(model, pairs.x, pairs.cond, eps=pairs.eps)`.

    x, eps: (batch *data). cond: a row each, or None. sample: which ones of the data set; (batch,).
    """

    x: Tensor
    eps: Tensor
    cond: Cond
    sample: Tensor


@dataclass(frozen=True, eq=False)
class SemiDiscrete:
    """The transport of the standard normal to the points of a data set: every eps has its sample.

    eps goes to the sample j of largest eps·x_j + h_j. With the right h each sample gets the share 1/N of the source;
    then no pairing of the two laws is cheaper. So the source decides which data is looked at, unlike in a `Coupling`,
    where the data asks for a source: draw pairs from it, and hand them to an objective. There is no bias of small
    batches, no plan to solve while training, and as many sources for a sample as one likes.

    Conditions travel with their samples, and eps depends on them, as with plain `exact-ot`; fit each label by itself
    where guidance matters.

    Args:     x: the data; (N *data).
              heights: h; float64 (N,).
              cond: a row for each sample, or None.
    Example:
        >>> line = torch.tensor([[-1.0], [0.0], [1.0]])
        >>> pairs = SemiDiscrete.fit(line, seed=0).pairs(3000, seed=1)
        >>> bool((pairs.eps[pairs.sample == 0].max() < pairs.eps[pairs.sample == 1].min()).all())
        True

    Source:   Genevay et al. (2016), section 4; Kingma & Ba (2015).
    """

    x: Tensor
    heights: Tensor
    cond: Cond = None

    @classmethod
    def fit(cls, x: Tensor, cond: Cond = None, *, steps: int = 2000, batch: int = 1024, seed: int = 0) -> SemiDiscrete:
        """Learn the heights by stochastic ascent of the dual, in Adam's steps.

        Each step draws sources, sees which samples win more than their share, and lowers these, by less and less. It
        takes steps x batch x N x dimensions multiplications. `imbalance` says whether it was enough.

        Args:     x: the data; (N *data). Its scale does not matter.
                  cond: a row for each sample, or None.
                  steps, batch: more make `imbalance` smaller; batch x steps of 1000 N is a start.
                  seed: of the sources.
        Raises:   InvalidArgument for counts below 1 and whole numbers in x; NonFinite for a NaN or an infinity.
        """
        require(x.is_floating_point(), f"semidiscrete: x is floating, as its sources are, got {x.dtype} (x.float()).")
        for name, value in (("steps", steps), ("batch", batch), ("samples in x", len(x))):
            require(value >= 1, f"semidiscrete: {name} >= 1, got {value} (steps=2000, batch=1024 are usual).")
        if bad := bad_rows(x):
            raise NonFinite(f"semidiscrete: sample {bad[0]} of the data is not finite.")
        points = _points(x).T.contiguous()
        height = -points.square().sum(0) / 2
        scale, n = float(points.square().mean().sqrt()) or 1.0, len(x)
        slope, square = torch.zeros_like(height), torch.zeros_like(height)
        for k in range(steps):
            eps = noise.normal(
                (batch, len(points)), seed=seed, purpose="semidiscrete", step=k, dtype=height.dtype, device=x.device
            )
            won = torch.addmm(height, eps, points).argmax(1).bincount(minlength=n)
            lacking = 1 - won.to(height) * (n / batch)  # the gradient of the dual, N times
            slope, square = slope.lerp(lacking, 0.1), square.lerp(lacking.square(), 0.01)
            size = square.div(1 - 0.99 ** (k + 1)).sqrt().clamp(min=1e-3)
            height = height + RATE * scale * (1 - k / steps) ** FALL * slope.div(1 - 0.9 ** (k + 1)) / size
        return cls(x, exact(height), cond)

    def pairs(
        self, count: int, *, seed: int = 0, step: int = 0, samples: Sequence[int] | Tensor | None = None
    ) -> Pairs:
        """Sources, drawn as an objective draws them, and the samples that they go to.

        Args:     count: how many.
                  seed, step, samples: whose draws; samples default to 0, 1, 2 ...
        """
        eps = eps_for(self.x[:1].expand(count, *self.x.shape[1:]), seed=seed, step=step, samples=samples)
        index = self.winner(eps)
        return Pairs(self.x[index], eps, rows(moved(self.cond, index.device), index), index)

    def winner(self, eps: Tensor) -> Tensor:
        """The sample that each source goes to; (batch *data) -> int64 (batch,)."""
        points = _points(self.x)
        return torch.addmm(self.heights.to(points), eps.reshape(len(eps), -1).to(points), points.T).argmax(1)

    def imbalance(self, count: int = 2**16, *, seed: int = 1) -> tuple[float, float]:
        """How far shares of the samples are from equal, on fresh sources, and what chance makes of equal shares.

        Returns:  root mean square of N share - 1; the same for count sources that go anywhere.
        """
        n = len(self.x)
        won = torch.zeros(n, dtype=torch.float64)
        for step, start in enumerate(range(0, count, 4096)):
            index = self.pairs(min(4096, count - start), seed=seed, step=step).sample
            won += index.cpu().bincount(minlength=n)
        return float((won * (n / count) - 1).square().mean().sqrt()), math.sqrt((n - 1) / count)


def _points(x: Tensor) -> Tensor:
    """Samples about their mean, flat, in float32 at least; (N, d)."""
    flat = x.reshape(len(x), -1).to(torch.promote_types(x.dtype, torch.float32))
    return flat - flat.mean(0)
