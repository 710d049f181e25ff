"""Laws of metrics: what a number that compares two sets may depend on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from obverse.laws.law import demand, law, within
from obverse.laws.problems import draws
from obverse.metrics import Metric

ROWS = 40  # a side
ROUNDING = 1e-9  # of a number, relative
FAR = 10.0  # standard deviations that samples are moved by, so that any metric sees it


@law("metric", "it is one finite number within its ends, whatever the shape of the data")
def _number(metric: Metric) -> str:
    low, high = metric.ends
    for x, y in _sets():
        found = metric(x, y)
        what = f"of data {tuple(x.shape[1:])} it is {found!r}"
        demand(isinstance(found, float), f"{what}, which is no float (write float(...))")
        good = low <= found <= high and math.isfinite(found)
        demand(good, f"{what}, not a finite number in [{low:g}, {high:g}]")
    return f"last {found:.3g}, within [{low:g}, {high:g}]"


@law("metric", "it knows no order of rows, and says the same again")
def _order(metric: Metric) -> str:
    x, y = _sets()[0]
    value = metric(x, y)
    for what, other in (("its number again", x), ("its number of rows turned round", x.flip(0))):
        told = within(what, metric(other, y), value, ROUNDING, scale=1 + abs(value))
    return told


@law("metric", "samples far from the data are worse than samples of their law")
def _worse(metric: Metric) -> str:
    """All moved one way, and by turns both ways: then they are far from the data about a mean that has stayed."""
    x, y = _sets()[0]
    near, by_turns = metric(x, y), FAR * (-1) ** torch.arange(ROWS)[:, None]
    for where, move in (("one way", FAR), ("both ways, about their own mean", by_turns)):
        far = metric(x + move, y)
        worse = (far - near) * (1 if metric.better == "lower" else -1)
        told = f"{near:.3g} for their law, {far:.3g} for samples moved {where}"
        demand(worse > ROUNDING * (1 + abs(near)), f"{told}, but {metric.better} is to be better")
    return told


def _sets() -> list[tuple[Tensor, Tensor]]:
    return [(draws((ROWS, *shape), "samples"), draws((ROWS, *shape), "reference")) for shape in ((2,), (1,), (3, 1, 5))]
