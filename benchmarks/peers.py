"""Samplers of other libraries behind one protocol (peer.py); `found` gives all that can be had.

A peer is handed the exact levels (noise-to-signal ratios, noise first) and an exact model that counts its calls; what
differs between libraries is turned here. A package that is not installed is left out, by name.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor

from peer import DOUBLE, Ask, Levels, Peer, circle, rate, time_of
from peers_diffusers import diffusers, diffusers_stochastic
from peers_research import diff_sampler, unipc


def k_diffusion() -> Iterator[Peer]:
    """Samplers of k-diffusion, whose requirements beyond torch are left empty where they are missing."""
    k = _k_diffusion()

    def peer(name: str, function: str, per_step: int = 1, saved: int = 0, **more: object) -> Peer:
        return Peer(f"k-diffusion {name}", _denoiser(getattr(k, function), **more), per_step=per_step, saved=saved)

    yield peer("Euler", "sample_euler")
    yield peer("Heun", "sample_heun", 2, 1)
    yield peer("DPM-2", "sample_dpm_2", 2, 1)
    yield peer("DPM++2S", "sample_dpmpp_2s_ancestral", 2, 1, eta=0.0)
    yield peer("DPM++2M", "sample_dpmpp_2m")
    yield peer("DPM++2M heun", "sample_dpmpp_2m_sde", eta=0.0, solver_type="heun", noise_sampler=_silent)
    yield peer("DPM++3M", "sample_dpmpp_3m_sde", eta=0.0, noise_sampler=_silent)
    yield peer("LMS-4", "sample_lms")


def k_diffusion_stochastic() -> Iterator[Peer]:
    """Stochastic samplers of k-diffusion, with independent draws in place of its Brownian tree: the same law."""
    k = _k_diffusion()
    for name, function, per_step in (
        ("Euler ancestral", "sample_euler_ancestral", 1),
        ("DPM++2M SDE", "sample_dpmpp_2m_sde", 1),
        ("DPM++3M SDE", "sample_dpmpp_3m_sde", 1),
        ("DPM++2S ancestral", "sample_dpmpp_2s_ancestral", 2),
    ):
        run = _denoiser(getattr(k, function), noise_sampler=True)
        yield Peer(f"k-diffusion {name}", run, per_step=per_step, saved=per_step - 1)


def azula() -> Iterator[Peer]:
    """Samplers of azula."""
    from azula import sample as a

    yield Peer("azula DDIM", _azula(a.DDIMSampler))
    yield Peer("azula Heun", _azula(a.HeunSampler), per_step=2, zero=False)
    for order in (2, 3, 4):
        for name, zero in (("zAB", True), ("vAB", True), ("zEAB", False), ("xEAB", False), ("REAB", False)):
            yield Peer(f"azula {name}-{order}", _azula(getattr(a, f"{name}Sampler"), order=order), zero=zero)


def flow_matching() -> Iterator[Peer]:
    """Fixed-step solvers of flow_matching (which are torchdiffeq's)."""
    from flow_matching.solver import ODESolver

    for method, per_step in (("euler", 1), ("midpoint", 2), ("heun3", 3), ("rk4", 4)):

        def run(ask: Ask, eps: Tensor, levels: Levels, method: str = method) -> Tensor:
            def velocity(x: Tensor, t: Tensor) -> Tensor:
                return -rate(ask, x, 1 - float(t))

            grid = torch.tensor([1 - time_of(nsr) for nsr in levels], dtype=DOUBLE)
            ended: Tensor = ODESolver(velocity).sample(eps * time_of(levels[0]), None, method, time_grid=grid)
            return ended

        yield Peer(f"flow_matching {method}", run, True, True, per_step)


def torchdyn() -> Iterator[Peer]:
    """Fixed-step solvers of torchdyn, which torchcfm samples with."""
    _absent("torchcde")
    from torchdyn.numerics import odeint

    for method, per_step in (("midpoint", 2), ("rk4", 4)):

        def run(ask: Ask, eps: Tensor, levels: Levels, method: str = method) -> Tensor:
            grid = torch.tensor([1 - time_of(nsr) for nsr in levels], dtype=DOUBLE)
            _, states = odeint(
                lambda t, x, **_: -rate(ask, x, 1 - float(t)), eps * time_of(levels[0]), grid, solver=method
            )
            ended: Tensor = states[-1]
            return ended

        yield Peer(f"torchdyn {method}", run, True, True, per_step)


def found(repositories: Path | None, stochastic: bool = False) -> list[Peer]:
    """All peers that can be had; says which packages cannot."""
    groups: list[Callable[[], Iterator[Peer]]] = [diffusers, k_diffusion, azula, flow_matching, torchdyn]
    if repositories is not None:
        groups += [lambda: diff_sampler(repositories), lambda: unipc(repositories)]
    peers: list[Peer] = []
    for group in (diffusers_stochastic, k_diffusion_stochastic) if stochastic else groups:
        try:
            peers += list(group())
        except (ImportError, OSError) as missing:
            print(f"left out: {missing}", file=sys.stderr)
    return peers


def _denoiser(function: Callable[..., Tensor], **more: Any) -> Callable[[Ask, Tensor, Levels], Tensor]:
    """A sampler of k-diffusion; noise_sampler=True means independent draws."""

    def run(ask: Ask, eps: Tensor, levels: Levels) -> Tensor:
        def net(y: Tensor, nsr: Tensor) -> Tensor:
            return ask.data(y, float(nsr.flatten()[0]))

        options = dict(more)
        if options.get("noise_sampler") is True:
            options["noise_sampler"] = lambda *_: torch.randn_like(eps)
        return function(net, eps * levels[0], torch.tensor(levels, dtype=DOUBLE), disable=True, **options)

    return run


def _azula(kind: Any, **more: Any) -> Callable[[Ask, Tensor, Levels], Tensor]:
    def run(ask: Ask, eps: Tensor, levels: Levels) -> Tensor:
        count, places = len(levels) - 1, torch.tensor([circle(nsr) for nsr in levels], dtype=DOUBLE)

        class Denoiser:
            def schedule(self, t: Tensor) -> tuple[Tensor, Tensor]:
                place = ((1 - t) * count).round().long()
                return places[place, 0], places[place, 1]

            def __call__(self, x: Tensor, t: Tensor) -> Any:
                return types.SimpleNamespace(mean=ask(x, *self.schedule(t)).data)

        ended: Tensor = kind(Denoiser(), steps=count, silent=True, dtype=DOUBLE, **more)(eps * places[0, 1])
        return ended / places[-1, 0]

    return run


def _k_diffusion() -> Any:
    """k_diffusion.sampling without its package's __init__, which wants a training stack."""
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("k_diffusion")
    _absent("torchvision")
    package = types.ModuleType("k_diffusion")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["k_diffusion"] = package
    return importlib.import_module("k_diffusion.sampling")


def _absent(name: str) -> None:
    """Let a package that is imported, but not used here, be empty where it is missing."""
    if importlib.util.find_spec(name) is None:
        sys.modules[name] = MagicMock(__path__=[], __spec__=None)
        sys.modules[f"{name}.transforms"] = sys.modules[name].transforms


def _silent(*_: object) -> float:
    return 0.0
