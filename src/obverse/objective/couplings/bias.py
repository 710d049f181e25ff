"""How far the source, given the condition, is from standard normal: what sampling assumes and a coupling may break."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, require
from obverse.ground.numerics import exact
from obverse.ground.shapes import check_rows, moved, rows
from obverse.nets.condition import Cond
from obverse.objective.couplings.coupling import Coupling
from obverse.objective.couplings.sources import eps_for

DIRECTIONS = 32  # along which moments are measured, those in which the data varies most
SUSPECT = 3.0  # times the level of chance


@dataclass(frozen=True)
class Group:
    """The sources of the rows with one label, or with conditions in one bin.

    Args:     name, count: who they are, how many were seen.
              mean: |mean of eps| per dimension, root mean square; 0 where the condition is kept.
              covariance: entries of cov(eps) - 1, root mean square.
              chance_mean, chance_covariance: what independent pairs of as many rows would show.
    """

    name: str
    count: int
    mean: float
    covariance: float
    chance_mean: float
    chance_covariance: float

    @property
    def kept(self) -> bool:
        """Whether both lie within three times what chance makes of independent pairs."""
        return self.mean < SUSPECT * self.chance_mean and self.covariance < SUSPECT * self.chance_covariance


@dataclass(frozen=True)
class Bias:
    """What `bias` found; prints as a table."""

    coupling: str
    groups: tuple[Group, ...]

    @property
    def kept(self) -> bool:
        """Whether no group shows more than chance would."""
        return all(group.kept for group in self.groups)

    @property
    def mean(self) -> float:
        """The largest deviation of a group's mean."""
        return max(group.mean for group in self.groups)

    @property
    def covariance(self) -> float:
        """The largest deviation of a group's covariance."""
        return max(group.covariance for group in self.groups)

    def __str__(self) -> str:
        head = f"{'source given':20} {'rows':>7} {'mean':>7} {'chance':>7} {'cov':>7} {'chance':>7}"
        lines = [
            f"{g.name:20} {g.count:7d} {g.mean:7.3f} {g.chance_mean:7.3f} {g.covariance:7.3f} "
            f"{g.chance_covariance:7.3f}{'' if g.kept else '  off'}"
            for g in self.groups
        ]
        what = "is standard normal, as far as chance lets see" if self.kept else "is not standard normal"
        return "\n".join([f"{self.coupling}: given the condition, the source {what}", head, *lines])


def bias(
    coupling: Coupling | str,
    x: Tensor,
    cond: Cond,
    *,
    batch: int = 256,
    rounds: int = 32,
    bins: int = 4,
    seed: int = 0,
) -> Bias:
    """Pair data with fresh sources, batch after batch, and measure the sources by condition.

    Sampling draws eps without looking at the condition; a coupling that makes eps depend on it trains a network on
    starts that it will not be given. Moments are taken along the directions in which the data varies most.

    Args:     coupling: a name, a spec or a member.
              x: data; (N *data).
              cond: labels (N), numbers (N) or (N, d), or a dict; of a dict the "label", else the first, makes groups;
                numbers are cut into bins of equal size along their main direction.
              batch: rows paired together, as in training; at most N are used.
              rounds: batches; chance falls with their root.
              bins: of numbers.
              seed: of batches and sources.
    Returns:  one group for each label or bin.
    Raises:   InvalidArgument without conditions, or for counts below 1.
    Example:
        >>> x = torch.cat([torch.zeros(500, 1) - 2, torch.zeros(500, 1) + 2])
        >>> label = torch.arange(1000) // 500
        >>> bias("independent", x, label).kept, bias("exact-ot", x, label).kept, bias("within", x, label).kept
        (True, False, True)
    """
    coupling = Coupling.of(coupling)
    for name, value in (("batch", batch), ("rounds", rounds), ("bins", bins)):
        require(value >= 1, f"bias needs {name} >= 1, got {value} (256 rows, 32 rounds and 4 bins are usual).")
    check_rows(cond, len(x))
    cond = moved(cond, x.device)
    names, of = _groups(cond, bins)
    axes = _directions(x)
    seen, group = [], []
    for step in range(rounds):
        index = noise.permutation(len(x), seed=seed, purpose="bias", step=step)[:batch]
        here = index.to(x.device)
        eps = eps_for(x[here], seed=seed, step=step)
        eps = coupling.pair(x[here], eps, rows(cond, here), seed=seed, step=step)
        seen.append(exact(eps).cpu().reshape(len(index), -1) @ axes)
        group.append(of[index])
    drawn, who = torch.cat(seen), torch.cat(group)
    measured = [_measured(name, drawn[who == k]) for k, name in enumerate(names) if int((who == k).sum()) > 1]
    require(len(measured) > 0, f"bias: no condition came twice in {rounds} batches of {batch} (more rounds).")
    return Bias(coupling.label, tuple(measured))


def _measured(name: str, eps: Tensor) -> Group:
    n, d = eps.shape
    off = (eps - eps.mean(0)).T @ (eps - eps.mean(0)) / (n - 1) - torch.eye(d, dtype=eps.dtype)
    return Group(
        name,
        n,
        float(eps.mean(0).square().mean().sqrt()),
        float(off.square().mean().sqrt()),
        math.sqrt(1 / n),
        math.sqrt((d + 1) / (d * (n - 1))),  # d entries of variance 2 / (n - 1), d (d - 1) of half of that
    )


def _groups(cond: Cond, bins: int) -> tuple[list[str], Tensor]:
    if isinstance(cond, Mapping) and cond:
        cond = cond.get("label", next(iter(cond.values())))
    if not isinstance(cond, Tensor):
        raise InvalidArgument(f"bias asks what eps is given the condition: cond has to be given, got {cond!r}.")
    if not cond.is_floating_point():
        known, of = torch.unique(cond.reshape(len(cond), -1).cpu(), dim=0, return_inverse=True)
        return [f"label {' '.join(map(str, row))}" for row in known.tolist()], of
    values = exact(cond).cpu().reshape(len(cond), -1)
    along = (values - values.mean(0)) @ torch.linalg.svd(values - values.mean(0), full_matrices=False).Vh[0]
    edges = along.quantile(torch.arange(1, bins, dtype=torch.float64) / bins) if bins > 1 else along[:0]
    return [f"condition, bin {k + 1} of {bins}" for k in range(bins)], torch.bucketize(along, edges)


def _directions(x: Tensor) -> Tensor:
    """Orthonormal columns; (dimensions, at most DIRECTIONS)."""
    flat = exact(x[: 64 * DIRECTIONS]).cpu().reshape(min(len(x), 64 * DIRECTIONS), -1)
    if flat.shape[1] <= DIRECTIONS:
        return torch.eye(flat.shape[1], dtype=torch.float64)
    axes: Tensor = torch.linalg.svd(flat - flat.mean(0), full_matrices=False).Vh[:DIRECTIONS].T
    return axes
