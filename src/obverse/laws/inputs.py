"""Laws of what a network is told: its time and the scale of its state."""

from __future__ import annotations

import torch

from obverse.ground.numerics import exact
from obverse.laws.law import all_within, demand, law
from obverse.laws.problems import PATHS, one_by_one, times
from obverse.model.inputs import Precondition, TimeInput


@law("time", "it is finite and runs one way along the path")
def _monotone(time: TimeInput) -> str:
    ways = set()
    for path in PATHS:
        level = path.at(times(0.005, 0.995))
        told = exact(time(level)).expand(level.t.shape)
        steps = told.diff()
        one_way = bool((steps >= 0).all()) or bool((steps <= 0).all())
        shown = f"on {path.spec} it goes {told[0]:.4g} ... {told[len(told) // 2]:.4g} ... {told[-1]:.4g}"
        demand(bool(told.isfinite().all()) and one_way and bool(told[0] != told[-1]), shown)
        ways.add("rises" if told[-1] > told[0] else "falls")
    demand(len(ways) == 1, "it rises on one path and falls on another")
    return f"it {ways.pop()} in t"


@law("time", "it is the same one by one, as plain floats, and for many levels at once")
def _one_by_one(time: TimeInput) -> str:
    return all_within(one_by_one("the time", time), 1e-12)


@law("precondition", "the scale of the state is finite and positive, at the ends too")
def _positive(precondition: Precondition) -> str:
    t = torch.cat([torch.tensor([0.0, 1.0], dtype=torch.float64), times(0.005, 0.995)])
    least, most = float("inf"), 0.0
    for path in PATHS:
        scale = exact(precondition(path.at(t))).expand(t.shape)
        bad = ~(scale.isfinite() & (scale > 0))
        demand(not bool(bad.any()), f"on {path.spec} it is {scale[bad][:1].tolist()} at t = {t[bad][:1].tolist()}")
        least, most = min(least, float(scale.min())), max(most, float(scale.max()))
    return f"in [{least:.3g}, {most:.3g}]"
