"""Mixed precision: weights in float32, the network's arithmetic in 16 bits, its outputs in float32 again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_LEAST_SCALE = 1e-4  # of the loss in fp16; fairseq gives up at the same


@contextmanager
def computing(net: nn.Module, precision: str, device: torch.device) -> Iterator[None]:
    """While this lasts, a network computes in 16 bits and answers in float32; what surrounds it never knows.

    Args:     net: the network, called with anything.
              precision: "fp32" (nothing changes), "bf16" or "fp16".
              device: where it computes.
    Example:
        >>> net = nn.Linear(2, 1)
        >>> with computing(net, "bf16", torch.device("cpu")):
        ...     net(torch.ones(3, 2)).dtype
        torch.float32
    """
    if precision == "fp32":
        yield
        return
    entered: list[ExitStack] = []

    def enter(module: nn.Module, args: Any) -> None:
        del module, args
        entered.append(ExitStack())
        entered[-1].enter_context(torch.autocast(device.type, _DTYPES[precision]))

    def leave(module: nn.Module, args: Any, answer: Any) -> Any:
        del module, args
        entered.pop().close()
        return answer.float() if isinstance(answer, Tensor) else answer

    hooks = [net.register_forward_pre_hook(enter), net.register_forward_hook(leave)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        while entered:  # the network raised
            entered.pop().close()


class Scaler:
    """The factor that lifts fp16 gradients out of underflow; 1, and idle, in any other precision.

    Args:     device: where gradients live.
              precision: "fp32", "bf16" or "fp16".
    Source:   Micikevicius et al. (2018), section 3.2.
    """

    def __init__(self, device: torch.device, precision: str) -> None:
        self.inner = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def lower(self) -> bool:
        """After an overflow: lower the factor; False when that was not the cause or cannot help any more."""
        before = self.inner.get_scale()
        self.inner.update()
        return _LEAST_SCALE < self.inner.get_scale() < before

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs."""
        state = self.inner.state_dict()
        return {
            key: torch.tensor(state[key], dtype=torch.float64) for key in ("scale", "_growth_tracker") if key in state
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Continue from a saved state."""
        state = self.inner.state_dict()
        if state and "scale" in tensors:  # a run that was in another precision begins with a factor of its own
            tracker = int(tensors["_growth_tracker"])
            self.inner.load_state_dict({**state, "scale": float(tensors["scale"]), "_growth_tracker": tracker})
