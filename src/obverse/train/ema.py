"""Averages of the weights over training, which sample better than the weights."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from obverse.ground.errors import InvalidArgument, require
from obverse.ground.numerics import bisect, exact
from obverse.train import shards
from obverse.train.settings import WIDEST


class Average(ABC):
    """A running average of a module's parameters: w̄ <- w̄ + rate (w - w̄), the rate a function of the count.

    To add one, write `rate`. It reads the weights and never writes them.

    Args:     module: whose parameters are averaged; buffers are copied.
    """

    def __init__(self, module: nn.Module) -> None:
        self.count = 0
        self.weights: dict[str, Tensor] = {
            name: value.detach().to(_dtype(value), copy=True) for name, value in module.state_dict().items()
        }
        """What is averaged, by the names of `module.state_dict()`; float32 at least."""
        self.copied = [name for name, value in module.state_dict(keep_vars=True).items() if not _trained(value)]
        """The names of what is not averaged but copied: buffers."""
        self._known: nn.Module | None = None

    @property
    @abstractmethod
    def rate(self) -> float:
        """The weight of the newest weights at the current count; in [0, 1]."""

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Count one step and take its weights in."""
        self.count += 1
        if module is not self._known:
            self._learn(module)
        if self._averaged:
            newest = self._newest
            if not self._alike:
                newest = [new.to(old.dtype) for old, new in zip(self._averaged, newest, strict=True)]
            torch._foreach_lerp_(self._averaged, newest, self.rate)
        if self.copied:  # a module may put new tensors in their place
            values = module.state_dict(keep_vars=True)
            for name in self.copied:
                self.weights[name].copy_(values[name])

    def load(self, weights: Mapping[str, Tensor], count: int) -> None:
        """Continue from saved weights and their count.

        Raises:   InvalidArgument when names or shapes are another module's.
        """
        if apart := difference(self.weights, weights):
            raise InvalidArgument(f"These are weights of another module: {apart}.")
        for name, own in self.weights.items():
            own.copy_(shards.split(weights[name], own))
        self.count = count

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[nn.Module]:
        """The module with the averaged weights inside; its own are put back, whatever happens.

        Where the average is in shards, all processes do this at once, each with a whole module.
        """
        with shards.visiting(module, self.weights):
            own = {name: value.clone() for name, value in module.state_dict().items()}
            try:
                shards.fill(module, self.weights)
                yield module
            finally:
                shards.fill(module, own)

    def _learn(self, module: nn.Module) -> None:
        """Which tensors are averaged: asked once, since naming them costs more than averaging."""
        values = module.state_dict(keep_vars=True)
        names = [name for name in self.weights if name not in self.copied]
        self._averaged = shards.local([self.weights[name] for name in names])
        self._known, self._newest = module, shards.local([values[name] for name in names])
        self._alike = all(old.dtype == new.dtype for old, new in zip(self._averaged, self._newest, strict=True))


class EMA(Average):
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
        require(halflife >= 0, f"halflife is a number of updates >= 0, got {halflife} (0 follows the weights).")
        require(0 <= rampup <= 1, f"rampup lies in [0, 1], got {rampup} (try rampup=0.05).")
        super().__init__(module)
        self.halflife, self.rampup = halflife, rampup

    @property
    def rate(self) -> float:
        """The weight of the newest weights at the current count; in [0, 1]."""
        halflife = min(self.halflife, self.rampup * self.count)
        return -math.expm1(-math.log(2) / halflife) if halflife else 1.0


class PowerEMA(Average):
    """The average with the power-function profile, of which any other length can be made afterwards (`posthoc`).

        w̄(t) = (gamma + 1) / t^(gamma + 1) ∫ τ^gamma w(τ) dτ over [0, t]

    Its length grows with the training: the profile's standard deviation is sigma_rel t. The discrete updates are this
    integral exactly, of weights that are constant between updates.

    Args:     module: whose parameters are averaged; buffers are copied.
              sigma_rel: relative length, in (0, 0.288); 0.05 and 0.10 are usual.
    Example:
        >>> net = nn.Linear(2, 1)
        >>> ema = PowerEMA(net, sigma_rel=0.1)
        >>> ema.update(net)
        >>> ema.rate, round(ema.gamma, 4)
        (1.0, 6.9372)

    Source:   Karras et al. (2024), section 3.1.
    """

    def __init__(self, module: nn.Module, sigma_rel: float) -> None:
        self.sigma_rel, self.gamma = sigma_rel, gamma_of(sigma_rel)
        super().__init__(module)

    @property
    def rate(self) -> float:
        """The weight of the newest weights at the current count; in (0, 1]."""
        if self.count <= 1:
            return 1.0
        return -math.expm1((self.gamma + 1) * math.log1p(-1 / self.count))


def gamma_of(sigma_rel: float) -> float:
    """The exponent of a power-function profile of relative standard deviation sigma_rel.

        sigma_rel = (gamma + 1)^(1/2) (gamma + 2)^(-1) (gamma + 3)^(-1/2)

    Raises:   InvalidArgument outside (0, 1/√12), the values of positive exponents.
    Example:
        >>> [round(gamma_of(sigma_rel), 2) for sigma_rel in (0.05, 0.1)]
        [16.97, 6.94]

    Source:   Karras et al. (2024), section 3.1 and appendix C.
    """
    require(0 < sigma_rel < WIDEST, f"sigma_rel lies in (0, {WIDEST:.4g}), got {sigma_rel} (0.05 and 0.10 are usual).")

    def width(exponent: Tensor) -> Tensor:  # of log gamma, so that it is solved to the same relative precision
        gamma = exponent.exp()
        return (gamma + 1).sqrt() / (gamma + 2) / (gamma + 3).sqrt()

    return float(bisect(width, exact(sigma_rel), -40.0, 400.0).exp())


def difference(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str:
    """In words: the first name or shape in which two sets of tensors differ; "" when none does."""
    for name in [*ours, *theirs]:
        here, there = ours.get(name), theirs.get(name)
        if here is None or there is None:
            return f"{name!r} is {'unknown here' if here is None else 'missing there'}"
        if here.shape != there.shape:
            return f"{name!r} is {tuple(here.shape)} here and {tuple(there.shape)} there"
    return ""


def _inexact(value: Tensor) -> bool:
    """Whether a tensor holds what can be averaged: real or complex numbers, not whole ones."""
    return value.is_floating_point() or value.is_complex()


def _trained(value: Tensor) -> bool:
    return isinstance(value, nn.Parameter) and _inexact(value)


def _dtype(value: Tensor) -> torch.dtype:
    return torch.promote_types(value.dtype, torch.float32) if _inexact(value) else value.dtype
