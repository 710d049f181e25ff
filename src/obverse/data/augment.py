"""Augmentation: what a batch's images go through, a function of (seed, step, sample) and of nothing else."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from obverse.ground import noise
from obverse.ground.errors import require
from obverse.ground.families import Family


class Augmentation(Family, family="augmentation"):
    """A change of images that leaves them images of the same kind; several are written `flip+crop:pixels=2`."""

    draws: int = 1  # numbers that it takes for each image

    @abstractmethod
    def change(self, x: Tensor, u: Tensor) -> Tensor:
        """Images in [-1, 1], changed; (batch, C, H, W) and draws in (0, 1) of (batch, draws)."""


@dataclass(frozen=True)
class Flip(Augmentation, name="flip"):
    """Mirrored left to right, every second time; not for letters and digits."""

    def change(self, x: Tensor, u: Tensor) -> Tensor:
        """See `Augmentation`."""
        return torch.where(u[:, :, None, None] < 0.5, x.flip(-1), x)


@dataclass(frozen=True)
class Crop(Augmentation, name="crop"):
    """Shifted by whole pixels, whose room the nearest ones fill.

    Args:     pixels: at most so many each way, >= 1.
    """

    pixels: int = 2
    draws = 2

    def __post_init__(self) -> None:
        require(self.pixels >= 1, f"crop shifts by pixels >= 1, got {self.pixels}.")

    def change(self, x: Tensor, u: Tensor) -> Tensor:
        """See `Augmentation`."""
        (_, _, height, width), reach = x.shape, self.pixels
        padded = functional.pad(x, (reach,) * 4, mode="replicate")
        down, right = (u * (2 * reach + 1)).long().unbind(1)
        rows, columns, each = (torch.arange(size, device=x.device) for size in (height, width, len(x)))
        rows, columns, each = down[:, None] + rows, right[:, None] + columns, each[:, None, None]
        return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Jitter(Augmentation, name="jitter"):
    """Brighter or darker, with more or less contrast, and back within black and white.

    Args:     amount: of both at most, in (0, 1].
    """

    amount: float = 0.1
    draws = 2

    def __post_init__(self) -> None:
        require(0 < self.amount <= 1, f"jitter's amount is in (0, 1], got {self.amount:g}.")

    def change(self, x: Tensor, u: Tensor) -> Tensor:
        """See `Augmentation`."""
        contrast, brightness = (self.amount * (2 * u - 1)).to(x.dtype)[:, :, None, None, None].unbind(1)
        return (x * (1 + contrast) + brightness).clamp(-1, 1)


def augmentations(spec: str) -> tuple[Augmentation, ...]:
    """The members of a spec such as `flip+crop:pixels=2`; `none` has none.

    Example:
        >>> augmentations("flip+crop:pixels=1")
        (Flip(), Crop(pixels=1))
    """
    return () if spec == "none" else tuple(Augmentation.of(part) for part in spec.split("+"))


def augmented(x: Tensor, members: tuple[Augmentation, ...], *, seed: int, step: int, samples: Tensor) -> Tensor:
    """Images changed by one member after the other.

    Args:     x: network units, in [-1, 1]; (batch, C, H, W).
              members: see `augmentations`.
              seed, step, samples: what the draws are a function of; samples is (batch,).
    Example:
        >>> x = torch.arange(4.0).reshape(1, 1, 2, 2) / 4
        >>> augmented(x, augmentations("none"), seed=0, step=0, samples=torch.tensor([7])) is x
        True
    """
    for place, member in enumerate(members):
        purpose = "augment" if not place else f"augment {place}"
        u = noise.uniform((len(x), member.draws), seed=seed, purpose=purpose, step=step, samples=samples)
        x = member.change(x, u.to(x.device))
    return x
