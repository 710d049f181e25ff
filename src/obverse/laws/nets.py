"""Laws of networks that are built: what anybody who trains or samples one counts on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from obverse.ground.errors import InvalidArgument
from obverse.laws.law import demand, law, within
from obverse.laws.problems import draws, times
from obverse.nets import Architecture

SHAPES = ((2,), (1, 8), (1, 7, 9), (3, 4, 4, 4))  # a net may refuse some, but not all
ROWS = 5


@law("net", "its answer has the shape of the state, and is 0 until it has learnt")
def _zero(net: Architecture) -> str:
    taken = []
    for shape, module in _built(net):
        with torch.no_grad():
            answer = module(*_asked(shape))
        demand(answer.shape == (ROWS, *shape), f"to {ROWS} states of shape {shape} it answers {tuple(answer.shape)}")
        demand(not bool(answer.any()), f"to states of shape {shape} it answers up to {float(answer.abs().max()):.3g}")
        taken.append(str(shape))
    demand(bool(taken), f"it refuses every shape of {', '.join(map(str, SHAPES))}")
    return f"shapes {', '.join(taken)}"


@law("net", "its weights are a function of the seed alone")
def _seeded(net: Architecture) -> str:
    shape, module = next(_built(net))
    one, again, other = (list(net.build(shape, seed=seed).parameters()) for seed in (1, 1, 2))
    demand(all(bool((a == b).all()) for a, b in zip(one, again, strict=True)), "one seed makes two nets")
    demand(any(bool((a != b).any()) for a, b in zip(one, other, strict=True)), "two seeds make one net")
    return f"{sum(weight.numel() for weight in module.parameters()):,} of them"


@law("net", "row i of a batch is its own, and hears its time")
def _rows(net: Architecture) -> str:
    shape, module = next(_built(net))
    with torch.no_grad():
        for n, weight in enumerate(module.parameters()):  # a net that is nowhere special
            weight.add_(0.1 * draws(tuple(weight.shape), f"weight {n}").to(weight))
        x_t, t = _asked(shape)
        together = module.eval()(x_t, t)
        some, other = module(x_t[[3, 1]], t[[3, 1]]), module(x_t, t.flip(0))
    size = together.abs().max()
    demand(bool((other[0] != together[0]).any()), "at another time it answers the same")
    return within("a row by itself", some, together[[3, 1]], 1e-4, scale=size)


def _built(net: Architecture) -> Iterator[tuple[tuple[int, ...], nn.Module]]:
    """The net for every shape that it takes."""
    for shape in SHAPES:
        try:
            yield shape, net.build(shape)
        except InvalidArgument:
            continue


def _asked(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return draws((ROWS, *shape), "state").float(), times(0.1, 0.9, ROWS).float()
