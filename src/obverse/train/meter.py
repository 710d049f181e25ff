"""What a line of metrics sums up; saved with the rest, so that a resumed line is the line."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_EDGE, _WIDTH = 20.0, 2.0  # log-SNR; e^20 is beyond float32, and a factor e in signal is as fine as a plot shows
_BINS = int(2 * _EDGE / _WIDTH)
_MOST = 64  # steps that wait to be sorted into bins together


class Meter:
    """Running sums since the last line: of loss, gradient norm and gradient noise, and of the loss at each log-SNR.

    The gradient's noise scale is tr Σ / |G|²: the batch at which noise and signal of the gradient are as large as each
    other. With the gradient g_1 of the first of k equal parts of a step and g of the whole batch B,

        |G|² ~ (k |g|² - |g_1|²) / (k - 1),        tr Σ ~ B (|g_1|² - |g|²) / (k - 1)

    are unbiased where samples are drawn independently (stratified times make the noise, and so the scale, smaller);
    what is read is the ratio of their means since the last line.

    Source:   McCandlish et al. (2018), appendix A.1.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin the next line."""
        self.sums = [0.0] * 5  # steps, loss, norm, tr Σ, |G|²
        self.bins = torch.zeros(3, _BINS, dtype=torch.float64)  # samples, loss, floor
        self.floored = False
        self._waiting: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def add(self, loss: float, norm: float, per_sample: Tensor, logsnr: Tensor, floor: Tensor | None = None) -> None:
        """Take one step in.

        Args:     loss, norm: of the step.
                  per_sample, logsnr: of each sample; (batch).
                  floor: what the exact model would have lost on it; (batch).
        """
        for i, value in enumerate((1.0, loss, norm)):
            self.sums[i] += value
        self._waiting.append((per_sample, logsnr, floor))
        if len(self._waiting) >= _MOST:
            self._sort()

    def add_noise(self, part: float, whole: float, batch: int, parts: int) -> None:
        """Take in the squared norms of the gradients of one of some equal parts and of the whole batch."""
        self.sums[3] += batch * (part - whole) / (parts - 1)
        self.sums[4] += (parts * whole - part) / (parts - 1)

    def read(self) -> dict[str, float | list[list[float]]]:
        """Means since the last line; the loss by log-SNR as [centre, mean, samples] of each bin that was met."""
        self._sort()
        steps, loss, norm, spread, signal = self.sums
        if not steps:
            return {}
        met = [(i, *column) for i, column in enumerate(self.bins.T.tolist()) if column[0]]
        line: dict[str, float | list[list[float]]] = {"loss": loss / steps, "gradient_norm": norm / steps}
        if spread > 0 and signal > 0:
            line["gradient_noise_scale"] = spread / signal
        centres = [_WIDTH * (i + 0.5) - _EDGE for i, *_ in met]
        line["loss_by_logsnr"] = [[c, total / n, int(n)] for c, (_, n, total, _) in zip(centres, met, strict=True)]
        if self.floored:
            line["floor_by_logsnr"] = [[c, least / n, int(n)] for c, (_, n, _, least) in zip(centres, met, strict=True)]
        return line

    def state(self) -> dict[str, Tensor]:
        """The sums."""
        self._sort()
        return {"sums": torch.tensor(self.sums, dtype=torch.float64), "bins": self.bins[: 2 + self.floored]}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from saved sums."""
        self.clear()
        saved, bins = tensors["sums"].tolist(), tensors["bins"]
        self.sums[: len(saved)], self.bins[: len(bins)], self.floored = saved, bins, len(bins) > 2

    def _sort(self) -> None:
        """Put what waits into bins, in its order: many steps at once cost as much as one."""
        if not self._waiting:
            return
        losses, logsnr, floors = zip(*self._waiting, strict=True)
        place = ((torch.cat(logsnr).double() + _EDGE) / _WIDTH).clamp(0, _BINS - 1).long()
        self.bins[0].index_add_(0, place, torch.ones(len(place), dtype=torch.float64))
        self.bins[1].index_add_(0, place, torch.cat(losses).double())
        known = [floor for floor in floors if floor is not None]
        if known:
            self.floored = True
            self.bins[2].index_add_(0, place, torch.cat(known).double())
        self._waiting.clear()
