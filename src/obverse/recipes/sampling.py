"""How to sample a trained model, in one place; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """How to sample: what `obverse sample` takes, in one place.

    Args:
        solver: the method, such as dpmpp-2m, heun, ddim, sde:eta=0.5.
        steps: intervals of the grid.
        grid: which noise levels are visited, such as angle, logsnr, karras, uniform; auto: angle, begun at t = 0.999 if
            the network's prediction says nothing about pure noise.
        eta: of solvers that have one: 0 an ODE, 1 DDPM.
        guidance: classifier-free guidance; 1 is none, 2 to 4 usual.
        seed: of all draws.
        microbatch: the network's one batch size; 0 calls it with whole batches, faster and not bit-stable.
        schedule: see the model on another path; default its own.
    """

    solver: str = "dpmpp-2m"
    steps: int = 20
    grid: str = "auto"
    eta: float | None = None
    guidance: float = 1.0
    seed: int = 0
    microbatch: int = 16
    schedule: str | None = None
