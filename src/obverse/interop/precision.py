"""Code that asks for float32, run in float64: what an algorithm is, without what its arithmetic rounds away."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from obverse.interop.refusals import NotLinear

NORMAL = (torch.randn, torch.randn_like)
OTHER_DRAWS = (torch.rand, torch.rand_like, torch.randint, torch.multinomial, torch.bernoulli, torch.normal)
Draw = Callable[[tuple[int, ...]], Tensor]


class _Numpy:
    """numpy, in which float32 means float64."""

    float32 = np.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


class _Double(TorchFunctionMode):
    """Every request for float32 is answered in float64, every standard normal by `draw`."""

    def __init__(self, draw: Draw | None) -> None:
        super().__init__()
        self.draw = draw

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        args, kwargs = tuple(map(_wide, args)), {key: _wide(value) for key, value in (kwargs or {}).items()}
        if self.draw is not None and func in NORMAL:
            shape = args[0].shape if func is torch.randn_like else _shape(args, kwargs)
            return self.draw(tuple(shape))
        if self.draw is not None and func in OTHER_DRAWS:
            raise NotLinear(f"it draws by torch.{func.__name__}, which is no standard normal")
        return Tensor.double(*args) if func is Tensor.float else func(*args, **kwargs)


@contextmanager
def in_double(of: type[Any], draw: Draw | None = None) -> Iterator[None]:
    """While it lasts, a class of another library calculates in float64, and asks `draw` for its normal draws.

    Args:     of: the class; what it and its bases take from numpy is widened too.
              draw: called with a shape for every standard normal; default torch's own.
    Example:
        >>> class Theirs:
        ...     def half(self): return torch.tensor(0.5, dtype=torch.float32)
        >>> with in_double(Theirs):
        ...     Theirs().half().dtype
        torch.float64
    """
    modules = {sys.modules[base.__module__] for base in of.__mro__ if base.__module__ in sys.modules}
    theirs = [module for module in modules if getattr(module, "np", None) is np and "obverse" not in module.__name__]
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        for module in theirs:
            module.np = _Numpy()  # type: ignore[attr-defined]
        with _Double(draw), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that they use numpy as it used to be
            yield
    finally:
        torch.set_default_dtype(before)
        for module in theirs:
            module.np = np  # type: ignore[attr-defined]


def _wide(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


def _shape(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[int, ...]:
    size = kwargs.get("size", args)
    return tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else tuple(size)
