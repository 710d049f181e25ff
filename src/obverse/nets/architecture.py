"""Architectures: the family of networks that can be built for data of a shape."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from obverse.ground.errors import InvalidArgument, require
from obverse.ground.families import Family
from obverse.nets.condition import UNCONDITIONAL, Conditions


class Architecture(Family, family="net"):
    """Hyper-parameters of a network, from which it is built for data of a shape.

    To add one, write `module`: a network called as `net(x_t, t, cond=None)`, whose answer has the shape of x_t.

    Example:
        >>> net = Architecture.of("unet:width=16").build((1, 8, 8))
        >>> net(torch.zeros(5, 1, 8, 8), torch.rand(5)).shape
        torch.Size([5, 1, 8, 8])
    """

    def build(self, shape: tuple[int, ...], condition: Conditions = UNCONDITIONAL, *, seed: int = 0) -> nn.Module:
        """A new network, its weights a function of the seed alone; its answer is exactly 0 until it has learnt.

        Args:     shape: of one sample, channels first.
                  condition: what it listens to.
                  seed: of the weights, 64 bits of it; the global generator is left as it was.
        Returns:  a module of x_t (batch *shape), t (batch) and cond.
        Raises:   InvalidArgument when the architecture cannot take this shape.
        """
        if not shape or min(shape) < 1:
            raise InvalidArgument(f"shape is that of one sample, every size at least 1, got {shape} (try (1, 8, 8)).")
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed % 2**64)  # as torch reads negative ones
            return self.module(tuple(shape), condition)

    @abstractmethod
    def module(self, shape: tuple[int, ...], condition: Conditions) -> nn.Module:
        """The network itself, its weights drawn from the global generator."""

    def positive(self, *names: str) -> None:
        """Refuse fields below 1."""
        for name in names:
            value = getattr(self, name)
            require(value >= 1, f"{self.name}: {name} is a whole number >= 1, got {value}.")

    def spatial(self, shape: tuple[int, ...]) -> int:
        """How many axes a grid of channels has; 1, 2 or 3."""
        if not 2 <= len(shape) <= 4:
            raise InvalidArgument(
                f"{self.name} takes (channels, *sizes) with 1 to 3 sizes, got shape {shape}; net 'mlp' takes any shape."
            )
        return len(shape) - 1


def check_call(shape: tuple[int, ...], x_t: Tensor, t: Tensor) -> None:
    """Refuse states and times that are not (batch *shape) and (batch)."""
    if x_t.shape[1:] != shape or t.shape != x_t.shape[:1]:
        raise InvalidArgument(
            f"This net takes x_t of shape (batch, {', '.join(map(str, shape))}) and one t for each row, got x_t "
            f"{tuple(x_t.shape)} and t {tuple(t.shape)} (t.expand(len(x_t)) makes one t serve all)."
        )


def zeroed(layer: nn.Module) -> nn.Module:
    """The same layer, its weight and bias 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
