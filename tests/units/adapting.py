"""What the tests of adaptive runs share: paths, two laws whose flow is known, and how far ends lie apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from obverse.model import Gaussian, Mixture
from obverse.path import EDM, VE, VP, Cosine, Linear, Schedule

PATHS = [Linear(), Cosine(), VP(), VE(), EDM()]
COVARIANCE = torch.tensor([[1.0, 0.3], [0.3, 0.5]], dtype=torch.float64)
TWO = Mixture(torch.tensor([[-1.0, 0.0], [1.0, 0.5]]), 0.1, torch.tensor([0.3, 0.7]), "linear")
FLOAT64: dict[str, Any] = {"dtype": torch.float64}


def gaussian(path: Schedule | str = "linear") -> Gaussian:
    return Gaussian(torch.tensor([0.5, -1.0]), COVARIANCE, path)


def rms(difference: Tensor) -> Tensor:
    return difference.square().flatten(1).mean(1).sqrt()


def noise_at(path: Schedule, count: int) -> Tensor:
    draws = torch.randn(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return draws * float(path.at(1.0).sigma)
