"""The trace of a Jacobian, exact or by probes (T63)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, require

ROWS = 2**15  # numbers in the states of one pass forward: activations of a small network stay near the processor
TOGETHER = 2**14  # numbers in the products of one pass back on a CPU: more leave its caches (measured, 1 to 128 rows)
AT_ONCE = 32  # products in one pass back on a CPU: further ones gain little where rows are few (measured)
ELSEWHERE = 2**16  # numbers in the products of one pass back on other devices

Part = Callable[[Tensor, Tensor], Tensor]  # (states, which rows they are) -> outputs


def directions(like: Tensor) -> Tensor:
    """The unit vectors of the data's space, with which a trace is exact; (d, 1 *data).

    Args:     like: states; (batch *data).
    """
    shape = like.shape[1:]
    return torch.eye(shape.numel(), dtype=like.dtype, device=like.device).reshape(-1, 1, *shape)


def traces(f: Part, x: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
    """f(x), and vᵀ J v for every row and probe, J the row's Jacobian; their sum over `directions` is the trace.

    One pass forward, then passes back, each for as many probes as fit. The function itself runs as it always does,
    so it may branch on numbers; row i of f depends on row i of x alone.

    Args:     f: (states, their rows) -> values of the states' shape.
              x: (batch *data).
              probes: one set for all, (probes, 1 *data), or one for each row, (probes, batch *data).
    Returns:  f(x), (batch *data); the products, (batch, probes).
    Raises:   InvalidArgument for a function that cannot be differentiated.
    Example:
        >>> turn = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
        >>> x = torch.ones(1, 2)
        >>> traces(lambda x, _: x @ turn, x, directions(x))
        (tensor([[2., 4.]]), tensor([[2., 3.]]))

    Source:   Hutchinson (1990).
    """
    values, products = [], []
    for here in _parts(len(x), max(1, ROWS // x[0].numel())):
        with torch.set_grad_enabled(len(probes) > 0):
            moving = x[here].detach().requires_grad_()
            out = f(moving, torch.arange(here.start, here.stop))
        mine = probes if probes.shape[1] == 1 else probes[:, here]
        values.append(out.detach())
        products.append(_products(out, moving, mine.to(out).expand(-1, *out.shape)))
    return torch.cat(values), torch.cat(products)


def _products(out: Tensor, x: Tensor, probes: Tensor) -> Tensor:
    """vᵀ J v; (batch, probes)."""
    if not len(probes):
        return out.new_zeros(len(out), 0)
    require(out.requires_grad, "The model's output does not depend on its input in a differentiable way.")
    try:
        products = [_back(out, x, probes[here]) for here in _parts(len(probes), _many(out))]
    except RuntimeError as error:
        raise InvalidArgument(f"The model cannot be differentiated, so it has no density: {error}") from error
    return torch.cat(products).T


def _back(out: Tensor, x: Tensor, probes: Tensor) -> Tensor:
    """vᵀ J v by one pass back, its graph kept; (probes, batch)."""
    if len(probes) == 1:  # as torch always does it: whatever has a derivative has this one
        return (torch.autograd.grad(out, x, probes[0], retain_graph=True)[0] * probes[0]).flatten(1).sum(1)[None]
    (turned,) = torch.autograd.grad(out, x, probes, retain_graph=True, is_grads_batched=True)
    return (turned * probes).flatten(2).sum(2)


def _many(out: Tensor) -> int:
    """How many probes one pass back takes; torch cannot look for NaN in several at once."""
    if torch.is_anomaly_enabled():
        return 1
    if out.device.type == "cpu":
        return max(1, min(AT_ONCE, TOGETHER // out.numel()))
    return max(1, ELSEWHERE // out.numel())


def _parts(count: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, count)) for first in range(0, count, size))
