"""Networks and metrics that are not what they claim are rejected, by the laws that they break."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from obverse.ground.families import Family
from obverse.metrics import Metric
from obverse.nets import Architecture, Conditions

Broken = Callable[[Family | type[Family]], dict[str, str]]
ZERO = "its answer has the shape of the state, and is 0 until it has learnt"
ROWS = "row i of a batch is its own, and hears its time"
NUMBER = "it is one finite number within its ends, whatever the shape of the data"
WORSE = "samples far from the data are worse than samples of their law"
ORDER = "it knows no order of rows, and says the same again"


class Line(nn.Module):
    """A map of the state, made to be wrong."""

    def __init__(self, size: int, answer: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.weight, self.out, self.answer = nn.Parameter(torch.randn(size)), nn.Parameter(torch.zeros(1)), answer

    def forward(self, x_t: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        return self.answer(self, x_t * self.weight, t)


def lines(name: str, answer: Callable[[Any, Tensor, Tensor], Tensor]) -> type[Architecture]:
    class Wrong(Architecture, name=name):
        """A net."""

        def module(self, shape: tuple[int, ...], condition: Conditions) -> nn.Module:
            return Line(shape[-1], answer)

    return Wrong


def scaled(t: Tensor, like: Tensor) -> Tensor:
    return t.reshape(-1, *[1] * (like.ndim - 1)) * like


def test_a_net_that_begins_somewhere_is_rejected(broken: Broken) -> None:
    found = broken(lines("wrong-start", lambda net, x, t: scaled(t, x) + net.out))
    assert set(found) == {ZERO}
    assert found[ZERO].startswith("to states of shape (2,) it answers up to ")


def test_a_net_that_normalises_over_the_batch_is_rejected(broken: Broken) -> None:
    found = broken(lines("wrong-rows", lambda net, x, t: net.out * scaled(t, x - x.mean(0))))
    assert set(found) == {ROWS}


def test_a_net_that_forgets_its_time_is_rejected(broken: Broken) -> None:
    assert broken(lines("wrong-time", lambda net, x, _: net.out * x)) == {ROWS: "at another time it answers the same"}


def test_a_metric_of_pairs_of_rows_is_rejected(broken: Broken) -> None:
    class Wrong(Metric, name="wrong-order"):
        def between(self, x: Tensor, y: Tensor) -> float:
            return float((x - y).square().mean().sqrt())

    assert set(broken(Wrong)) == {ORDER}


def test_a_metric_that_gives_a_tensor_or_nan_is_rejected(broken: Broken) -> None:
    class Wrong(Metric, name="wrong-number"):
        def between(self, x: Tensor, y: Tensor) -> float:
            return x.mean() - y.mean()  # type: ignore[return-value]

    class Nan(Metric, name="wrong-nan"):
        def between(self, x: Tensor, y: Tensor) -> float:
            return float("nan")

    assert "no float (write float(...))" in broken(Wrong)[NUMBER]
    assert "of data (2,) it is nan, not a finite number in [0, inf]" in broken(Nan)[NUMBER]


def test_a_metric_that_says_the_wrong_way_is_rejected(broken: Broken) -> None:
    class Wrong(Metric, name="wrong-way"):
        better = "higher"

        def between(self, x: Tensor, y: Tensor) -> float:
            return float((x.mean(0) - y.mean(0)).norm())

    assert set(broken(Wrong)) == {WORSE}


def test_a_metric_that_sees_means_only_is_rejected(broken: Broken) -> None:
    class Wrong(Metric, name="wrong-means"):
        def between(self, x: Tensor, y: Tensor) -> float:
            return float((x.mean(0) - y.mean(0)).norm())

    assert "about their own mean" in broken(Wrong)[WORSE]
