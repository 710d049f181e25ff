"""Memory for time: activations within blocks are computed again instead of kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from obverse.ground.errors import InvalidArgument


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


@contextmanager
def recomputing(parts: list[nn.Module]) -> Iterator[None]:
    """While this lasts, these modules keep their inputs only; what they compute has the same bits.

    Source:   Chen et al. (2016).
    """
    for part in parts:
        part.forward = partial(checkpoint, part.forward, use_reentrant=False)
    try:
        yield
    finally:
        for part in parts:
            del part.forward  # that of its class comes back


def _members(net: nn.Module) -> Iterator[nn.Module]:
    for child in net.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            yield from child
        else:
            yield from _members(child)
