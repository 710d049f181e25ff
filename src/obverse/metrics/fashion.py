"""A small network for grey images of 28 x 28, shipped: what it sees in an image, and which garment it takes it for.

Trained on the 60,000 training images of Fashion-MNIST by benchmarks/feature_network.py; the file says how, and how
often it is right. Distances between its features are called F-..., never FID: they compare with each other alone.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from obverse.ground.errors import InvalidArgument

SHAPE = (1, 28, 28)
FEATURES = 128
CLASSES = 10
WEIGHTS = Path(__file__).with_name("fashion.safetensors")


class FashionNetwork(nn.Module):
    """Four convolutions, the mean over the image, one linear layer; normalisation is folded into the weights.

    Example:
        >>> FashionNetwork()(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(*channels, kernel, stride=stride, padding=kernel // 2)
            for channels, kernel, stride in (
                ((1, 32), 5, 2),
                ((32, 64), 3, 1),
                ((64, 128), 3, 2),
                ((128, FEATURES), 3, 1),
            )
        )
        self.classify = nn.Linear(FEATURES, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        """What the last linear layer is given; (n 1 28 28) in [-1, 1] -> (n, 128)."""
        for convolution in self.convolutions:
            x = convolution(x).relu()
        return x.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the ten classes, before the softmax; (n 1 28 28) in [-1, 1] -> (n, 10)."""
        scores: Tensor = self.classify(self.features(x))
        return scores


@cache
def network(device: torch.device | str = "cpu") -> FashionNetwork:
    """The network with its shipped weights, in eval mode and float32; one for each device."""
    with safe_open(WEIGHTS, "pt") as file:
        weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
    made = FashionNetwork()
    made.load_state_dict(weights)
    return made.eval().requires_grad_(False).to(device)


def facts() -> dict[str, str]:
    """What the shipped file says of its weights: what, data, trained, accuracy, classes, version.

    Example:
        >>> 0.9 < float(facts()["accuracy"]) < 1
        True
    """
    with safe_open(WEIGHTS, "pt") as file:
        return dict(file.metadata())


def classes() -> tuple[str, ...]:
    """What the ten garments are called, in order.

    Example:
        >>> classes()[0]
        'T-shirt/top'
    """
    return tuple(json.loads(facts()["classes"]))


def class_accuracy(x: Tensor, labels: Tensor, *, batch: int = 256) -> float:
    """Share of samples that a network trained on real Fashion-MNIST takes for the garment they were asked to be.

    Args:     x: samples; (n 1 28 28) in [-1, 1].
              labels: the class each was asked for, numbered as in Fashion-MNIST; whole numbers, (n).
              batch: samples seen at once.
    Returns:  the share, in [0, 1]; on the 10,000 test images it is `facts()["accuracy"]`.
    Raises:   InvalidArgument for other shapes, and for labels outside 0 ... 9.
    """
    x = images(x)
    if labels.shape != x.shape[:1] or labels.is_floating_point():
        raise InvalidArgument(
            f"labels is one whole number for each of {len(x)} rows, got {labels.dtype} of {tuple(labels.shape)}."
        )
    if not ((labels >= 0) & (labels < CLASSES)).all():
        raise InvalidArgument(
            f"labels are garments 0 ... {CLASSES - 1}, got {int(labels.min())} ... {int(labels.max())}."
        )
    with torch.no_grad():
        found = torch.cat([network(x.device)(some).argmax(1) for some in torch.split(x, batch)])
    return float((found == labels.to(x.device)).double().mean())


def images(x: Tensor) -> Tensor:
    """The samples in float32, if they are what the network was made for.

    Raises:   InvalidArgument for other shapes.
    """
    if x.shape[1:] != SHAPE:
        raise InvalidArgument(
            f"The network called fashion sees grey images (n 1 28 28) in [-1, 1], got the shape {tuple(x.shape)} "
            "(features=raw, or a network of your own)."
        )
    return x.float()
