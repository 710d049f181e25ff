"""How to sample a trained model, in one place; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Sampling:
    """How to sample: what `obverse sample` takes, in one place.

    Args:
        solver: the method, such as thrifty, dpmpp-2m, heun, ddim, sde:eta=0.5; adaptive:rtol=1e-3 chooses its own
            levels, for every sample as many as it needs.
        steps: intervals of the grid.
        grid: which noise levels are visited, such as angle, logsnr, karras, uniform; auto: scales, begun at t = 0.999
            if the network's prediction says nothing about pure noise.
        eta: of solvers that have one: 0 an ODE, 1 DDPM.
        guidance: classifier-free guidance; 1 is none, 2 to 4 usual.
        seed: of all draws.
        microbatch: the network's one batch size; 0 calls it with whole batches, faster and not bit-stable.
        schedule: see the model on another path; default its own.
        threshold: keep the data estimate within the range of the data (images): static cuts off what lies outside,
            dynamic shrinks a sample that leaves it as a whole, which keeps strong guidance from saturating.
        tableau: a file with a table to run, in place of solver, steps, grid and eta; `obverse tune` makes them.
    """

    solver: str = "thrifty"
    steps: int = 20
    grid: str = "auto"
    eta: float | None = None
    guidance: float = 1.0
    seed: int = 0
    microbatch: int = 16
    schedule: str | None = None
    threshold: Literal["none", "static", "dynamic"] = "none"
    tableau: str | None = None
