"""What a weighting is: how much an error counts, as a function of log-SNR on the squared error of the noise (T46)."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from obverse.ground.families import Family
from obverse.ground.numerics import Number, exact
from obverse.path import Level, Noise, Prediction, gain


class Weighting(Family, family="weighting"):
    """What a squared error of the noise is multiplied by at a log-SNR, for every draw of the time law.

    To add one, write `__call__`; `on` carries it to any face by the gain (the gain law: whatever the network
    predicts, the expected loss is the same).
    """

    @abstractmethod
    def __call__(self, logsnr: Tensor) -> Tensor:
        """The weight on |eps^ - eps|²; float64, any shape."""

    def on(self, face: Prediction, level: Level, density: Tensor) -> Tensor:
        """The weight on the squared error of a face.

        Args:     face: what the network predicts.
                  level: where.
                  density: of the time law per unit of log-SNR there; only weightings of the integral over log-SNR
                      need it.
        """
        return self(exact(level.logsnr)) * exact(gain(face, Noise(), level)) ** 2

    def over(self, logsnr: Tensor, density: Tensor) -> Tensor:
        """The weight of each unit of log-SNR in the expected loss: w of T43.

        Args:     logsnr: float64, any shape.
                  density: of the time law there.
        """
        return self(logsnr) * density

    def beside(self) -> nn.Module | None:
        """What is learnt beside the network, if anything; `Objective.prepare` puts it there."""
        return None

    def balance(self, loss: Tensor, level: Level, model: object, ratio: Number) -> Tensor:
        """The loss of each sample, after what is learnt beside the network has had its say; (batch,).

        Args:     loss: the weighted error of each sample, `ratio` included.
                  level: where each was looked at.
                  model: whose network has what `beside` made.
                  ratio: `TimeLaw.ratio` there.
        """
        return loss


class OverLogSNR(Weighting):
    """Weights of the integral over log-SNR itself: the time law is divided out, so it only decides the variance."""

    def on(self, face: Prediction, level: Level, density: Tensor) -> Tensor:
        return super().on(face, level, density) / density

    def over(self, logsnr: Tensor, density: Tensor) -> Tensor:
        return self(logsnr)
