"""Along the way from source to data: how long, how straight and how curved paths are, at every level.

A trajectory is what a sampler visits: times t (steps) and states (steps batch *data), from whichever end. Nothing here
asks what made it. Times are the path's own, so a schedule that hurries and lingers is not straight in t; `curvature`
alone sees shapes, whatever the pace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, NonFinite, require
from obverse.ground.noise import permutation
from obverse.ground.shapes import bad_rows
from obverse.metrics.compare import Measured
from obverse.metrics.halves import SPLITS, interval, splits
from obverse.metrics.transport import w2


@dataclass(frozen=True, eq=False)
class ByLevel:
    """A number at each of several moments of a trajectory, with its 95 % interval over paths.

    Args:     t: the moments; (levels).
              value, low, high: (levels), float64.
              mean: over the trajectory's time.
    """

    t: Tensor
    value: Tensor
    low: Tensor
    high: Tensor
    mean: float


def path_energy(t: Tensor, states: Tensor) -> Tensor:
    """The energy of each path: its mean square speed times its time.

    ∫ |dx/dt|² dt, for straight lines between the states
    No path between two points needs less than |x_last - x_first|² / |t_last - t_first|, and in the mean over paths
    between two distributions none needs less than their W2² for a time of 1.

    Args:     t: times, rising or falling; (steps), at least 2.
              states: (steps batch *data).
    Returns:  energies, in the unit of the data squared; (batch), float64.
    Raises:   InvalidArgument for times that do not fit or turn back; NonFinite for a NaN or an infinity.
    Example:
        >>> path_energy(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([[0.0], [1.0], [2.0]]))
        tensor([4.], dtype=torch.float64)

    Source:   Benamou & Brenier (2000).
    """
    time, x = _checked(t, states)
    return (x.diff(dim=0).square().sum(2) / time.diff().abs()[:, None]).sum(0)


def normalised_path_energy(
    t: Tensor, states: Tensor, source: Tensor, data: Tensor, *, bootstrap: int = 100, seed: int = 0
) -> Measured:
    """How much more energy paths take than the best ones between the two distributions.

    |E ∫ |dx/dt|² dt - W2²| / W2²        W2 between source and data, exact, from n rows of each
    0 for optimal transport in a time of 1. The floor is what n rows cannot tell from 0: the same number with W2² of
    other rows of the data in place of the energy.

    Args:     t, states: the trajectory, of paths that start at the source's distribution; (steps), (steps batch *data).
              source: samples of the source; (n *data).
              data: samples of the data, twice as many if the floor is to be at all rows of source; (m *data).
              bootstrap: halves of all sets for the interval.
              seed: of every choice of rows.
    Returns:  the number, without unit, beside its floor; n = min(source, half of data).
    Raises:   as `path_energy` and `w2`.

    Source:   Tong et al. (2024).
    """
    energy = path_energy(t, states)
    n = min(len(source), len(data) // 2)
    require(n >= 2, f"W2 needs 2 rows of source and 4 of data, got {len(source)} and {len(data)}.")
    source = source[permutation(len(source), seed=seed, purpose="metric-source")[:n]]

    def excess(value: float, at_least: float) -> float:
        return abs(value - at_least**2) / at_least**2

    *orders, last = splits(len(data), seed, SPLITS + 1)
    target = data[last[:n]]
    least = w2(source, target)
    require(least > 0, "source and data are the same rows: paths between them need no energy to compare with.")
    value = excess(float(energy.mean()), least)
    ends = interval(
        lambda i, j: excess(float(energy[i].mean()), w2(source[j], target[j])),
        (len(energy), n),
        value,
        count=bootstrap,
        seed=seed,
    )
    pairs = ([w2(source, data[order[k : k + n]]) for k in (0, n)] for order in orders)
    floors = torch.tensor([excess(a**2, b) for a, b in pairs])
    return Measured.of("path-energy", value, ends, floors, (len(energy), n), "lower")


def straightness(t: Tensor, states: Tensor, *, bootstrap: int = 100, seed: int = 0) -> ByLevel:
    """How far the velocity is from that of the straight way there, at each step.

    E |dx/dt - (x_last - x_first) / (t_last - t_first)|² / E |(x_last - x_first) / (t_last - t_first)|²
    0 for a straight line at an even pace, which one Euler step follows exactly. Its mean over time is the share of
    energy that detours and changes of pace cost.

    Args:     t, states: the trajectory; (steps), (steps batch *data).
              bootstrap, seed: halves of the paths for the intervals, and which.
    Returns:  without unit, in the middle of each step; (steps - 1).
    Raises:   as `path_energy`; InvalidArgument when no path ends elsewhere than it began.
    Example:
        >>> t = torch.linspace(0, 1, 5)
        >>> straightness(t, torch.stack([t, 2 * t], 1)[:, :, None]).mean
        0.0

    Source:   Liu, Gong & Liu (2023), where it is not divided.
    """
    time, x = _checked(t, states)
    way = (x[-1] - x[0]) / (time[-1] - time[0])
    rates = x.diff(dim=0) / time.diff()[:, None, None]
    off, whole = (rates - way).square().sum(2), way.square().sum(1)
    require(bool(whole.sum() > 0), "straightness is measured against the way from end to end, but no path has one.")
    middle = (time[1:] + time[:-1]) / 2
    return _by_level(middle, lambda i: off[:, i].mean(1) / whole[i].mean(), x.shape[1], time.diff(), bootstrap, seed)


def curvature(t: Tensor, states: Tensor, *, bootstrap: int = 100, seed: int = 0) -> ByLevel:
    """How sharply paths bend at each state between the ends, whatever their pace: the mean of 1 / radius.

    The radius is that of the circle through a state and its two neighbours (exact on circles); a path that stands
    still does not bend.

    Args:     t, states: the trajectory; (steps), at least 3, (steps batch *data).
              bootstrap, seed: halves of the paths for the intervals, and which.
    Returns:  in 1 / the unit of the data; (steps - 2).
    Raises:   as `path_energy`.
    Example:
        >>> t = torch.linspace(0, 1, 7, dtype=torch.float64)
        >>> circle = 4 * torch.stack([t.sin(), t.cos()], 1)
        >>> round(curvature(t, torch.stack([circle, -circle], 1)).mean, 9)
        0.25

    Source:   Menger (1930).
    """
    time, x = _checked(t, states, least=3)
    before, after = x[1:-1] - x[:-2], x[2:] - x[1:-1]
    first, second = before.norm(dim=2), after.norm(dim=2)
    along = torch.nn.functional.normalize(before, dim=2)
    across = (after - (after * along).sum(2, keepdim=True) * along).norm(dim=2)  # no difference of squares
    moved = (first > 0) & (second > 0)
    bend = torch.where(moved, 2 * across / (second * (x[2:] - x[:-2]).norm(dim=2)), 0.0)
    require(bool(bend.isfinite().all()), "A path returns to where it was two states before: its circle is undefined.")
    return _by_level(time[1:-1], lambda i: bend[:, i].mean(1), x.shape[1], time[2:] - time[:-2], bootstrap, seed)


def _by_level(
    t: Tensor, measure: Callable[[Tensor], Tensor], batch: int, weight: Tensor, bootstrap: int, seed: int
) -> ByLevel:
    """The measure of all paths, its intervals, and its mean over time."""
    require(batch >= 2, f"An interval over paths needs at least 2 of them, got {batch}.")
    value = measure(torch.arange(batch))
    low, high = interval(lambda i, _: measure(i), (batch, batch), value, count=bootstrap, seed=seed)
    return ByLevel(t, value, low, high, float(weight @ value / weight.sum()))


def _checked(t: Tensor, states: Tensor, least: int = 2) -> tuple[Tensor, Tensor]:
    """Times and states in float64 on the CPU, one vector a path; (steps), (steps batch numbers)."""
    if t.ndim != 1 or len(t) < least or states.ndim < 2 or len(states) != len(t) or not states.numel():
        raise InvalidArgument(
            f"A trajectory is t (steps) and states (steps batch *data), at least {least} steps: got "
            f"{tuple(t.shape)} and {tuple(states.shape)}."
        )
    require(bool(t.isfinite().all()), "The times of a trajectory are finite, but t holds a NaN or an infinity.")
    if bad := bad_rows(states):
        raise NonFinite(f"states holds a NaN or an infinity, first at step {bad[0]} of {len(t)}.")
    time = t.detach().to("cpu", torch.float64)
    gaps = time.diff()
    if not ((gaps > 0).all() or (gaps < 0).all()):
        raise InvalidArgument(f"t rises or falls all the way, got steps from {gaps.min():g} to {gaps.max():g}.")
    x = states.detach().to("cpu", torch.float64)
    return time, x.reshape(len(t), x.shape[1], -1)
