"""What a run holds: most bytes alive at once, against what the table says, for 10 steps and for 1,000.

Every tensor that an operation makes is followed until it is freed, so nothing hides; figures are in states of the run
(64 x 3 x 32 x 32 of float32, 0.8 MB). The network is one multiplication, and its output counts.
"""

from __future__ import annotations

import argparse
import json
import weakref
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import obverse as ob

SOLVERS = ("ddim", "dpmpp-2m", "dpmpp-3m", "unipc", "heun", "sde")
STEPS = (10, 1000)


class Alive(TorchDispatchMode):
    """Counts the bytes of all storages made inside that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.known and storage._cdata not in before:
                    self.known.add(storage._cdata)
                    self.bytes += storage.nbytes()
                    weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.bytes)
        return out

    def _freed(self, name: int, size: int) -> None:
        self.known.discard(name)
        self.bytes -= size


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = {}
    model = ob.Network(lambda x_t, _: x_t * 0.5, "linear", predicts="flow", cond="none")
    x = torch.randn(64, 3, 32, 32)
    for solver in SOLVERS:
        for steps in STEPS if solver != "sde" else (10, 100):
            table = ob.solvers.Solver.of(solver).tableau("linear", ob.grids.Angle(steps=steps))
            with torch.no_grad(), Alive() as alive:
                ob.Sampler(table).end(model, x)
            size = x.numel() * 4
            peak, said = alive.peak / size, table.on_face(model.face).held(x.shape) / size
            results[f"{solver} {steps}"] = {"peak": peak, "said": said}
            print(f"{solver:10} {steps:5} steps   peak {peak:6.2f} states   the table says {said:6.2f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
