"""What a line of metrics sums up; saved with the rest, so that a resumed line is the line."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_EDGE, _WIDTH = 20.0, 2.0  # log-SNR; e^20 is beyond float32, and a factor e in signal is as fine as a plot shows
_BINS = int(2 * _EDGE / _WIDTH)


class Meter:
    """Running sums since the last line: of the loss, of the gradient's norm, of the loss at each log-SNR."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin the next line."""
        self.sums = torch.zeros(3, dtype=torch.float64)  # steps, loss, norm
        self.bins = torch.zeros(2, _BINS, dtype=torch.float64)  # samples, loss

    def add(self, loss: float, norm: float, per_sample: Tensor, logsnr: Tensor) -> None:
        """Take one step in.

        Args:     loss, norm: of the step.
                  per_sample, logsnr: of each sample; (batch).
        """
        self.sums += torch.tensor([1.0, loss, norm], dtype=torch.float64)
        place = ((logsnr.double() + _EDGE) / _WIDTH).clamp(0, _BINS - 1).long()
        self.bins[0].index_add_(0, place, torch.ones(len(place), dtype=torch.float64))
        self.bins[1].index_add_(0, place, per_sample.double())

    def read(self) -> dict[str, float | list[list[float]]]:
        """Means since the last line; the loss by log-SNR as [centre, mean, samples] of each bin that was met."""
        steps, loss, norm = self.sums.tolist()
        if not steps:
            return {}
        rows = [
            [_WIDTH * (i + 0.5) - _EDGE, total / count, int(count)]
            for i, (count, total) in enumerate(self.bins.T.tolist())
            if count
        ]
        return {"loss": loss / steps, "gradient_norm": norm / steps, "loss_by_logsnr": rows}

    def state(self) -> dict[str, Tensor]:
        """The sums."""
        return {"sums": self.sums, "bins": self.bins}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from saved sums."""
        self.sums, self.bins = tensors["sums"].clone(), tensors["bins"].clone()
