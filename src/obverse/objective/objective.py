"""What training minimises: a time law, a weighting and a coupling, in whatever face the model predicts (T43)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact
from obverse.ground.shapes import against, mean_of_rows
from obverse.model import Cond, Model
from obverse.nets import drop
from obverse.objective.couplings import Coupling
from obverse.objective.times import TimeLaw
from obverse.objective.weightings import Weighting
from obverse.path import Level, Noise, gain


class Loss(NamedTuple):
    """A loss, as a whole and apart.

    mean: what to differentiate; (). per_sample: (batch,). level: where each sample was looked at.
    noise_error: mean squared error of eps, unweighted, what weightings act on; (batch,), detached.
    """

    mean: Tensor
    per_sample: Tensor
    level: Level
    noise_error: Tensor

    @property
    def logsnr(self) -> Tensor:
        """log-SNR of each sample; float64 (batch,)."""
        return exact(self.level.logsnr)


class Objective:
    """E [ weight(logsnr) |eps^ - eps|² ] over the time law and the coupling, means over the data's dimensions.

    Args:     times: uniform, logit-normal, log-normal-nsr, stratified ...; a name, a spec or a TimeLaw.
              weighting: flow, noise, data, v, edm, min-snr, elbo, sigmoid ...
              coupling: independent, exact-ot.
              drop: share of samples whose condition is hidden, for classifier-free guidance (label -1, NaN rows).

    Example:
        >>> import torch
        >>> from obverse.model import Gaussian
        >>> oracle = Gaussian(torch.zeros(2), 1.0, "linear")
        >>> x = oracle.sample(4096, seed=1).float()
        >>> round(float(Objective()(oracle, x, seed=0).mean), 1)  # E tr Cov / d = pi / 2
        1.6
    """

    def __init__(
        self,
        times: TimeLaw | str = "uniform",
        weighting: Weighting | str = "flow",
        coupling: Coupling | str = "independent",
        drop: float = 0.0,
    ) -> None:
        self.times = TimeLaw.of(times)
        self.weighting = Weighting.of(weighting)
        self.coupling = Coupling.of(coupling)
        if not 0 <= drop <= 1:
            raise InvalidArgument(f"drop is a share in [0, 1], got {drop} (0.1 is usual for guidance).")
        self.drop = drop

    def __call__(
        self,
        model: Model,
        x: Tensor,
        cond: Cond = None,
        *,
        seed: int = 0,
        step: int = 0,
        samples: Sequence[int] | Tensor | None = None,
    ) -> Loss:
        """The loss of one batch.

        Args:     model: whose estimate is asked; its schedule is the path, its face the target.
                  x: data; (batch *data).
                  cond: one row for each sample.
                  seed, step, samples: whose draws: a step of a run, and the rows within it; default 0, 1, 2 ...
        """
        here = torch.arange(len(x)) if samples is None else torch.as_tensor(samples).cpu()  # levels live on the CPU
        draws = {"seed": seed, "step": step, "samples": here}
        eps = noise.normal(x.shape, purpose="eps", dtype=x.dtype, device=x.device, **draws)  # type: ignore[arg-type]
        eps = self.coupling.pair(x, eps)
        level = self.times.level(self.times.uniforms(len(x), **draws), model.schedule)  # type: ignore[arg-type]
        if self.drop and cond is not None:
            hidden = noise.uniform((len(x),), purpose="drop", **draws) < self.drop  # type: ignore[arg-type]
            cond = drop(cond, hidden.to(x.device))
        x_t = against(level.alpha, x) * x + against(level.sigma, x) * eps
        a, b = model.face.row(level)
        target = against(a, x) * x + against(b, x) * eps
        away = model.at(level, x_t)(x_t, cond) - target
        error = mean_of_rows(away.to(torch.promote_types(away.dtype, torch.float32)) ** 2)
        weight = self.weighting.on(model.face, level, self.times.density(level))
        per_sample = against(weight, error) * error
        to_noise = against(exact(gain(model.face, Noise(), level)) ** 2, error)
        return Loss(per_sample.mean(), per_sample, level, (to_noise * error).detach())
