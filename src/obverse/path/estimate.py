"""A belief about (x, eps), readable in any face."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from obverse.path.level import Level
from obverse.path.prediction import Data, Flow, Noise, Prediction, Score, V, Velocity, change


@dataclass(frozen=True)
class Estimate:
    """What a model believes at (x_t, level): one row, from which every other follows.

    Args:     x_t: the state; (batch *data).
              level: where on the path; one for all samples or one for each.
              output: the prediction as the model made it; (batch *data).
              face: what that prediction is.
    Example:
        >>> import torch; from obverse.path import Linear
        >>> e = Estimate(torch.full((1, 2), 0.5), Linear().at(0.5), torch.full((1, 2), -1.0), Flow())
        >>> e.data
        tensor([[1., 1.]])
    """

    x_t: Tensor
    level: Level
    output: Tensor
    face: Prediction

    def on(self, face: Prediction | str) -> Tensor:
        """The same belief in any face; SingularConversion where it does not determine it."""
        return change(self.output, self.x_t, self.level, self.face, face)

    @property
    def data(self) -> Tensor:
        """E[x | x_t]."""
        return self.on(Data())

    @property
    def noise(self) -> Tensor:
        """E[eps | x_t]."""
        return self.on(Noise())

    @property
    def flow(self) -> Tensor:
        """E[eps - x | x_t]."""
        return self.on(Flow())

    @property
    def v(self) -> Tensor:
        """E[alpha eps - sigma x | x_t]."""
        return self.on(V())

    @property
    def velocity(self) -> Tensor:
        """The probability-flow ODE's dx_t/dt."""
        return self.on(Velocity())

    @property
    def score(self) -> Tensor:
        """grad log p_t(x_t)."""
        return self.on(Score())
