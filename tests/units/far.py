"""A second device, made of Python, for machines without one: its tensors have numbers, but not where the CPU's are.

A tensor there holds one of the CPU and computes with it. What a GPU refuses, it refuses: operations together with
tensors of the CPU (but for a single number beside many, and indices into its own), NumPy, and, while it is one of the
NARROW, float64. So what runs there has its tensors in one place. Autocast is entered there, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

try:
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
except ImportError:
    pytest.skip(f"torch {torch.__version__} has no devices made of Python yet", allow_module_level=True)

from obverse.ground import numerics

_setup_privateuseone_for_python_backend("far")
torch.get_device_module("far").is_available = lambda: False  # nothing chooses it by itself: other tests go on here

FAR = torch.device("far", 0)
_ATEN = torch.ops.aten
WAITS: list[str] = []  # what the CPU has waited for the device for, so far: numbers that are read, or looked for
SENT: list[tuple[int, ...]] = []  # the shapes of what the CPU has sent there
_READ = {
    _ATEN._local_scalar_dense.default,
    _ATEN.equal.default,
    _ATEN.nonzero.default,
    _ATEN.masked_select.default,
    _ATEN._unique2.default,
}
_CARRY = {_ATEN.copy_.default, _ATEN._to_copy.default}
_INDEX = {  # which may be on the CPU, for a tensor that is not
    _ATEN.index.Tensor,
    _ATEN.index_put.default,
    _ATEN.index_put_.default,
    _ATEN._index_put_impl_.default,
}
_BY_NUMBER = {_ATEN.fill_.Tensor, _ATEN.masked_fill.Tensor, _ATEN.masked_fill_.Tensor}


class Far(Tensor):
    """A tensor on the second device."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        if near.dtype == torch.float64 and FAR.type in numerics.NARROW:
            raise TypeError(f"{FAR} has no float64.")
        laid = {"strides": near.stride(), "storage_offset": near.storage_offset()}
        made: Far = Tensor._make_wrapper_subclass(cls, near.shape, dtype=near.dtype, device=FAR, **laid)
        made.near = near
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        known = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, known)) if isinstance(leaf, Tensor)]
        met, alone = tensors, torch.Tag.pointwise in func.tags or func in _BY_NUMBER
        if func in _INDEX and isinstance(args[0], Far):
            met = [one for one in args[2:3] if one.ndim]
        strangers = [tuple(one.shape) for one in met if not isinstance(one, Far) and (one.ndim or not alone)]
        if strangers and func not in _CARRY:
            raise RuntimeError(f"{func} of tensors on {FAR} and, of shape {strangers}, on the CPU.")
        to = known.get("device")
        stays = isinstance(args[0], Far) if func is _ATEN.copy_.default else to is None or torch.device(to) == FAR
        if to is not None:
            known["device"] = torch.device("cpu")
        masked = func in _INDEX and any(one.dtype == torch.bool and isinstance(one, Far) for one in tensors[1:])
        if func in _READ or masked or (func in _CARRY and not stays):
            WAITS.append(str(func))
        if func in _CARRY and stays and strangers:
            SENT.extend(strangers)
        made = func(*tree_map(_near, args), **tree_map(_near, known))
        same = {id(_near(one)): one for one in tensors}  # what was written on is itself again

        def back(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or id(leaf) in same:
                return same.get(id(leaf), leaf)
            return Far(leaf) if stays else leaf

        return tree_map(back, made)

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @property
    def data(self) -> Tensor:  # type: ignore[override]
        """What it holds; a module that changes its precision sets it."""
        return self.detach()

    @data.setter
    def data(self, new: Far) -> None:
        Tensor.data.__set__(self, new)  # type: ignore[attr-defined]
        self.near = new.near

    def tolist(self) -> Any:
        """The numbers, which a GPU hands over too."""
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> NoReturn:
        """No array."""
        raise TypeError(f"A tensor on {FAR} is no array: copy it to the CPU first.")

    def __array__(self, *_: object, **__: object) -> NoReturn:
        self.numpy()

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"Far({self.near})"


def waits(run: Callable[[], object]) -> int:
    """How often the CPU waits for the device in a run."""
    before = len(WAITS)
    run()
    return len(WAITS) - before


def _near(leaf: Any) -> Any:
    return leaf.near if isinstance(leaf, Far) else leaf


def _empty(size: Any, dtype: torch.dtype | None = None, *_: object, **__: object) -> Tensor:
    return Far(torch.empty(size, dtype=dtype))


def _strided(size: Any, stride: Any, dtype: torch.dtype | None = None, *_: object, **__: object) -> Tensor:
    return Far(torch.empty_strided(size, stride, dtype=dtype))


def _copied(source: Tensor, to: Tensor, *_: object) -> Tensor:
    _near(to).copy_(_near(source))
    return to


_LIBRARY = torch.library.Library("aten", "IMPL")  # what torch asks of a device where there is no tensor of it yet
_LIBRARY.impl("empty.memory_format", _empty, "PrivateUse1")
_LIBRARY.impl("empty_strided", _strided, "PrivateUse1")
_LIBRARY.impl("_copy_from", _copied, "PrivateUse1")
for _name, _make in {
    "arange": torch.arange,
    "arange.start": torch.arange,
    "arange.start_step": torch.arange,
    "eye.m": torch.eye,
}.items():  # torch would make these empty first, and a tensor here stays as long as it was made

    def _made(*args: Any, make: Any = _make, dtype: torch.dtype | None = None, **_: object) -> Tensor:
        return Far(make(*args, dtype=dtype))

    _LIBRARY.impl(_name, _made, "PrivateUse1")
_ALL = torch.library.Library("_", "IMPL")
_ALL.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
_IT = torch.get_device_module(FAR)
_IT.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
_IT.manual_seed = torch.manual_seed
_IT.get_rng_state = lambda *_: torch.get_rng_state()
_IT.set_rng_state = lambda state, *_: torch.set_rng_state(state)
