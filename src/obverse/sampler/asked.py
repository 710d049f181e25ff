"""What `sample` is asked, refused where it means nothing; and what it says where samples are not finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Integral

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, NonFinite, require
from obverse.ground.noise import ids_of
from obverse.ground.shapes import bad_rows, check_rows
from obverse.model import SUSPECTS, Cond, Model, check_model, check_place
from obverse.sampler.run import Step
from obverse.sampler.sizes import Member


def check(
    model: Model,
    shape: Sequence[int],
    dtype: torch.dtype,
    cond: Cond,
    samples: Sequence[int] | None,
    start: Tensor | None,
) -> None:
    """Refuse arguments of `sample` that mean nothing; as it says."""
    check_model(model)
    check_place()
    sizes = isinstance(shape, Sequence) and all(isinstance(size, Integral) for size in shape)
    if not sizes or len(shape) < 2 or min(shape) < 1:
        raise InvalidArgument(f"shape is (batch *data), every size >= 1, got {shape} (vectors: (64, 2)).")
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise InvalidArgument(f"dtype is a floating-point type, got {dtype} (torch.float32).")
    ids_of(shape, samples)
    if start is not None and not isinstance(start, Tensor):
        raise InvalidArgument(f"start is a tensor, got {type(start).__name__} (torch.as_tensor(start)).")
    if start is not None and start.is_complex():
        raise InvalidArgument(f"start is of real numbers, got {start.dtype} (two for each: torch.view_as_real).")
    if start is not None and tuple(start.shape) != tuple(shape):
        raise InvalidArgument(f"start has the shape of the samples, {tuple(shape)}, got {tuple(start.shape)}.")
    check_rows(cond, shape[0])


def alone(refusal: str, said: Mapping[str, object]) -> None:
    """Refuse what is said to a method that has its own levels; `refusal` has a place for the names."""
    much = [name for name, value in said.items() if value is not None]
    require(not much, refusal.format(" and ".join(much)))


def with_eta(method: Member, eta: float | None) -> Member:
    """The solver with the eta asked for."""
    if eta is None:
        return method
    known = "eta" in method.settings()
    require(known, f"Solver {method.name!r} has no eta; stochastic ones have (solver='sde').")
    return replace(method, eta=eta)  # type: ignore[type-var]


def diagnose(run: Iterator[Step]) -> None:
    """Replay, since a run is a function of its seed, and say where it left the finite numbers."""
    for step in run:
        seen = [("the state", step.x_t, step.level)]
        if step.estimate is not None:
            seen.insert(0, ("the network's output", step.estimate.output, step.estimate.level))
        for name, value, level in seen:
            if bad := bad_rows(value):
                raise NonFinite(
                    f"Step {step.number} of {step.total}: {name} is not finite at {level}, first in row {bad[0]} "
                    f"({len(bad)} of {len(value)} rows). {SUSPECTS}"
                )
    raise NonFinite("The samples were not finite, yet a replay was: the network is not deterministic.")
