"""A network that sees an estimate of its answer's data beside its input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from obverse.nets.architecture import Architecture
from obverse.nets.condition import UNCONDITIONAL, Conditions

SEEN, COND = "seen", "cond"  # keys of what it is told: the estimate, and the condition itself


class Seeing(nn.Module):
    """A network built for twice the channels: the second half of its input is an estimate, or zeros for none.

    It is called like any other, and sees nothing then; told {"seen": estimate, "cond": cond} it sees the estimate.

    Args:     net: of inputs (batch 2 channels *sizes); half of its answer is left unused.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x_t: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        """The answer; x_t (batch channels *sizes), t (batch)."""
        told = cond if isinstance(cond, Mapping) and SEEN in cond else {SEEN: torch.zeros_like(x_t), COND: cond}
        answer: Tensor = self.net(torch.cat([x_t, told[SEEN].to(x_t)], 1), t, told[COND])
        return answer[:, : x_t.shape[1]]

    @classmethod
    def build(
        cls,
        architecture: Architecture | str,
        shape: tuple[int, ...],
        condition: Conditions = UNCONDITIONAL,
        *,
        seed: int = 0,
    ) -> Seeing:
        """A new one for samples of a shape; arguments as of `Architecture.build`.

        Example:
            >>> net = Seeing.build("mlp:width=8", (2,))
            >>> net(torch.zeros(3, 2), torch.rand(3), {"seen": torch.ones(3, 2), "cond": None}).shape
            torch.Size([3, 2])
        """
        return cls(Architecture.of(architecture).build((2 * shape[0], *shape[1:]), condition, seed=seed))
