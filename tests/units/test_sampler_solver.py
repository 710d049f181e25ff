"""Methods as somebody writes the first one: what the symbols take, and what they are told that went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from obverse.ground.errors import InvalidArgument
from obverse.path import Level, Linear
from obverse.sampler import DDIM, Solver, Tableau, Trace

Step = Callable[[Trace, Any, Level, Level], Any]


def taken(step: Step) -> Tableau:
    class Mine(Solver):
        order = 1
        name = "mine"

        def step(self, trace: Trace, x_t: Any, t: Level, s: Level) -> Any:
            return step(trace, x_t, t, s)

    return Mine().tableau(Linear(), "uniform:steps=3,start=0.9")


def test_a_formula_may_divide_and_negate() -> None:
    def step(trace: Trace, x_t: Any, t: Level, s: Level) -> Any:
        data = trace.call(x_t, t).data
        return s.alpha * data - (-(x_t - t.alpha * data)) / t.sigma * s.sigma

    assert taken(step) == DDIM().tableau(Linear(), "uniform:steps=3,start=0.9")


def combined(trace: Trace, x_t: Any, t: Level, s: Level) -> Any:
    e = trace.call(x_t, t)
    return trace.call(s.alpha * e.data + s.sigma * e.noise, s).data


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (combined, r"trace.call reads a state.*trace.state\(\.\.\., level\)"),
        (lambda trace, x_t, t, _: trace.call(0.5 * x_t, t).data, r"trace\.call reads a state"),
        (lambda trace, _, t, __: trace.call(trace.draw(), t).data, r"trace\.call reads a state"),
        (lambda trace, x_t, _, s: trace.call(x_t, s).data, r"made for t = 0\.9 .* read at t = 0\.6 "),
        (lambda trace, x_t, t, _: print(trace.call(x_t, t)), "mine: step returns x_s, a combination .* got NoneType"),
    ],
    ids=["combined", "scaled", "drawn", "elsewhere", "forgotten"],
)
def test_a_slip_is_named_with_what_to_write(step: Step, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        taken(step)


def test_a_number_is_not_added_to_a_state() -> None:
    with pytest.raises(TypeError, match=r"Combination.*float"):
        taken(lambda _trace, x_t, _t, _s: x_t + 1.0)
