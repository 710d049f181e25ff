"""Steps as long as a tolerance allows, for every sample on its own (T69)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import require
from obverse.ground.families import Family
from obverse.ground.shapes import against, check_rows, moved
from obverse.model import Cond, Model
from obverse.model.microbatched import check_size
from obverse.path import Level
from obverse.sampler.asked import check
from obverse.sampler.start import fresh
from obverse.sampler.tolerance.dense import Course
from obverse.sampler.tolerance.field import Circle, Field
from obverse.sampler.tolerance.outcome import AdaptiveRun, Round
from obverse.sampler.tolerance.pairs import DormandPrince, Pair
from obverse.sampler.tolerance.reverse import Reverse
from obverse.sampler.tolerance.tree import BrownianTree
from obverse.sampler.tolerance.walk import Arrival, Crowd, Walk


@dataclass(frozen=True)
class Adaptive(Family, family="adaptive", name="adaptive"):
    """Embedded pairs in semi-linear form, with a step and an error for every sample.

    Args:     rtol, atol: a step may be wrong by atol + rtol |y|, y = x_t / r, in root mean square per coordinate: units
                  of the data. The end is then wrong by about as much: 0.05 to 2 times, measured on exact mixtures.
              max_calls: of each sample; who has used them up is taken to the end in one turn.
              eta: 0 the probability flow; above, the SDE of T30 along one path per sample, whatever the tolerance.
              pair: of the flow; dopri5 or bs32.
              sigma_data: the size at which the circle is centred; near the size of the details of the data.
    """

    rtol: float = 1e-3
    atol: float = 1e-6
    max_calls: int = 1000
    eta: float = 0.0
    pair: Pair = field(default_factory=DormandPrince)
    sigma_data: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            require(0 <= value < 1, f"adaptive: 0 <= {name} < 1, got {value} (1e-3 is far below what is seen).")
        require(self.rtol + self.atol > 0, "adaptive: rtol or atol above 0, got 0 for both.")
        require(self.max_calls >= 1, f"adaptive: max_calls >= 1, got {self.max_calls}.")
        require(0 <= self.eta < float("inf"), f"adaptive: eta >= 0 (0 = flow, 1 = DDPM), got {self.eta}.")
        require(self.sigma_data > 0, f"adaptive: sigma_data > 0, got {self.sigma_data}.")

    def run(
        self,
        model: Model,
        start: Tensor,
        *,
        cond: Cond = None,
        seed: int = 0,
        samples: Sequence[int] | None = None,
        microbatch: int | None = None,
        start_level: Level | float = 1.0,
        stop_level: Level | float | None = None,
        dense: bool = False,
        watch: Callable[[Round], object] | None = None,
    ) -> AdaptiveRun:
        """Take states from one level to another; arguments as of `adaptive`."""
        names = noise.ids_of(start.shape, samples).tolist()
        if microbatch is not None:
            check_size(microbatch)
        check_rows(cond, len(start))
        schedule, circle = model.schedule, Circle(model.schedule, self.sigma_data)
        first, last = schedule.at(start_level), schedule.end if stop_level is None else schedule.at(stop_level)
        here, there = float(circle.phi(first)), float(circle.phi(last))
        require(here != there, f"A run goes from one level to another, got {first} for both.")
        require(
            self.eta == 0 or there < here,
            f"The SDE of eta > 0 goes towards the data, from noisier to cleaner levels; got {first} to {last} (eta=0).",
        )
        way = Reverse(circle, BrownianTree(self.eta, seed, names)) if self.eta else self.pair
        walk = Walk(
            Field(circle, model, moved(cond, start.device), names, microbatch),
            way, there, self.rtol, self.atol, self.max_calls, Course(circle, len(start)) if dense else None,
        )  # fmt: skip
        with torch.no_grad():
            z = start / against(circle.rho(first), start)
            crowd = walk.begin(z, torch.full((len(start),), here, dtype=torch.float64))
            arrivals = _arrivals(walk, crowd, watch)
        return AdaptiveRun.of(walk, arrivals, last)


def adaptive(
    model: Model,
    shape: Sequence[int],
    *,
    rtol: float = 1e-3,
    atol: float = 1e-6,
    max_calls: int = 1000,
    eta: float = 0.0,
    pair: Pair | str = "dopri5",
    cond: Cond = None,
    seed: int = 0,
    samples: Sequence[int] | None = None,
    microbatch: int | None = None,
    start: Tensor | None = None,
    start_level: Level | float = 1.0,
    stop_level: Level | float | None = None,
    dense: bool = False,
    watch: Callable[[Round], object] | None = None,
    dtype: torch.dtype = torch.float32,
) -> AdaptiveRun:
    """Draw samples, or take given states elsewhere, with as many calls as a tolerance asks for.

    Args:     model: any model; its schedule decides the path.
              shape: (batch *data).
              rtol, atol, max_calls, eta, pair: as of `Adaptive`.
              cond: handed to the model; one row for each sample.
              seed: one start and one Brownian path for each (seed, sample), whatever the batch and the tolerance.
              samples: who the rows are; (batch,); default 0, 1, 2 ...
              microbatch: call the network at this one, padded batch size: all bits of sample i are then its own.
              start: the first state, in place of fresh noise; (batch *data).
              start_level, stop_level: from where to where, a Level or t; default from t = 1 to the clean end. It goes
                  from data to noise (inversion) where start_level is the cleaner of the two.
              dense: keep the path: `run.at(level)`.
              watch: called after every Round.
              dtype: float32 or float64, of states and result.
    Returns:  an AdaptiveRun: samples, errors, calls, who finished.
    Raises:   InvalidArgument for arguments outside their range; SingularConversion where the model's prediction does
              not determine the flow; NonFinite naming the round, the level and the sample.

    Example:
        >>> from obverse.model import Gaussian
        >>> run = adaptive(Gaussian(torch.zeros(2), 0.25, "linear"), (3, 2), rtol=1e-2)
        >>> bool(run.finished.all()), run.calls.shape
        (True, torch.Size([3]))
    """
    check(model, shape, dtype, cond, samples, start)
    method = Adaptive(rtol, atol, max_calls, eta, Pair.of(pair))
    require(dtype in (torch.float32, torch.float64), f"dtype is float32 or float64, got {dtype}.")
    if start is None:
        first = model.schedule.at(start_level)
        start = fresh(first, shape, seed=seed, samples=samples, dtype=dtype, device=model.device)
    return method.run(
        model, start.to(dtype), cond=cond, seed=seed, samples=samples, microbatch=microbatch,
        start_level=start_level, stop_level=stop_level, dense=dense, watch=watch,
    )  # fmt: skip


def _arrivals(walk: Walk, crowd: Crowd, watch: Callable[[Round], object] | None) -> list[Arrival]:
    """The one loop."""
    arrivals, number, way = list[Arrival](), 0, float((crowd.phi - walk.stop).abs().sum())
    while True:
        crowd, arrival = walk.leave(crowd)
        if len(arrival.crowd.who):
            arrivals.append(arrival)
        if not len(crowd.who):
            return arrivals
        crowd, taken, ratio = walk.round(crowd)
        number += 1
        if watch is not None:
            level = walk.circle.level(crowd.phi)
            x_t = against(walk.circle.rho(level), crowd.z) * crowd.z
            behind = 1 - float((crowd.phi - walk.stop).abs().sum()) / way
            watch(Round(number, crowd.who, level, x_t, taken, ratio, behind))
