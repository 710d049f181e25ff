"""Solvers and grids are told how many numbers a sample has, where they ask."""

from __future__ import annotations

from obverse.sampler import DDIM, Scales, Switch
from obverse.sampler.sizes import told


def test_what_was_left_open_is_told_within_too_and_what_was_said_stays() -> None:
    assert told(Scales(steps=4), 3) == Scales(steps=4, size=3)
    assert told(Scales(size=7), 3) == Scales(size=7)
    assert told(Switch("thrifty", "ddim"), 3) == Switch("thrifty:size=3", "ddim")  # type: ignore[arg-type]
    same = DDIM()
    assert told(same, 3) is same
