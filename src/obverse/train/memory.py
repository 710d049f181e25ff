"""Memory for time: activations within blocks are computed again instead of kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from obverse.ground.errors import InvalidArgument

Frugal = list[tuple[nn.Module, Callable[..., Any]]]


def blocks(net: nn.Module) -> list[nn.Module]:
    """The outermost members of the net's lists of modules: where activations are worth keeping.

    Raises:   InvalidArgument for a net without such lists.
    Example:
        >>> len(blocks(nn.Sequential(nn.Linear(2, 2), nn.Tanh())))
        2
    """
    lists = (nn.ModuleList, nn.Sequential)
    found = list(_members(net)) if not isinstance(net, lists) else list(net)
    if not found:
        raise InvalidArgument(
            f"recompute works block by block, and {type(net).__name__} has no nn.ModuleList or nn.Sequential "
            f"(recompute=False)."
        )
    return found


def frugal(parts: list[nn.Module]) -> Frugal:
    """These modules, each with a forward pass that keeps its inputs only.

    Made once for all steps: a compiled net is compiled again, and soon no more, where it meets another one.

    Source:   Chen et al. (2016).
    """
    return [(part, partial(checkpoint, part.forward, use_reentrant=False)) for part in parts]


@contextmanager
def recomputing(parts: Frugal) -> Iterator[None]:
    """While this lasts, these modules keep their inputs only; what they compute has the same bits."""
    for part, forward in parts:
        part.forward = forward
    try:
        yield
    finally:
        for part, _ in parts:
            del part.forward  # that of its class comes back


def _members(net: nn.Module) -> Iterator[nn.Module]:
    for child in net.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            yield from child
        else:
            yield from _members(child)
