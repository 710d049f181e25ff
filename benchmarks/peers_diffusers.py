"""The schedulers of diffusers as peers: its sigmas, or its table of alphas, replaced by the exact levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from peer import DOUBLE, Ask, Levels, Peer, circle, line


def diffusers() -> Iterator[Peer]:
    """Deterministic schedulers of diffusers, on the circle and on the straight line."""
    import diffusers as d

    def peer(name: str, kind: Any, flow: bool = False, zero: bool = True, **config: object) -> Peer:
        return Peer(f"diffusers {name}", _scheduler(kind, flow, **config), flow, zero=zero)

    for flow in (False, True):
        for order in (1, 2, 3):
            for final in (True, False) if order == 3 else (True,):
                tag = "" if final else " full"
                more: dict[str, Any] = {"solver_order": order, "lower_order_final": final}
                yield peer(f"DPM++{order}M{tag}", d.DPMSolverMultistepScheduler, flow, **more)
                for kind in ("bh1", "bh2") if order > 1 else ():
                    zero = kind == "bh2" and final
                    kept = more | {"solver_type": kind}
                    yield peer(f"UniPC-{order} {kind}{tag}", d.UniPCMultistepScheduler, flow, zero, **kept)
        yield peer("DPM++2M heun", d.DPMSolverMultistepScheduler, flow, solver_type="heun")
        for order in (2, 3):
            yield peer(f"DEIS-{order}", d.DEISMultistepScheduler, flow, zero=False, solver_order=order)
    yield Peer("diffusers iPNDM", _ipndm(d.IPNDMScheduler))


def diffusers_stochastic() -> Iterator[Peer]:
    """Stochastic schedulers of diffusers."""
    import diffusers as d

    # the first is its default
    windows: dict[str, Callable[[float], int]] = {"": lambda t: 1 if 200 <= t <= 800 else 0, " tau=1": lambda _: 1}
    for tag, tau in windows.items():
        for order in (1, 2, 3):
            more: dict[str, Any] = {"predictor_order": order, "corrector_order": order, "tau_func": tau}
            yield Peer(f"diffusers SA-Solver-{order}{tag}", _scheduler(d.SASolverScheduler, False, **more), zero=False)
    for kind in ("midpoint", "heun"):
        more = {"algorithm_type": "sde-dpmsolver++", "solver_type": kind}
        yield Peer(f"diffusers SDE-DPM++2M {kind}", _scheduler(d.DPMSolverMultistepScheduler, False, **more))
    yield Peer("diffusers DDPM", _discrete(d.DDPMScheduler, {"variance_type": "fixed_small"}, {}))
    yield Peer("diffusers DDPM large", _discrete(d.DDPMScheduler, {"variance_type": "fixed_large"}, {}))
    yield Peer("diffusers DDIM eta=1", _discrete(d.DDIMScheduler, {}, {"eta": 1.0}))


def _scheduler(kind: Any, flow: bool, **config: object) -> Callable[[Ask, Tensor, Levels], Tensor]:
    """A sigma-based scheduler of diffusers with its sigmas replaced."""
    path = {"prediction_type": "flow_prediction", "use_flow_sigmas": True} if flow else {"prediction_type": "sample"}

    def run(ask: Ask, eps: Tensor, levels: Levels) -> Tensor:
        places = [line(nsr) if flow else circle(nsr) for nsr in levels]
        scheduler = kind(**path, **config)
        count = len(levels) - 1
        scheduler.set_timesteps(count)
        scheduler.sigmas = torch.tensor([place[1] for place in places] if flow else list(levels), dtype=DOUBLE)
        scheduler.timesteps = torch.tensor([_whole_time(nsr) for nsr in levels[:-1]])
        scheduler.set_begin_index(0)
        x = eps * places[0][1]
        for n, (alpha, sigma) in enumerate(places[:-1]):
            known = ask(x, alpha, sigma)
            output = known.noise - known.data if flow else known.data
            x = scheduler.step(output, scheduler.timesteps[n], x).prev_sample.double()
        return x / places[-1][0]

    return run


def _ipndm(kind: Any) -> Callable[[Ask, Tensor, Levels], Tensor]:
    def run(ask: Ask, eps: Tensor, levels: Levels) -> Tensor:
        places = [circle(nsr) for nsr in levels]
        scheduler = kind()
        scheduler.set_timesteps(len(levels) - 1)
        scheduler.alphas, scheduler.betas = (torch.tensor(column, dtype=DOUBLE) for column in zip(*places, strict=True))
        scheduler.timesteps = torch.arange(len(levels) - 1, 0, -1)
        scheduler.set_begin_index(0)
        x = eps * places[0][1]
        for n, (alpha, sigma) in enumerate(places[:-1]):
            known = ask(x, alpha, sigma)
            x = scheduler.step(alpha * known.noise - sigma * known.data, scheduler.timesteps[n], x).prev_sample
        return x / places[-1][0]

    return run


def _discrete(kind: Any, config: dict[str, Any], more: dict[str, Any]) -> Callable[[Ask, Tensor, Levels], Tensor]:
    """A scheduler of diffusers that counts in whole times, with its table of alphas replaced; ends at 0."""

    def run(ask: Ask, eps: Tensor, levels: Levels) -> Tensor:
        places = [circle(nsr) for nsr in levels[:-1]]
        count = len(places)
        scheduler = kind(num_train_timesteps=count, prediction_type="sample", clip_sample=False, **config)
        scheduler.set_timesteps(count)
        setattr(scheduler, "alphas_" + "cumprod", torch.tensor([a * a for a, _ in reversed(places)], dtype=DOUBLE))
        x = eps * places[0][1]
        for n, (alpha, sigma) in enumerate(places):
            x = scheduler.step(ask(x, alpha, sigma).data, count - 1 - n, x, **more).prev_sample
        return x

    return run


def _whole_time(nsr: float) -> float:
    """The place of a level among DDPM's 1000 times."""
    return 1000 * (math.sqrt(0.01 + 39.8 * math.log1p(nsr * nsr)) - 0.1) / 19.9
