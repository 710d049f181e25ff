"""A weighting that is learnt: every level counts by how hard it turns out to be."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from obverse.ground.errors import InvalidArgument, require
from obverse.ground.numerics import Number, exact
from obverse.ground.shapes import against
from obverse.nets.waves import waves
from obverse.objective.weightings.faces import FlowMSE
from obverse.objective.weightings.weighting import Weighting
from obverse.path import Level, Prediction

NAME = "log_variance"  # of the module among the network's own


class LogVariance(nn.Module):
    """u(logsnr): the logarithm of the squared error to be expected there; 0 until it has learnt.

    Args:     octaves: waves it is made of; the slowest turns once in 64 units of log-SNR.
    """

    def __init__(self, octaves: int) -> None:
        super().__init__()
        self.octaves = range(-6, -6 + octaves)
        self.weight, self.bias = nn.Parameter(torch.zeros(2 * octaves)), nn.Parameter(torch.zeros(()))

    def forward(self, logsnr: Tensor) -> Tensor:
        """u of each log-SNR, which is held within ±30; (batch,)."""
        at = waves(logsnr.clamp(-30, 30).to(self.weight), self.octaves)
        return (at * self.weight).sum(-1) + self.bias  # no matrix product, which autocast would round

    @classmethod
    def of(cls, model: object) -> LogVariance:
        """The one that was put beside the network of a model; models and networks around them are looked into.

        Raises:   InvalidArgument where there is none.
        """
        while not hasattr(model, "net") and hasattr(model, "model"):
            model = model.model
        net = getattr(model, "net", model)
        modules = net.modules() if isinstance(net, nn.Module) else ()
        found = next((module for module in modules if isinstance(module, cls)), None)
        if found is None:
            raise InvalidArgument(
                "weighting 'learned' keeps its parameters in the network and found none there: call "
                "objective.prepare(net) once, before the optimiser is made."
            )
        return found


@dataclass(frozen=True)
class Learned(Weighting, name="learned"):
    """Another weighting over the error that is to be expected, which is learnt on the way: loss exp(-u) + u.

    At its optimum exp(u) is the mean weighted error at each log-SNR, so that all levels come to count alike. u lives in
    the network (`Objective.prepare`), is trained, saved and averaged with it, and is not needed to sample. As a
    function of log-SNR it is the other weighting, where it starts from.

    Args:     base: the weighting whose error is balanced.
              octaves: of the waves that u is made of; 6 resolve two units of log-SNR.
    Source:   Karras et al. (2024), "Analyzing and improving the training dynamics of diffusion models";
              Kendall et al. (2018).
    """

    base: Weighting = field(default_factory=FlowMSE)
    octaves: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.octaves <= 12, f"learned: octaves is a whole number in [1, 12], got {self.octaves} (try 6).")

    def __call__(self, logsnr: Tensor) -> Tensor:
        return self.base(logsnr)

    def on(self, face: Prediction, level: Level, density: Tensor) -> Tensor:
        return self.base.on(face, level, density)

    def over(self, logsnr: Tensor, density: Tensor) -> Tensor:
        return self.base.over(logsnr, density)

    def beside(self) -> nn.Module | None:
        return LogVariance(self.octaves)

    def balance(self, loss: Tensor, level: Level, model: object, ratio: Number) -> Tensor:
        module = LogVariance.of(model)
        u: Tensor = module(exact(level.logsnr)).to(loss)
        return loss * (-u).exp() + against(ratio, loss) * u
