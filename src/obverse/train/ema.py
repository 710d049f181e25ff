"""The average of the weights over training, which samples better than the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from obverse.ground.errors import InvalidArgument


class EMA:
    """An exponential moving average of a module's parameters, with the counter that its rate depends on.

        w̄ <- w + 2^(-1/h) (w̄ - w),    h = min(halflife, rampup * count)

    While h grows with the count, the average spans a fixed fraction of the training so far, however long that is. A
    count lost on resume would shorten it to the last few steps, so `load` does not do without.

    Args:     module: whose parameters are averaged; buffers are copied.
              halflife: in updates; 0 follows the weights.
              rampup: largest half-life as a fraction of the updates so far; in [0, 1].
    Example:
        >>> net = nn.Linear(2, 1)
        >>> ema = EMA(net, halflife=100)
        >>> ema.update(net)
        >>> ema.count, sorted(ema.weights)
        (1, ['bias', 'weight'])

    Source:   Karras et al. (2022), training loop of the reference code.
    """

    def __init__(self, module: nn.Module, halflife: float, rampup: float = 0.05) -> None:
        if not (halflife >= 0 and 0 <= rampup <= 1):
            raise InvalidArgument(f"halflife is >= 0 and rampup in [0, 1], got {halflife} and {rampup}.")
        self.halflife, self.rampup, self.count = halflife, rampup, 0
        self.weights: dict[str, Tensor] = {
            name: value.detach().to(_dtype(value), copy=True) for name, value in module.state_dict().items()
        }
        """What is averaged, by the names of `module.state_dict()`; float32 at least."""

    @property
    def rate(self) -> float:
        """The weight of the newest weights at the current count; in [0, 1]."""
        halflife = min(self.halflife, self.rampup * self.count)
        return -math.expm1(-math.log(2) / halflife) if halflife else 1.0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Count one step and take its weights in."""
        self.count += 1
        averaged, newest = [], []
        for name, value in module.state_dict(keep_vars=True).items():
            if isinstance(value, nn.Parameter) and value.is_floating_point():
                averaged.append(self.weights[name])
                newest.append(value.to(self.weights[name].dtype))
            else:
                self.weights[name].copy_(value)
        if averaged:
            torch._foreach_lerp_(averaged, newest, self.rate)

    def load(self, weights: Mapping[str, Tensor], count: int) -> None:
        """Continue from saved weights and their count.

        Raises:   InvalidArgument when names or shapes are another module's.
        """
        if apart := difference(self.weights, weights):
            raise InvalidArgument(f"These are weights of another module: {apart}.")
        for name, value in weights.items():
            self.weights[name].copy_(value)
        self.count = count

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[nn.Module]:
        """The module with the averaged weights inside; its own are put back, whatever happens."""
        tensors = module.state_dict()
        own = {name: value.clone() for name, value in tensors.items()}
        try:
            _fill(tensors, self.weights)
            yield module
        finally:
            _fill(tensors, own)


def difference(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str:
    """In words: the first name or shape in which two sets of tensors differ; "" when none does."""
    for name in [*ours, *theirs]:
        here, there = ours.get(name), theirs.get(name)
        if here is None or there is None:
            return f"{name!r} is {'unknown here' if here is None else 'missing there'}"
        if here.shape != there.shape:
            return f"{name!r} is {tuple(here.shape)} here and {tuple(there.shape)} there"
    return ""


@torch.no_grad()
def _fill(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(values[name])


def _dtype(value: Tensor) -> torch.dtype:
    return torch.promote_types(value.dtype, torch.float32) if value.is_floating_point() else value.dtype
