"""Samplers that are on no index, from checkouts: zju-pi/diff-sampler and wl-zhao/UniPC."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from peer import DOUBLE, Ask, Levels, Peer, circle


def diff_sampler(repositories: Path) -> Iterator[Peer]:
    """The multistep samplers of zju-pi/diff-sampler, thresholding switched off."""
    folder = repositories / "diff-sampler" / "diff-solvers-main"
    sys.path.insert(0, str(folder))
    try:
        utils, solvers = importlib.import_module("solver_utils"), importlib.import_module("solvers")
    finally:
        sys.path.remove(str(folder))
    for module in (utils, solvers):
        module.dynamic_thresholding_fn = lambda data: data

    def peer(name: str, function: str, prepare: Callable[[Tensor], dict[str, Any]], zero: bool = True) -> Peer:
        def run(ask: Ask, eps: Tensor, levels: Levels) -> Tensor:
            def net(x: Tensor, t: Tensor, *_: object, **__: object) -> Tensor:
                return ask.data(x.flatten(1), float(t.flatten()[0])).reshape(x.shape)

            times = torch.tensor(levels, dtype=DOUBLE)
            x = eps.reshape(len(eps), 1, 1, -1)  # it takes pictures
            more = {"num_steps": len(levels), "t_steps": times} | prepare(times)
            ended: Tensor = getattr(solvers, function)(net, x, **more)
            return ended.flatten(1)

        return Peer(f"diff-sampler {name}", run, zero=zero)

    for order in (2, 3, 4):
        yield peer(f"iPNDM-{order}", "ipndm_sampler", lambda _, order=order: {"max_order": order})
        yield peer(f"iPNDM_v-{order}", "ipndm_v_sampler", lambda _, order=order: {"max_order": order})
        if order == 4:
            continue

        def deis(times: Tensor, order: int = order) -> dict[str, Any]:
            return {"max_order": order, "coeff_list": utils.get_deis_coeff_list(times, order)}

        yield peer(f"DEIS-tab-{order}", "deis_sampler", deis, zero=False)
        yield peer(f"UniPC-{order}", "unipc_sampler", lambda _, order=order: {"max_order": order})


def unipc(repositories: Path) -> Iterator[Peer]:
    """UniPC as its authors released it (wl-zhao/UniPC)."""
    spec = importlib.util.spec_from_file_location("uni_pc", repositories / "UniPC" / "uni_pc.py")
    if spec is None or spec.loader is None:
        raise ImportError("UniPC")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Clock:
        """Its noise schedule, with time = log nsr, so that any levels can be given."""

        T, total_N = 1.0, 1000  # noqa: N815

        def marginal_log_mean_coeff(self, t: Tensor) -> Tensor:
            return -torch.nn.functional.softplus(2 * t) / 2

        def marginal_alpha(self, t: Tensor) -> Tensor:
            return (-2 * t).sigmoid().sqrt()

        def marginal_std(self, t: Tensor) -> Tensor:
            return (2 * t).sigmoid().sqrt()

        def marginal_lambda(self, t: Tensor) -> Tensor:
            return -t

    def peer(order: int, variant: str, final: bool) -> Peer:
        def run(ask: Ask, eps: Tensor, levels: Levels) -> Tensor:
            def net(x: Tensor, t: Tensor) -> Tensor:
                return ask(x.flatten(1), *circle(math.exp(float(t[0])))).noise.reshape(x.shape)

            solver = module.UniPC(net, Clock(), variant=variant)
            solver.get_time_steps = lambda **_: torch.tensor(levels, dtype=DOUBLE).log()
            more = {"steps": len(levels) - 1, "order": order, "lower_order_final": final}
            with contextlib.redirect_stdout(io.StringIO()):
                x = (eps * circle(levels[0])[1]).reshape(len(eps), 1, 1, -1)
                ended: Tensor = solver.sample(x, t_start=1.0, t_end=1.0, **more).flatten(1)
            return ended / circle(levels[-1])[0]

        return Peer(
            f"UniPC-{order} {variant}{'' if final else ' full'} (authors)", run, zero=variant == "bh2" and final
        )

    for order in (2, 3):
        for variant in ("bh1", "bh2", "vary_coeff"):
            for final in (True, False) if order == 3 else (True,):
                yield peer(order, variant, final)
