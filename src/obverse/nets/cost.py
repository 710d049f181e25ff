"""What a network costs: parameters to keep, operations to call it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from obverse.ground.shapes import rows
from obverse.nets.condition import Cond


class Cost(NamedTuple):
    """Parameters of a network, and floating-point operations of one call on one sample.

    Example:
        >>> print(Cost(parameters=614_000, flops=43_000_000))
        0.61 M parameters, 43 MFLOPs a call
    """

    parameters: int
    flops: int

    def __str__(self) -> str:
        return f"{_short(self.parameters).strip()} parameters, {_short(self.flops)}FLOPs a call"


def cost(net: nn.Module, shape: tuple[int, ...], cond: Cond = None) -> Cost:
    """Count parameters and operations.

    Args:     net: called as net(x_t, t), or as net(x_t, t, cond) when cond is given.
              shape: of one sample.
              cond: a condition whose first row is used; tokens make a call dearer.
    Returns:  Cost; a multiplication and an addition are two operations; only matrix products, convolutions and
              attention are counted, as everywhere.
    Example:
        >>> from obverse.nets import Architecture
        >>> print(cost(Architecture.of("unet").build((1, 8, 8)), (1, 8, 8)))
        0.31 M parameters, 14 MFLOPs a call
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    weights = {name: parameter.detach() for name, parameter in net.named_parameters()}
    some = next(iter(weights.values()), torch.zeros(()))
    x_t, t = some.new_zeros(1, *shape), some.new_zeros(1)
    given = () if cond is None else (rows(cond, slice(0, 1)),)
    # attention as plain matrix products: the counter does not know the fused kernel of every device
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        torch.func.functional_call(net, weights, (x_t, t, *given))
    return Cost(sum(weight.numel() for weight in weights.values()), counter.get_total_flops())


def _short(count: int) -> str:
    """Two digits and a unit: 614000 is '0.61 M', 43 is '43 '."""
    for unit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if 10 * count >= unit:
            return f"{float(f'{count / unit:.2g}'):g} {letter}"
    return f"{count} "
