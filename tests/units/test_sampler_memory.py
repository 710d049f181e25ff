"""What a run keeps alive: never more than its table says, however many steps it has, and whatever draws it makes."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from obverse.model import Network
from obverse.sampler import Angle, Sampler, Solver

SOLVERS = ["ddim", "euler", "dpmpp-2m", "unipc", "heun", "pndm", "thrifty"]
STOCHASTIC = ["sde", "ddpm", "sde-adams", "sa-solver", "churn", "restart"]
LOOKS = 2048  # bytes of small change: weights of a matrix, times, shapes


class Alive(TorchDispatchMode):
    """Follows every storage that is made inside until it is freed: `peak` is the most bytes alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {
            leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)
        }
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            storage = leaf.untyped_storage() if isinstance(leaf, torch.Tensor) else None
            if storage is not None and storage._cdata not in self._known | given:
                self._known.add(storage._cdata)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return made

    def _freed(self, name: int, size: int) -> None:
        self._known.discard(name)
        self.now -= size


def peak_and_said(solver: str, steps: int, shape: tuple[int, ...]) -> tuple[int, int]:
    model = Network(lambda x_t, _: x_t * 0.5, "linear", predicts="flow", cond="none")
    table, start = Solver.of(solver).tableau(model.schedule, Angle(steps=steps)), torch.ones(shape)
    table.on_face(model.face).program.weights(start.dtype)  # made once for all runs
    with torch.no_grad(), Alive() as alive:
        Sampler(table).end(model, start)
    return alive.peak, table.on_face(model.face).held(shape)


@pytest.mark.parametrize("solver", [*SOLVERS, *STOCHASTIC])
@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (64, 2)])
def test_a_run_holds_what_its_table_says_at_most(solver: str, shape: tuple[int, ...]) -> None:
    peak, said = peak_and_said(solver, 10, shape)
    assert peak <= said + LOOKS * 10


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_beyond_the_shared_path_too(solver: str) -> None:
    peak, said = peak_and_said(solver, 120, (4, 3, 64, 64))
    assert 0.3 * said < peak <= said + LOOKS * 120
