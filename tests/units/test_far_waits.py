"""What makes a run wait for another device: each time costs a GPU what it could have been given meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from far import FAR, Far
from test_far import LABELS, X, model
from torch.utils._python_dispatch import TorchDispatchMode

from obverse.guidance import Guided
from obverse.likelihood import log_density
from obverse.sampler import Solver, Uniform, adaptive, parallel, sample

WAITS = torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default  # for the device to get there


class Waits(TorchDispatchMode):
    """Counts what makes a program wait for the other device: numbers asked of it, tensors fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        known = dict(kwargs or {})
        fetched = func is torch.ops.aten._to_copy.default and torch.device(known.get("device", FAR)).type == "cpu"
        counted = func is torch.ops.aten.index.Tensor and any(
            isinstance(at, Far) and at.dtype == torch.bool for at in args[1]
        )
        self.count += bool(args) and isinstance(args[0], Far) and (fetched or counted or func in WAITS)
        return func(*args, **known)


@pytest.mark.parametrize("solver", sorted(Solver.members))
def test_a_run_waits_at_its_end_only(solver: str) -> None:
    guided = Guided(model(FAR), 2.0)
    with Waits() as waits:
        sample(guided, (5, 2), solver=solver, grid="uniform:start=0.99", steps=5, cond=LABELS)
    assert waits.count == 1


@pytest.mark.parametrize(("eta", "most"), [(0.0, 3), (1.0, 8)])
def test_an_adaptive_run_waits_a_few_times_a_round(eta: float, most: int) -> None:
    with Waits() as waits:
        run = adaptive(model(FAR), (5, 2), eta=eta, rtol=1e-2, cond=LABELS)
    assert waits.count <= most * run.rounds


def test_a_likelihood_waits_twice_a_call() -> None:
    with Waits() as waits:
        found = log_density(model(FAR), X.to(FAR), cond=LABELS)
    assert waits.count <= 2 * int(found.calls.max())


def test_a_round_of_all_calls_at_once_waits_once() -> None:
    table = Solver.of("ddim").tableau("linear", Uniform(steps=6))
    with Waits() as waits:
        run = parallel(table, model(FAR), X.to(FAR))
    assert waits.count <= run.rounds + table.calls + 1  # calls that have settled are looked at one by one
