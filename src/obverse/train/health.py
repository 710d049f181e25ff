"""Where a number that is not finite came from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from obverse.ground.shapes import bad_rows


class Origin(NamedTuple):
    """The first tensor of a forward pass that is not finite, in words; and the first of its rows, if it has rows."""

    what: str
    row: int | None


def origin(net: nn.Module, forward: Callable[[], object], rows: int) -> Origin | None:
    """Go through a forward pass again, to the first tensor that is not finite.

    Args:     net: the network.
              forward: calls it, on what went wrong.
              rows: samples in the batch.
    Returns:  a parameter, the input of the net or the answer of a module; None when all of them are finite.
    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> x = torch.tensor([[1.0, 2.0], [3e38, 3e38]])
        >>> origin(net, lambda: net(x * 10), rows=2)
        Origin(what='the input of the net', row=1)
    """
    for name, parameter in net.named_parameters():
        if not bool(parameter.isfinite().all()):
            return Origin(f"parameter {name!r}", None)
    found: list[Origin] = []

    def look(what: str, _module: nn.Module, *told: Any) -> None:
        value = told[-1][0] if isinstance(told[-1], tuple) and told[-1] else told[-1]  # the first of several
        if not found and isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
            found.append(Origin(what, bad_rows(value)[0] if value.ndim and len(value) == rows else None))

    hooks = [net.register_forward_pre_hook(partial(look, "the input of the net"))]
    for name, module in net.named_modules():
        what = f"the answer of {name!r} ({type(module).__name__})" if name else "the answer of the net"
        hooks.append(module.register_forward_hook(partial(look, what)))
    try:
        with torch.no_grad():
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None
